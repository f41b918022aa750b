"""Plain sockets in a `Poller`'s set."""

from libc.stdint cimport uint8_t

from .connection cimport Connection
from .poll cimport Poller, Watched


cdef class Newcomer:
    cdef int arrived(self, Transport transport) except -1
    cdef int received(self, const uint8_t* data, Py_ssize_t size) except -1


cdef class Transport(Watched):
    cdef Poller poller
    cdef object protocol          # `asyncio.Protocol`; None once a connection has taken over
    cdef Connection connection    # what reads and writes go to without a detour
    cdef Newcomer newcomer        # the same, where it is one: what is read goes to it as it lies there
    cdef uint8_t host[4]          # the peer's address, where it is IPv4
    cdef int port                 # -1: the system is asked for it
    cdef list waiting             # bytes-like: accepted by write(), not yet by the system
    cdef Py_ssize_t waiting_size
    cdef Py_ssize_t high, low     # bytes of them: above, and back below, the writer is told
    cdef bint reading, full, closing, eof_due, ending
    cdef object error             # what ends it

    cdef int begin(self, Poller poller, int fd) except -1
    cdef int open(self, object protocol) except -1
    cdef int take_over(self, Connection connection) except -1
    cdef int put(self, object data, const uint8_t* start, Py_ssize_t size) except -1
    cdef int interest(self) except -1
    cdef int read(self) except -1
    cdef int eof(self) except -1
    cdef int drain(self) except -1
    cdef int tell(self, bint full) except -1
    cdef int broken(self, object error) except -1
    cdef int fail(self, object error) except -1
    cdef int end(self, object error) except -1
