"""Growable bytes: the fields of `Buffer`, and what can be done with one."""

from libc.stdint cimport uint8_t


ctypedef struct Buffer:
    uint8_t* data        # NULL while empty and unused
    Py_ssize_t size      # bytes in use
    Py_ssize_t capacity  # bytes there


cdef int buffer_grow(Buffer* buffer, Py_ssize_t more) except -1
cdef void buffer_release(Buffer* buffer) noexcept
cdef void buffer_trim(Buffer* buffer) noexcept
cdef void buffer_drop(Buffer* buffer, Py_ssize_t count) noexcept


cdef inline uint8_t* buffer_reserve(Buffer* buffer, Py_ssize_t more) except NULL:
    """Room for *more* bytes behind those in use; the caller adds what it wrote to ``size``."""
    if buffer.capacity - buffer.size < more:
        buffer_grow(buffer, more)
    return buffer.data + buffer.size
