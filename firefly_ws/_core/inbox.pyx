# cython: language_level=3, boundscheck=False, wraparound=False
"""Messages to a reader: the queue of a connection without a message callback. Knows neither the wire nor the closing.

Takes the place of the connection behind `Messages`, so that the way of callbacks has
no branch for it. A message leaves the queue in the step of the reader that returns
it: a reader that is cancelled, at whatever moment, has taken nothing.
"""

from .arriving cimport Arriving
from .delivery cimport DEAD, ENDED, FULL, PAUSED, PER_MESSAGE, Delivery
from .messages cimport MessageSink

import asyncio
import logging
from collections import deque

from ..errors import ProtocolError

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int PyUnicode_KIND(object text)
    unsigned long PyThread_get_thread_ident()

cdef object _log = logging.getLogger("firefly_ws")

# Seconds for which reading may be paused without anybody receiving, before that is logged.
_STALLED = 5.0

cdef enum:
    SKIPPED = 1048576  # bytes that are inflated at once for nobody

cdef str _STREAM = "receive_stream()"


cdef class Inbox(MessageSink):
    """What has come and nobody has received yet, within the connection's ``max_queue``."""

    def __init__(self, Delivery delivery not None):
        self.delivery = delivery
        self.loop = delivery.loop
        self.thread = PyThread_get_thread_ident()

    def __len__(self):
        return 0 if self.queue is None else len(self.queue)

    # ---- from the connection -----------------------------------------------------------------------------------

    cdef int text(self, str text) except -1:
        self.delivery.received_of[0] += 1
        return self.put(text, _size(text))

    cdef int binary(self, bytes data) except -1:
        self.delivery.received_of[1] += 1
        return self.put(data, len(data))

    cdef int control(self, int opcode, bytes payload) except -1:
        return self.delivery.control(opcode, payload)

    cdef int peer_close(self, object code, str reason) except -1:
        # At once: what is in the queue has been handed over.
        return self.delivery.peer_close(code, reason)

    cdef int put(self, object message, Py_ssize_t size) except -1:
        """Take a message that has come; 1 if no more should."""
        cdef Delivery delivery = self.delivery
        if delivery.hold & (ENDED | DEAD):
            delivery.work -= PER_MESSAGE + size
            delivery.discarded += size
            return delivery.work <= 0 or delivery.hold & DEAD != 0
        return self.keep(message, size)

    cdef int keep(self, object message, Py_ssize_t size) except -1:
        cdef Delivery delivery = self.delivery
        delivery.work -= PER_MESSAGE + size
        if self.queue is None:
            self.queue = deque()
        self.queue.append(message)
        self.size += size
        self.wake()
        if self.is_full():
            delivery.hold |= FULL
            self.filled()
        return delivery.work <= 0 or delivery.hold & (PAUSED | FULL) != 0

    cdef bint is_full(self) noexcept:
        cdef Delivery delivery = self.delivery
        cdef Py_ssize_t size = self.size
        if self.arriving is not None and self.arriving.holds():
            return True
        if self.trailing is not None:
            size += self.trailing.size
        return (delivery.max_messages >= 0 and len(self.queue) >= delivery.max_messages
                or delivery.max_bytes >= 0 and size >= delivery.max_bytes)

    cdef int wake(self) except -1:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        return 0

    cdef int end(self) except -1:
        """Nothing more comes: what is here stays."""
        self.ended = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.delivery = None
        return self.wake()

    # ---- a message in pieces, from `Pieces` -----------------------------------------------------------------------

    cdef bint streams(self):
        """Somebody waits for the next message in pieces."""
        return self.waiter is not None and not self.waiter.done() and self.reading is _STREAM

    cdef bint waits_whole(self):
        """Somebody waits for the next message as a whole."""
        return self.waiter is not None and not self.waiter.done() and self.reading is not _STREAM

    cdef int arrives(self, Arriving arriving) except -1:
        """The next message is handed over in pieces; 1 if no more of it should come now."""
        if self.queue is None:
            self.queue = deque()
        self.queue.append(arriving)
        self.arriving = arriving
        self.handed = False
        return self.arrived()

    cdef int arrived(self) except -1:
        """More of it is here, or its end; 1 if no more should come now."""
        cdef Delivery delivery = self.delivery
        cdef Arriving arriving = self.arriving
        cdef object whole
        if arriving is not None and arriving.skipped and not arriving.needs_inflating():
            arriving.skip(0)
            if arriving.done:
                self.arriving = None
        elif arriving is not None and self.handed:
            self.set_apart()
        elif arriving is not None:
            whole = arriving.whole_now()
            if whole is not None:
                # Nobody has begun it: a message as any other, and the last one.
                self.arriving = None
                self.queue.pop()
                self.queue.append(whole)
                self.size += _size(whole)
        self.wake()
        if delivery.hold & (ENDED | DEAD):
            return delivery.hold & DEAD != 0
        if self.is_full():
            delivery.hold |= FULL
            self.filled()
        return delivery.work <= 0 or delivery.hold & (PAUSED | FULL) != 0

    cdef int set_apart(self) except -1:
        """The message that its reader is at is all here: the next ones, Pings and a Close do not wait for it."""
        if self.arriving.set_apart():
            self.trailing = self.arriving
            self.arriving = None
        return 0

    # ---- a reader that does not come ---------------------------------------------------------------------------

    cdef int filled(self) except -1:
        """Reading pauses: see later whether anybody receives."""
        if self.timer is None and not self.warned:
            self.taken_then = self.taken
            self.timer = self.loop.call_later(_STALLED, self._look)
        return 0

    def _look(self):
        self.timer = None
        if not self.delivery.hold & FULL:
            return
        if self.taken != self.taken_then:
            self.filled()
            return
        self.warned = True
        if self.arriving is not None and self.handed:
            _log.warning(
                "%r: reading is paused: a message (%d bytes of it) waits for its reader, who has taken no piece of it "
                "for %g seconds; `async with connection.receive_stream()` gives up the rest of one that is left",
                self.delivery, self.arriving.size, _STALLED)
            return
        _log.warning(
            "%r: reading is paused: %d messages (%d bytes) wait, and nobody has called receive() for %g seconds; "
            "a callback set with .on_message takes them as they come, .discard() drops them",
            self.delivery, len(self.queue), self.size + (0 if self.arriving is None else self.arriving.size), _STALLED)

    # ---- from the reader -----------------------------------------------------------------------------------------

    def check(self, str doing):
        """``RuntimeError`` from another thread, or while another reader waits."""
        self.check_reader(doing)

    def is_empty(self, str doing):
        """Whether *doing* has to wait; raises ``RuntimeError`` from another thread, or while another reader waits."""
        self.check_reader(doing)
        if self.trailing is not None:
            self.leave_trailing()
        if self.arriving is not None and (not self.given_up() or not self.joined()):
            return True
        return not self.queue

    def no_stream(self, str doing):
        """The same for a reader who takes the next message in pieces."""
        self.check_reader(doing)
        if self.trailing is not None:
            self.leave_trailing()
        if self.arriving is not None and not self.given_up():
            return True
        return not self.queue

    cdef int check_reader(self, str doing) except -1:
        if PyThread_get_thread_ident() != self.thread:
            raise RuntimeError(f"{doing}: a connection belongs to its loop's thread; "
                               "from another thread use connection.threadsafe")
        if self.waiter is not None and not self.abandoned():
            name = None if self.reader is None else self.reader.get_name()
            raise RuntimeError(
                f"{doing}: task {name!r} is waiting in {self.reading} on this connection already; "
                "one task at a time receives")
        return 0

    cdef bint abandoned(self):
        """The reader that waited has been cancelled, though it may not have run since."""
        if self.waiter.cancelled():
            return True
        # Not `cancelling()`: who cleans up behind a cancellation may receive, and 3.13 can take one back.
        return self.waiter.done() and getattr(self.reader, "_must_cancel", False)

    def wait(self, str doing):
        """A future for the reader to wait with; it must be given back to `waited`."""
        cdef object reader = asyncio.current_task(self.loop)
        if reader is None and asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(f"{doing}: a connection belongs to the loop that it was made on, and this is another; "
                               "await it there, or from another thread by connection.threadsafe")
        self.waiter = self.loop.create_future()
        self.reader = reader
        self.reading = doing
        if self.owing and self.delivery is not None:
            self.owing = False
            self.delivery.schedule()
        return self.waiter

    def waited(self, waiter):
        """The reader has been woken, or cancelled."""
        if self.waiter is waiter:
            self.waiter = None
            self.reader = None

    def wait_for_stream(self):
        """`wait` for the next message in pieces: if it has begun, the wait is over."""
        waiter = self.wait(_STREAM)
        if self.delivery is not None:
            (<object>self.delivery.messages).begin_pieces()
        return waiter

    def wait_for_piece(self):
        """`wait` for more of a message."""
        return self.wait(_STREAM)

    def take(self):
        """The oldest message, or the `Arriving` that hands it over in pieces."""
        if self.queue[0] is not self.arriving:
            return self.pop()
        cdef object arriving = self.queue.popleft()
        self.handed = True
        self.set_apart()
        self.make_room()
        return arriving

    def took(self, Arriving arriving not None):
        """A piece has been taken."""
        self.taken += 1
        if arriving.done:
            self.over(arriving)
        self.make_room()

    cdef int over(self, Arriving arriving) except -1:
        """Nothing of it is to be had any more."""
        if self.arriving is arriving:
            self.arriving = None
        elif self.trailing is arriving:
            self.trailing = None
        return 0

    cdef int leave_trailing(self) except -1:
        """Its reader goes on to the next message."""
        self.trailing.skip(0)
        self.trailing = None
        return self.make_room()

    def refuse(self, Arriving arriving, error):
        """A piece of it, or (None) a whole message, cannot be taken: the peer's fault."""
        if arriving is not None:
            if self.trailing is arriving and self.queue:
                # What has come behind a violation is not delivered.
                self.forget_queue()
            self.over(arriving)
            arriving.skipped = True
        self.violate(error)

    def give_up(self, Arriving arriving not None):
        """Its reader leaves before the end. What has to be inflated all the same is so when somebody receives."""
        if self.trailing is arriving:
            self.leave_trailing()
        elif self.arriving is arriving:
            arriving.skip(0)
            self.took(arriving)

    cdef int forget_queue(self) except -1:
        if self.delivery is not None:
            self.delivery.discarded += self.size
        self.queue.clear()
        self.size = 0
        self.arriving = None
        return 0

    cdef bint given_up(self) except -1:
        """Whether a stream that was left, or is left now, is out of the way."""
        cdef Arriving arriving = self.arriving
        cdef bint more
        if not self.handed:
            return True
        try:
            more = arriving.skip(SKIPPED)
        except ProtocolError as error:
            self.refuse(arriving, error)
            return False
        self.took(arriving)
        if more:
            self.loop.call_soon(self.look_again)
        return self.arriving is None

    def look_again(self):
        """Whoever waits here looks whether there is something."""
        self.wake()

    cdef bint joined(self) except -1:
        """Whether the message in pieces, if it is the next one, is here as a whole."""
        cdef Arriving arriving = self.arriving
        cdef object whole
        if arriving is None or not self.queue or self.queue[0] is not arriving:
            return True
        try:
            whole = arriving.join()
        except ProtocolError as error:
            self.queue.popleft()
            self.refuse(arriving, error)
            return False
        self.took(arriving)
        if whole is None:
            return False
        self.queue[0] = whole
        self.size += _size(whole)
        return True

    cdef int violate(self, object error) except -1:
        """What the parser could not see breaks a rule."""
        cdef Delivery delivery = self.delivery
        if delivery is not None:
            delivery.hold = delivery.hold & ~FULL | DEAD
            delivery.violated(error)
            if not delivery.inside:
                # Before whoever reads can close with another code.
                delivery.settle()
        return 0

    cdef bint owes(self):
        """Whether its reader has not come back for more behind all that was here."""
        self.owing = bool(self.queue) or self.taken > 0 and (self.waiter is None or self.waiter.done())
        return self.owing

    cdef bint took_since(self) noexcept:
        """Whether a reader has taken something since this was asked last."""
        cdef bint more = self.taken != self.taken_before
        self.taken_before = self.taken
        return more

    cdef int make_room(self) except -1:
        cdef Delivery delivery = self.delivery
        if delivery is not None and delivery.hold & FULL and not self.is_full():
            delivery.hold &= ~FULL
            # Nothing is parsed, no callback called, within a user's call.
            delivery.schedule()
        return 0

    def first(self):
        """The message that `pop` would give."""
        return self.queue[0]

    def pop(self):
        """The oldest message; ``IndexError`` where there is none."""
        cdef object message = self.queue.popleft()
        self.size -= _size(message)
        self.taken += 1
        self.make_room()
        return message


cdef Py_ssize_t _size(object message) except -1:
    """Bytes that it takes."""
    if isinstance(message, str):
        return PyUnicode_GET_LENGTH(message) * PyUnicode_KIND(message)
    return len(message)
