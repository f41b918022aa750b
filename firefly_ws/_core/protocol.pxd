"""asyncio's side of a connection."""

from .connection cimport Connection


cdef class Protocol:
    cdef readonly Connection connection
