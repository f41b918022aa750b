"""The sending half of a connection."""

from libc.stdint cimport uint8_t

from .deflate cimport Deflate
from .delivery cimport Delivery
from .frames cimport Frame
from .outbox cimport Outbox
from .steps cimport Wait


cdef enum State:
    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


cdef class Sender(Delivery):
    cdef int _state                  # of State
    cdef unsigned long thread        # the loop's, the only one that may touch a connection
    cdef unsigned long at_once       # the same; 0 while a message in fragments holds back others, or with a backlog
    cdef object stream               # that message's `Stream`, or None
    cdef object backlog              # `Backlog` of a policy that may drop messages, or None
    cdef bint raw                    # frames are sent as they are
    cdef Outbox outbox
    cdef Deflate deflate             # None: not agreed
    cdef Py_ssize_t high_water, low_water, max_write  # bytes; max_write below zero: none
    cdef Py_ssize_t max_pings        # below zero: none
    cdef bint impatient              # at max_write the connection closes
    cdef Wait drained                # from above high water until below low
    cdef list flushing               # Waits for everything written
    cdef dict pings                  # payload -> (Wait, monotonic seconds)
    cdef readonly object latency     # seconds, of the last Pong; None before
    cdef readonly object close_sent      # CloseReason or None
    cdef readonly object close_received  # CloseReason or None
    cdef readonly object close_reason    # CloseReason once it has ended
    cdef long long sent_of[2]        # messages: texts, binaries
    cdef int raw_opcode              # of the message that a raw session is sending, 0: none
    cdef double write_at             # monotonic seconds

    cdef object refuse(self, str doing)
    cdef object not_now(self, int opcode, object data, object key=*)
    cdef object send_special(self, Frame frame)
    cdef object send_raw(self, Frame frame)
    cdef object send_str(self, str text)
    cdef object send_buffer(self, object data, int opcode)
    cdef object put(self, int opcode, const uint8_t* payload, Py_ssize_t size, object owner)
    cdef object sent(self)
    cdef object held_up(self)
    cdef int overflows(self, Py_ssize_t total) except -1
    cdef int check_room(self, Py_ssize_t size) except -1
    cdef long long passed(self) noexcept
    cdef int heard(self, double seconds) except -1
    cdef int check_thread(self, str doing) except -1
    cdef int ponged(self, bytes payload) except -1
    cdef double ping_answered(self, bytes payload, double now) except -1
    cdef int drain(self) except -1
    cdef Py_ssize_t backlogged(self) except -1

    # for the closing to fill in
    cdef object details(self)
    cdef int close_slow(self, Py_ssize_t total) except -1
    cdef int never_sent(self, Py_ssize_t messages, Py_ssize_t size) except -1
    cdef object send_raw_close(self, Frame frame)
