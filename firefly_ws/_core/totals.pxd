"""What a server's connections have done."""

from .connection cimport Connection


cdef class Totals:
    cdef readonly long long open, opened
    cdef readonly long long texts_received, binaries_received, texts_sent, binaries_sent, dropped
    cdef readonly long long bytes_read, bytes_written, buffered
    cdef readonly long long callback_errors
    cdef readonly dict closed, close_sent, close_received  # by close code
    cdef readonly dict errors                              # by name

    cdef int add(self, Connection connection) except -1


cdef class Accounts:
    cdef dict past     # of connections that have ended: route -> Totals
