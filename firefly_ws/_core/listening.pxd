"""A listening socket in a `Poller`'s set."""

from libc.stdint cimport uint8_t

from .poll cimport Poller, Watched


cdef class Listener(Watched):
    cdef Poller poller
    cdef object sock              # its descriptor is ours until close()
    cdef object make              # called for each connection: what becomes its protocol
    cdef bint bare                # it is called with the descriptor, which is its own then
    cdef object timer             # until accepting is tried again; None: it goes on

    cdef int refused(self, int why) except -1
    cdef int starve(self, int why) except -1
    cdef int pause(self) except -1
    cdef int accept(self, int fd, const uint8_t* host, int port) except -1
    cdef int give(self, int fd) except -1
