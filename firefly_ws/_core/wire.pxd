"""What Cython sees of wire.h and sys.h."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "wire.h" nogil:
    ctypedef struct wire_head:
        uint64_t length
        uint32_t mask
        uint8_t first
        uint8_t masked

    ctypedef struct wire_utf8:
        uint8_t need
        uint8_t low
        uint8_t high

    enum:
        WIRE_MORE
        WIRE_NOT_MINIMAL
        WIRE_TOO_LONG

    int wire_read_head(const uint8_t* p, size_t n, wire_head* head)
    int wire_write_head(uint8_t* p, uint8_t first, uint64_t length, int masked, uint32_t mask)
    uint32_t wire_rotate(uint32_t mask, uint64_t phase)
    int wire_xor_copy(uint8_t* dst, const uint8_t* src, size_t n, uint32_t mask)
    ptrdiff_t wire_check_utf8(wire_utf8* state, const uint8_t* p, size_t n)


cdef extern from "sys.h" nogil:
    ptrdiff_t sys_send(int fd, const void* head, size_t head_size, const void* body, size_t body_size)
    int64_t sys_held(int fd)
    int64_t sys_taken(int fd)
