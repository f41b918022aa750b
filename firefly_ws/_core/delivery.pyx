# cython: language_level=3, boundscheck=False, wraparound=False
"""Messages to callbacks: order, waiting, the bound on work per turn. Knows neither the wire nor how a connection ends.

One message callback runs at a time. While it is pending, or its own sends are above
high water, or reading is paused, messages wait in a bounded queue, and beyond that
bound the bytes behind them wait unparsed. In one turn of the loop a bounded amount
is parsed, inflated and delivered; the rest waits for the next.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .frames cimport binary_frame, text_frame, wire_frame
from .messages cimport MessageSink
from .parser cimport FrameSink
from .wheel cimport monotonic
from .wire cimport wire_xor_copy

import asyncio
from collections import deque

from .done import DONE
from ..errors import ProtocolError

cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char* data, Py_ssize_t size, int flags)
    int PyBUF_WRITE

cdef enum:
    BUDGET = 524288   # per connection and turn, in bytes: about a millisecond of callbacks

cdef object _done = DONE


cdef class Callbacks:
    """What a route or a builder has set, shared by its connections."""

    def with_accept(self, accept):
        """The same with another on_accept."""
        cdef Callbacks other = Callbacks()
        other.accept = accept
        other.message, other.text, other.binary = self.message, self.text, self.binary
        other.frame, other.ping, other.pong = self.frame, self.ping, self.pong
        other.close, other.error = self.close, self.error
        other.converters = self.converters
        other.route = self.route
        other.pull, other.raw, other.coroutines = self.pull, self.raw, self.coroutines
        return other


cdef class Delivery(MessageSink):
    """The receiving half of a connection."""

    @property
    def _converters(self):
        """What turns values into messages and back here; None for the defaults."""
        return self.callbacks.converters

    @property
    def messages_received(self):
        """Whole messages that have come (int)."""
        return self.received_of[0] + self.received_of[1]

    cdef int receive(self, bytes data) except -1:
        """Take what was read."""
        return self.take(<const uint8_t*>PyBytes_AS_STRING(data), len(data), data)

    cdef int receive_from(self, const uint8_t* data, Py_ssize_t size) except -1:
        """The same from memory that is another's when this returns."""
        return self.take(data, size, None)

    cdef int take(self, const uint8_t* data, Py_ssize_t size, bytes owner) except -1:
        self.bytes_read += size
        self.read_at = monotonic()
        if self.hold & DEAD:
            self.discarded += size
            return 0
        if self.rest is not None or self.inside or self.hold & (PAUSED | STOPPED):
            # A transport may deliver once more behind pause_reading, and bytes may have come with the handshake.
            owner = owner or PyBytes_FromStringAndSize(<const char*>data, size)
            self.rest = owner if self.rest is None else self.rest[self.rest_start:] + owner
            self.rest_start = 0
            return 0
        self.enter()
        try:
            self.parse(data, size, 0, owner)
        finally:
            self.leave()
        return 0

    cdef int parse(self, const uint8_t* data, Py_ssize_t size, Py_ssize_t start, bytes owner) except -1:
        """Parse *data* from *start*, and keep what no turn is left for. *owner* is the object it lies in, or None."""
        cdef Py_ssize_t used
        cdef bytes later
        try:
            used = start + self.parser.feed(data + start, size - start)
        except ProtocolError as error:
            self.hold |= DEAD
            self.violated(error)
            return 0
        if used < size and not self.hold & DEAD:
            later = self.rest
            if owner is None or later is not None:
                owner = PyBytes_FromStringAndSize(<const char*>data + used, size - used)
                used = 0
            self.rest = owner if later is None else owner + later
            self.rest_start = used
        return 0

    cdef uint8_t* large_place(self, Py_ssize_t* size) except? NULL:
        """Where to read a large frame's payload to, and how much of it; or NULL."""
        if self.rest is not None or self.inside or self.hold & (DEAD | PAUSED) or self.parser is None:
            return NULL
        return self.parser.place(size)

    cdef object large_buffer(self):
        """The same as a memoryview, or None."""
        cdef Py_ssize_t size = 0
        cdef uint8_t* place = self.large_place(&size)
        return None if place is NULL else PyMemoryView_FromMemory(<char*>place, size, PyBUF_WRITE)

    cdef int received_large(self, Py_ssize_t size) except -1:
        """*size* bytes were read into `large_buffer`."""
        self.bytes_read += size
        self.read_at = monotonic()
        if self.parser is None:
            return 0
        self.enter()
        try:
            self.work -= size
            self.parser.placed(size)
        except ProtocolError as error:
            self.hold |= DEAD
            self.violated(error)
        finally:
            self.leave()
        return 0

    cdef int text(self, str text) except -1:
        self.received_of[0] += 1
        self.work -= PER_MESSAGE + len(text)
        if self.hold:
            return self.enqueue(text, len(text))
        return self.deliver(text, True)

    cdef int binary(self, bytes data) except -1:
        self.received_of[1] += 1
        self.work -= PER_MESSAGE + len(data)
        if self.hold:
            return self.enqueue(data, len(data))
        return self.deliver(data, False)

    cdef int enqueue(self, object message, Py_ssize_t size) except -1:
        """Keep a message that cannot be delivered now; 1 if no more should come."""
        if self.hold & (ENDED | DEAD):
            self.discarded += size
            return self.work <= 0 or self.hold & DEAD != 0
        return self.keep(message, size)

    cdef int keep(self, object message, Py_ssize_t size) except -1:
        """Keep it whatever has been sent: `leave` delivers it; 1 if no more should come."""
        if self.queue is None:
            self.queue = deque()
        self.queue.append(message)
        self.queue_bytes += size
        self.hold |= QUEUED
        return self.hold & PAUSED != 0 or self.full() or self.work <= 0

    cdef bint full(self) noexcept:
        if not self.hold & (QUEUED | STOPPED):
            return False
        if self.hold & STOPPED:
            return True
        return (self.max_messages >= 0 and len(self.queue) >= self.max_messages
                or self.max_bytes >= 0 and self.queue_bytes >= self.max_bytes)

    cdef int deliver(self, object message, bint is_text) except -1:
        """Call the callback; 1 if the parser should stop."""
        cdef Callbacks callbacks = self.callbacks
        cdef object result = None
        self.delivering = True
        try:
            if is_text:
                if callbacks.text is not None:
                    result = callbacks.text(message, self)
                elif callbacks.message is not None:
                    result = callbacks.message(text_frame(message), self)
            elif callbacks.binary is not None:
                result = callbacks.binary(message, self)
            elif callbacks.message is not None:
                result = callbacks.message(binary_frame(message), self)
            if result is not None and result is not _done:
                result = self.steps.start(result)
        except (KeyboardInterrupt, SystemExit) as error:
            result = None
            self.interrupted(error)
        except BaseException as error:
            result = None
            self.callback_failed(error)
        finally:
            self.delivering = False
        if result is not None and result is not _done:
            self.hold |= PENDING
            self.pending = result
            result.add_done_callback(self._callback_done)
        return self.work <= 0 or self.hold & (PAUSED | DEAD) != 0

    def _callback_done(self, pending):
        self.ended_callback(pending)

    cdef int ended_callback(self, object pending) except -1:
        """The pending message callback has ended: the next message may come."""
        self.pending = None
        self.hold &= ~PENDING
        self.enter()
        try:
            error = asyncio.CancelledError() if pending.cancelled() else pending.exception()
            if error is not None:
                self.callback_failed(error)
        finally:
            self.leave()
        return 0

    cdef int notify(self, object callback, object argument) except -1:
        """Call a callback that no message waits for; beyond ``max_queue`` that have not ended, reading does."""
        cdef object result
        if self.steps.inside:
            self.steps.leave()
        try:
            result = self.steps.start(callback(argument, self))
            if result is not None:
                self.notices += 1
                if 0 <= self.max_messages <= self.notices:
                    self.hold |= CROWDED
                result.add_done_callback(self._notice_done)
                self.watch(result)
        except (KeyboardInterrupt, SystemExit) as error:
            self.interrupted(error)
        except BaseException as error:
            self.callback_failed(error)
        return 0

    cdef int interrupted(self, object error) except -1:
        """Raise what must end the loop from the loop itself, next turn: the batch keeps what is not parsed yet."""
        self.work = 0
        self.loop.call_soon(_raise, error)
        return 0

    cdef int watch(self, object result) except -1:
        """Keep a callback that has not ended, and hear of its error."""
        if result is not None:
            if self.tasks is None:
                self.tasks = set()
            self.tasks.add(result)
            result.add_done_callback(self._task_done)
        return 0

    def _notice_done(self, result):
        self.notices -= 1
        if self.hold & CROWDED and self.notices < self.max_messages:
            self.hold &= ~CROWDED
            self.schedule()

    def _task_done(self, task):
        self.tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self.callback_failed(error)

    def _advance(self):
        """Go on where the last turn, or a wait, left off."""
        self.scheduled = False
        if not self.inside:
            self.enter()
            self.leave()

    cdef int enter(self) except -1:
        """Begin a batch."""
        self.inside = True
        self.work = BUDGET
        self.steps.staying = self.callbacks.coroutines
        self.cork()
        return 0

    cdef int leave(self) except -1:
        """Deliver what waited, as far as it may be now; end the batch."""
        cdef object message
        cdef bytes data
        try:
            while True:
                if self.hold & QUEUED and not self.hold & BUSY and self.work > 0:
                    message = self.queue.popleft()
                    self.queue_bytes -= len(message)
                    if not self.queue:
                        self.hold &= ~QUEUED
                    self.work -= PER_MESSAGE
                    if isinstance(message, tuple):
                        self.notify(message[0], message[1])
                    else:
                        self.deliver(message, isinstance(message, str))
                elif (self.rest is not None and not self.hold & (PAUSED | DEAD) and not self.full()
                        and self.work > 0):
                    data = self.rest
                    self.rest = None
                    self.parse(<const uint8_t*>PyBytes_AS_STRING(data), len(data), self.rest_start, data)
                else:
                    break
        finally:
            self.steps.staying = False
            if self.steps.inside:
                self.steps.leave()
            self.inside = False
            self.uncork()
            self.settle()
        return 0

    cdef int settle(self) except -1:
        """Behind a batch: whether to read, to go on next turn, or to end."""
        cdef bint waiting = self.rest is not None or self.hold & QUEUED != 0
        cdef bint on
        if self.hold & DEAD:
            self.rest = None
            waiting = self.hold & QUEUED != 0
        if waiting and self.work <= 0 and not self.hold & BUSY:
            self.schedule()
        elif self.rest is not None and self.work <= 0 and not self.hold & PAUSED and not self.full():
            self.schedule()
        on = self.hold & DEAD != 0 or (self.rest is None and not self.hold & PAUSED and not self.full())
        if on != self.reading:
            self.reading = on
            self.set_reading(on)
        if not waiting and not self.hold & PENDING:
            self.idle()
        return 0

    cdef int schedule(self) except -1:
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self._advance)
        return 0

    cdef int forget(self) except -1:
        """Drop what has not been delivered: we are closing."""
        if self.queue is not None:
            self.discarded += self.queue_bytes
            self.queue = None
            self.queue_bytes = 0
        self.hold = self.hold & ~(QUEUED | PAUSED | DRAINING | STOPPED) | ENDED
        return 0

    cdef int cork(self) except -1:
        return 0

    cdef int uncork(self) except -1:
        return 0

    cdef int set_reading(self, bint on) except -1:
        return 0

    cdef int violated(self, object error) except -1:
        return 0

    cdef int callback_failed(self, object error) except -1:
        return 0

    cdef int over_high_water(self) except -1:
        return 0

    cdef int idle(self) except -1:
        """All that came has been delivered."""
        return 0


