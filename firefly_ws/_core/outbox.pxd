"""Messages to bytes."""

from libc.stdint cimport uint8_t

from .buffer cimport Buffer


cdef class Turn:
    cdef readonly object loop
    cdef list marked          # outboxes that have written in this turn of the loop
    cdef bint scheduled

    cdef int mark(self, Outbox outbox) except -1


cdef class Outbox:
    cdef object transport     # None before the start and after the end
    cdef int fd               # the socket's descriptor, -1: only through the transport
    cdef bint masked          # we are the client, RFC 6455 §5.3
    cdef bint corked          # a read batch is being handled: its answers leave together
    cdef bint blocked         # the transport has bytes it could not write yet
    cdef bint in_turn         # has written in this turn: what comes now leaves at its end
    cdef Turn turn
    cdef Buffer main          # whole frames, in order
    cdef bytes urgent         # the newest Pong owed, and a Ping of ours, while blocked (RFC 6455 §5.5.3)
    cdef long long bytes_written

    cdef int put(self, int first, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int put_whole(self, int first, const uint8_t* payload, Py_ssize_t size, object owner) except -1
    cdef int put_pong(self, bytes payload) except -1
    cdef int put_urgent(self, int first, bytes payload) except -1
    cdef bytes frame(self, int first, bytes payload)
    cdef object taken(self)
    cdef bint waits(self) except -1
    cdef int descriptor(self) except -2
    cdef int send(self) except -1
    cdef int flush(self) except -1
    cdef int give(self) except -1
    cdef Py_ssize_t buffered(self) except -1
    cdef int attach(self, object transport, int fd) except -1
    cdef int detach(self) except -1
    cdef Py_ssize_t messages(self) except -1
