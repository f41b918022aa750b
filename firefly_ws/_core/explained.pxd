"""Why a connection ended."""

from .keepalive cimport Kept


cdef class Explained(Kept):
    cdef double begun                # monotonic seconds of the opening
    cdef double over                 # and of the end

    cdef int ended_with(self, object error) except -1
    cdef object why(self)
    cdef int level(self) except -1

    # for the connection
    cdef int told_end(self) except -1
