"""asyncio's side of a connection."""

from .connection cimport Connection


cdef class Protocol:
    cdef readonly Connection connection
    cdef object buffer       # where the transport reads to while inside a large frame, or None
    cdef object spare        # the same, where there is no place in a message

    cdef int read_large(self) except -1
