# cython: language_level=3
"""What a slow peer has not been sent yet, where the policy says that not all of it must be. Knows no frame.

Messages wait here as they were given while the transport is behind, and become frames
only when they leave: one that is dropped has not been in a compressor's window nor
passed an extension. What the outbox has is never dropped: no control frame, and no part
of a message. A connection whose sends wait (the default) has none of this.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from .outbox cimport Outbox
from .sending cimport OPEN, Sender
from .wheel cimport monotonic

import logging
from collections import OrderedDict

from .done import DONE
from ..errors import QueueOverflow
from ..seldom import seldom

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    EARLY = 65536  # bytes given to the transport at once: what it has can no longer be dropped

cdef object _DONE = DONE
cdef int _INFO = logging.INFO


cdef class Backlog:
    """The messages of *sender* that wait; with *dropping* the oldest go when there are too many."""

    def __init__(self, Sender sender not None, bint dropping):
        self.sender = sender
        self.dropping = dropping
        self.waiting = OrderedDict()

    @property
    def replacing(self):
        """Whether messages may have keys (bool)."""
        return not self.dropping

    def add(self, int opcode, data, key=None):
        """Send a message (str or bytes), or keep it until the peer has taken what is before it; as `Sender.send`."""
        cdef Sender sender = self.sender
        cdef Outbox outbox = sender.outbox
        cdef Py_ssize_t size = _size(data), total
        cdef object before = None
        if not self.waiting and not outbox.blocked:
            ready = self.put(opcode, data)
            if outbox.main.size >= EARLY:
                outbox.flush()
            return ready
        if key is None:
            key = object()
        else:
            before = self.waiting.get(key)
        total = outbox.buffered() + size
        if not self.dropping:
            total += self.size - (0 if before is None else _size(before[1]))
        if 0 <= sender.max_write < total:
            raise QueueOverflow(total, sender.max_write)
        if before is not None:
            self.size -= _size(before[1])
            self.dropped += 1
        self.waiting[key] = (opcode, data)
        self.size += size
        if self.dropping:
            self.drop_oldest(sender.high_water - outbox.buffered())
            return _DONE
        if total <= sender.high_water:
            return _DONE if sender.drained is None else sender.drained
        return sender.held_up()

    def __len__(self):
        return len(self.waiting)

    cdef object put(self, int opcode, object data):
        cdef Py_ssize_t size
        cdef const uint8_t* payload
        if opcode == 1:
            payload = <const uint8_t*>PyUnicode_AsUTF8AndSize(data, &size)
        else:
            payload = <const uint8_t*>PyBytes_AS_STRING(data)
            size = len(<bytes>data)
        return self.sender.put(opcode, payload, size, data)

    cdef int drop_oldest(self, Py_ssize_t beyond) except -1:
        """Forget the oldest while there are more than *beyond* bytes; the newest stays."""
        cdef Py_ssize_t count = len(self.waiting)
        if self.size <= beyond or count < 2:
            return 0
        while self.size > beyond and count > 1:
            _, (_, data) = self.waiting.popitem(False)
            self.size -= _size(data)
            self.dropped += 1
            count -= 1
        seldom("drop_oldest", _INFO, "%r: a slow peer: messages for it are dropped, %d so far",
               self.sender, self.dropped)
        return 0

    cdef int take_next(self) except -1:
        """Give the oldest to the outbox."""
        _, (opcode, data) = self.waiting.popitem(False)
        self.size -= _size(data)
        try:
            self.put(opcode, data)
        except Exception as error:
            # A user's compress_if, or an extension; the send that it belongs to has returned.
            self.sender.callback_failed(error)
        return 0

    def feed(self):
        """The transport has taken what it had: give it the next ones, until it is behind again."""
        cdef Sender sender = self.sender
        cdef Outbox outbox = sender.outbox
        cdef bint corked = outbox.corked
        cdef Py_ssize_t bound = sender.max_write
        if not self.waiting or sender._state != OPEN:
            return
        sender.write_at = monotonic()
        outbox.corked = True
        # They have been accepted: what else is in the outbox by now does not refuse them.
        sender.max_write = -1
        try:
            while self.waiting and not outbox.blocked:
                self.take_next()
                if outbox.main.size >= EARLY:
                    outbox.flush()
        finally:
            sender.max_write = bound
            outbox.corked = corked
        outbox.flush()

    def commit(self):
        """Give all to the outbox, behind a slow transport too: what follows must not overtake it."""
        cdef Sender sender = self.sender
        cdef Py_ssize_t bound = sender.max_write
        sender.max_write = -1
        try:
            while self.waiting:
                self.take_next()
        finally:
            sender.max_write = bound

    def clear(self):
        """The connection has ended."""
        self.waiting.clear()
        self.size = 0


cdef Py_ssize_t _size(object data) except -1:
    cdef Py_ssize_t size
    if isinstance(data, str):
        PyUnicode_AsUTF8AndSize(data, &size)
        return size
    return len(<bytes>data)
