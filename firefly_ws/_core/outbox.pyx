# cython: language_level=3, boundscheck=False, wraparound=False
"""Messages to bytes, RFC 6455 §5.2 and §5.3: heads, masks, one write per read batch or turn of the loop.

Knows a transport to write to and refuses to know why something is sent. While the
transport has nothing of ours, bytes go straight to the descriptor and the transport
gets only what did not fit: one `send` for a batch of answers. Once the transport is
behind, frames wait here, where a Pong may still overtake them.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memmove

from .buffer cimport buffer_drop, buffer_release, buffer_reserve
from .wire cimport sys_held, sys_send, sys_taken, wire_head, wire_read_head, wire_write_head, wire_xor_copy

cdef enum:
    POOL = 4096         # random bytes drawn at once: 0.3 µs a key without it
    EARLY = 131072      # a corked batch is written when it holds this much, while it is in the cache
    WITHOUT_COPY = 16384  # from here on a payload is written from where it lies
    COUNTED = 65536     # frames, at the end
    LAST = 16384        # of a large write, to a transport of TLS: a record by itself

cdef uint8_t _pool[POOL]
cdef Py_ssize_t _left = 0


cdef uint32_t _new_mask() except? 0:
    """Four unpredictable bytes (RFC 6455 §10.3), from the operating system by way of a pool."""
    global _left
    cdef uint32_t mask
    cdef bytes fresh
    if _left < 4:
        fresh = os.urandom(POOL)
        memcpy(_pool, PyBytes_AS_STRING(fresh), POOL)
        _left = POOL
    _left -= 4
    memcpy(&mask, _pool + _left, 4)
    return mask


def _drop_pool():
    """A forked child must not repeat its parent's keys."""
    global _left
    _left = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_pool)


cdef class Turn:
    """One loop's outboxes that have written in its current turn; one callback serves them all."""

    def __init__(self, loop):
        self.loop = loop
        self.marked = []

    cdef int mark(self, Outbox outbox) except -1:
        outbox.in_turn = True
        self.marked.append(outbox)
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self._end)
        return 0

    def _end(self):
        cdef Outbox outbox
        cdef Py_ssize_t done = 0
        cdef list marked = self.marked
        self.marked = []
        self.scheduled = False
        try:
            for outbox in marked:
                done += 1
                outbox.in_turn = False
                if outbox.main.size:
                    outbox.flush()
        finally:
            if done < len(marked):
                # A transport raised; the loop reports that, and those behind it come in the next turn.
                self.marked = marked[done:] + self.marked
                if not self.scheduled:
                    self.scheduled = True
                    self.loop.call_soon(self._end)