def _raise(error):
    raise error


cdef class FrameTap(FrameSink):
    """Shows every complete frame to on_frame before it goes on."""

    def __init__(self, FrameSink sink, Delivery delivery):
        self.sink = sink
        self.delivery = delivery

    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef int more
        self.seen(first, payload_copy(payload, size, mask, masked))
        more = self.sink.frame(first, payload, size, mask, masked)
        # A fragment ends no message, and its callback takes as long as a message's.
        return more or self.delivery.work <= 0 or self.delivery.hold & CROWDED != 0

    cdef int begin(self, int first, uint64_t length) except -1:
        self.first = first
        self.parts = []
        return self.sink.begin(first, length)

    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        self.parts.append(payload_copy(data, size, mask, masked))
        return self.sink.chunk(data, size, mask, masked)

    cdef int end(self) except -1:
        self.seen(self.first, b"".join(self.parts))
        self.parts = None
        return self.sink.end() or self.delivery.hold & CROWDED != 0

    cdef int seen(self, int first, bytes payload) except -1:
        self.delivery.work -= PER_MESSAGE + len(payload)
        if not self.delivery.hold & (ENDED | DEAD):
            self.delivery.notify(self.delivery.callbacks.frame, wire_frame(first, payload))
        return 0


cdef bytes payload_copy(const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked):
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size)
    if size and masked:
        wire_xor_copy(<uint8_t*>PyBytes_AS_STRING(out), data, size, mask)
    elif size:
        memcpy(PyBytes_AS_STRING(out), data, size)
    return out
