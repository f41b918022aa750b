"""Messages to callbacks."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .messages cimport MessageSink, Messages
from .parser cimport FrameSink, Parser
from .steps cimport Steps


cdef class Callbacks:
    cdef public object accept, message, text, binary, frame, ping, pong, close, error
    cdef public object converters  # values to messages and back; None for the defaults
    cdef public object route      # its path as registered; None on a client
    cdef public bint pull         # messages wait for a reader, in an `Inbox`
    cdef public bint coroutines   # all that messages go to are `async def`: calling them runs nothing of theirs yet
    cdef public bint raw          # frames are shown as they come; a callback's slot for them is `binary`


cdef enum:
    PER_MESSAGE = 256  # of a turn's budget: what a message costs beside its bytes


cdef enum Hold:
    PENDING = 1    # a message callback has not ended
    DRAINING = 2   # a message callback's own sends are above high water
    PAUSED = 4     # the user's pause_reading()
    QUEUED = 8     # messages wait for one of these
    ENDED = 16     # closing: messages are counted and dropped
    DEAD = 32      # nothing is parsed any more
    BUSY = 7       # PENDING | DRAINING | PAUSED
    FULL = 64      # the inbox is at its bound
    CROWDED = 128  # so many callbacks for Pings, Pongs and frames have not ended
    THROTTLED = 256  # the peer has sent faster than its policy allows
    STOPPED = 448  # FULL | CROWDED | THROTTLED: nothing is read, but what has come is delivered


cdef class Delivery(MessageSink):
    cdef readonly object loop
    cdef Steps steps
    cdef Callbacks callbacks
    cdef Parser parser
    cdef Messages messages
    cdef int hold                # bits of Hold; 0 on the way that matters
    cdef bint inside             # within a batch: callbacks may run
    cdef bint delivering         # within a message callback's synchronous part
    cdef bint scheduled          # _advance is due next turn
    cdef bint reading            # the transport reads
    cdef object queue            # deque of str and bytes, made when first needed
    cdef Py_ssize_t queue_bytes
    cdef Py_ssize_t max_messages, max_bytes  # bounds of the queue
    cdef bytes rest              # read, not parsed yet
    cdef Py_ssize_t rest_start
    cdef long long work          # left of this turn's budget
    cdef object pending          # what the message callback waits for
    cdef set tasks               # other callbacks that have not ended
    cdef Py_ssize_t notices      # of on_ping, on_pong and on_frame among them
    cdef readonly long long bytes_read
    cdef long long received_of[2]  # messages: texts, binaries
    cdef readonly long long discarded  # bytes that came after our Close
    cdef double read_at          # monotonic seconds

    cdef int receive(self, bytes data) except -1
    cdef int receive_from(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int take(self, const uint8_t* data, Py_ssize_t size, bytes owner) except -1
    cdef int parse(self, const uint8_t* data, Py_ssize_t size, Py_ssize_t start, bytes owner) except -1
    cdef uint8_t* large_place(self, Py_ssize_t* size) except? NULL
    cdef object large_buffer(self)
    cdef int received_large(self, Py_ssize_t size) except -1
    cdef int enqueue(self, object message, Py_ssize_t size) except -1
    cdef int keep(self, object message, Py_ssize_t size) except -1
    cdef bint full(self) noexcept
    cdef int deliver(self, object message, bint is_text) except -1
    cdef int ended_callback(self, object pending) except -1
    cdef int notify(self, object callback, object argument) except -1
    cdef int interrupted(self, object error) except -1
    cdef int watch(self, object result) except -1
    cdef int enter(self) except -1
    cdef int leave(self) except -1
    cdef int settle(self) except -1
    cdef int schedule(self) except -1
    cdef int forget(self) except -1

    # for the connection to fill in
    cdef int cork(self) except -1
    cdef int uncork(self) except -1
    cdef int set_reading(self, bint on) except -1
    cdef int violated(self, object error) except -1
    cdef int callback_failed(self, object error) except -1
    cdef int over_high_water(self) except -1
    cdef int idle(self) except -1


cdef class FrameTap(FrameSink):
    cdef FrameSink sink
    cdef Delivery delivery
    cdef int first
    cdef list parts

    cdef int seen(self, int first, bytes payload) except -1


cdef bytes payload_copy(const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked)