cdef class Outbox:
    """What one connection has to send."""

    def __cinit__(self):
        self.fd = -1

    def __init__(self, Turn turn not None, bint masked):
        self.turn = turn
        self.masked = masked

    def __dealloc__(self):
        buffer_release(&self.main)

    cdef int attach(self, object transport, int fd) except -1:
        self.transport = transport
        self.fd = fd
        return 0

    cdef int detach(self) except -1:
        """Nothing more can be written: forget what waits."""
        self.transport = None
        self.fd = -1
        self.blocked = False
        self.urgent = None
        buffer_release(&self.main)
        return 0

    cdef Py_ssize_t messages(self) except -1:
        """How many whole messages wait here; of more than can be counted in no time, those of the first."""
        cdef Py_ssize_t count = 0, frames = 0, place = 0
        cdef wire_head head
        cdef int size
        while place < self.main.size and frames < COUNTED:
            size = wire_read_head(self.main.data + place, self.main.size - place, &head)
            if size <= 0:
                break
            # RFC 6455 §5.4: the last fragment of each.
            count += head.first & 0x80 and not head.first & 0x08
            place += size + head.length
            frames += 1
        return count

    cdef int put(self, int first, const uint8_t* payload, Py_ssize_t size) except -1:
        """Append a frame; `send` or the end of the batch writes it."""
        cdef uint8_t* place = buffer_reserve(&self.main, size + 14)
        cdef uint32_t mask = 0
        cdef int head
        if self.masked:
            mask = _new_mask()
            head = wire_write_head(place, first, size, 1, mask)
            wire_xor_copy(place + head, payload, size, mask)
        else:
            head = wire_write_head(place, first, size, 0, 0)
            memcpy(place + head, payload, size)
        self.main.size += head + size
        return 0

    cdef int put_whole(self, int first, const uint8_t* payload, Py_ssize_t size, object owner) except -1:
        """Append a message's frame, or write a large one at once from where it lies.

        *owner* is the immutable object the payload belongs to, or None.
        """
        cdef uint8_t* place
        cdef Py_ssize_t ahead
        cdef ptrdiff_t sent
        if self.masked or size < WITHOUT_COPY or self.blocked or self.fd < 0 or owner is None:
            self.put(first, payload, size)
            if self.main.size >= EARLY and self.corked and not self.blocked:
                self.flush()
            return 0
        place = buffer_reserve(&self.main, 14)
        self.main.size += wire_write_head(place, first, size, 0, 0)
        ahead = self.main.size
        sent = sys_send(self.fd, self.main.data, ahead, payload, size)
        if sent < 0:
            sent = 0
        self.bytes_written += sent
        if sent == ahead + size:
            buffer_release(&self.main)
            return 0
        if sent < ahead:
            buffer_drop(&self.main, sent)
            self.give()
            if self.transport is not None:
                self.bytes_written += size
                self.transport.write(_view(owner, payload, size, 0))
        else:
            buffer_release(&self.main)
            self.bytes_written += ahead + size - sent
            self.transport.write(_view(owner, payload, size, sent - ahead))
        return 0

    cdef int put_pong(self, bytes payload) except -1:
        """A Pong that we owe. Behind a blocked transport only the newest is kept (RFC 6455 §5.5.3)."""
        if not self.blocked:
            return self.put(0x8A, <const uint8_t*>PyBytes_AS_STRING(payload), len(payload))
        # A Ping of ours may go with the Pong before: its peer has just spoken.
        self.urgent = self.frame(0x8A, payload)
        return 0

    cdef int put_urgent(self, int first, bytes payload) except -1:
        """A Ping of ours that goes before whole frames behind a blocked transport; of several the newest."""
        cdef bytes before = self.urgent
        self.urgent = self.frame(first, payload)
        if before is not None and <uint8_t>before[0] == 0x8A:
            # The Pong owed, without the Ping that stood behind it: nothing may grow while the peer does not read.
            self.urgent = before[:(6 if self.masked else 2) + (<uint8_t>before[1] & 0x7F)] + self.urgent
        return 0

    cdef bytes frame(self, int first, bytes payload):
        """A frame by itself."""
        cdef Buffer before = self.main
        self.main.data = NULL
        self.main.size = self.main.capacity = 0
        try:
            self.put(first, <const uint8_t*>PyBytes_AS_STRING(payload), len(payload))
            return PyBytes_FromStringAndSize(<char*>self.main.data, self.main.size)
        finally:
            buffer_release(&self.main)
            self.main = before

    cdef int send(self) except -1:
        """Behind a put: write now where this turn has not written yet, else at its end."""
        if self.corked or self.in_turn:
            return 0
        self.turn.mark(self)
        return self.flush()

    cdef int flush(self) except -1:
        """Write what waits; afterwards all is the transport's, or it is blocked."""
        cdef ptrdiff_t sent
        if self.blocked or self.transport is None:
            return 0
        if self.urgent is not None:
            buffer_reserve(&self.main, len(self.urgent))
            memmove(self.main.data + len(self.urgent), self.main.data, self.main.size)
            memcpy(self.main.data, PyBytes_AS_STRING(self.urgent), len(self.urgent))
            self.main.size += len(self.urgent)
            self.urgent = None
        if self.main.size == 0:
            return 0
        if self.fd >= 0:
            sent = sys_send(self.fd, self.main.data, self.main.size, NULL, 0)
            if sent == self.main.size:
                self.bytes_written += sent
                buffer_release(&self.main)
                return 0
            if sent > 0:
                self.bytes_written += sent
                buffer_drop(&self.main, sent)
        return self.give()

    cdef int give(self) except -1:
        """Hand what waits to the transport; it may call back that it is behind.

        TLS does so only for what it is given while the transport below it has enough: a large write by itself is out of
        sight, and a peer that takes nothing of it would be kept for ever. So its end follows by itself.
        """
        cdef bytes rest
        cdef Py_ssize_t part = self.main.size - LAST
        if self.fd < 0 and self.main.size > EARLY:
            rest = PyBytes_FromStringAndSize(<char*>self.main.data, part)
            self.bytes_written += part
            buffer_drop(&self.main, part)
            self.transport.write(rest)
            if self.blocked or self.transport is None:
                return 0
        rest = PyBytes_FromStringAndSize(<char*>self.main.data, self.main.size)
        self.bytes_written += self.main.size
        buffer_release(&self.main)
        self.transport.write(rest)
        return 0

    cdef Py_ssize_t buffered(self) except -1:
        """Bytes accepted and not yet taken by the operating system."""
        cdef Py_ssize_t size = self.main.size
        if self.urgent is not None:
            size += len(self.urgent)
        if self.blocked and self.transport is not None:
            size += self.transport.get_write_buffer_size()
        return size

    cdef object taken(self):
        """What is another value once the peer's machine has taken bytes that wait in our transport or kernel."""
        return self.transport.get_write_buffer_size(), sys_taken(self.descriptor())

    cdef bint waits(self) except -1:
        """Whether the peer's machine has not taken all that was sent.

        TLS calls itself empty when the transport below it has all, so the kernel is asked there.
        """
        return self.blocked or self.fd < 0 and self.transport is not None and sys_held(self.descriptor()) > 0

    cdef int descriptor(self) except -2:
        """The socket's, to ask how it stands, also where we may not write to it; or -1."""
        if self.fd >= 0:
            return self.fd
        sock = self.transport.get_extra_info("socket")
        return -1 if sock is None else sock.fileno()


cdef object _view(object owner, const uint8_t* payload, Py_ssize_t size, Py_ssize_t start):
    """What is left of a payload, without a copy where its owner is bytes."""
    if isinstance(owner, bytes):
        return memoryview(owner)[start:]
    return PyBytes_FromStringAndSize(<const char*>payload + start, size - start)
