# cython: language_level=3, boundscheck=False, wraparound=False
"""Growable bytes, the only malloc of the core; knows nothing of what is stored.

Blocks of one size are kept for reuse: connections that write in turn share one
warm block, and an idle connection holds none.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

cdef enum:
    BLOCK = 65536  # holds a read batch's worth of answers; larger buffers go back to malloc
    KEPT = 8

cdef uint8_t* _kept[KEPT]
cdef int _count = 0


cdef int buffer_grow(Buffer* buffer, Py_ssize_t more) except -1:
    """Make room for *more* bytes behind those in use; raises MemoryError and leaves the buffer as it was."""
    global _count
    cdef Py_ssize_t capacity = buffer.size + more
    cdef uint8_t* data
    if buffer.data is NULL and capacity <= BLOCK:
        if _count:
            _count -= 1
            buffer.data = _kept[_count]
        else:
            buffer.data = <uint8_t*>malloc(BLOCK)
            if buffer.data is NULL:
                raise MemoryError
        buffer.capacity = BLOCK
        return 0
    if capacity < 2 * buffer.capacity:
        capacity = 2 * buffer.capacity
    if capacity < BLOCK:
        capacity = BLOCK
    data = <uint8_t*>realloc(buffer.data, capacity)
    if data is NULL:
        raise MemoryError
    buffer.data = data
    buffer.capacity = capacity
    return 0


cdef void buffer_release(Buffer* buffer) noexcept:
    """Empty it and give its block back."""
    global _count
    if buffer.data is not NULL:
        if buffer.capacity == BLOCK and _count < KEPT:
            _kept[_count] = buffer.data
            _count += 1
        else:
            free(buffer.data)
    buffer.data = NULL
    buffer.size = 0
    buffer.capacity = 0


cdef void buffer_trim(Buffer* buffer) noexcept:
    """Keep no more room than a waiting buffer needs: thousands of slow peers may each hold one."""
    cdef uint8_t* data
    if buffer.size == 0:
        buffer_release(buffer)
    elif buffer.size < buffer.capacity // 2:
        data = <uint8_t*>realloc(buffer.data, buffer.size)
        if data is not NULL:
            buffer.data = data
            buffer.capacity = buffer.size


cdef void buffer_drop(Buffer* buffer, Py_ssize_t count) noexcept:
    """Remove *count* bytes from the front."""
    buffer.size -= count
    if buffer.size:
        memmove(buffer.data, buffer.data + count, buffer.size)
