"""Bytes to frames."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .wire cimport wire_head

ctypedef long long int64_limit  # a limit in bytes; below zero: none


cdef class FrameSink:
    # Each returns 0 to go on or 1 to have the parser stop behind this call; what it raises ends the parsing.
    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1
    cdef int begin(self, int first, uint64_t length) except -1
    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1
    cdef int end(self) except -1
    # A large frame may be read straight to where its payload belongs: where (or NULL), and what came to lie there.
    cdef uint8_t* place(self, uint64_t left, Py_ssize_t* size) except? NULL
    cdef int placed(self, Py_ssize_t size, uint32_t mask, bint masked) except -1


cdef class Parser:
    cdef FrameSink sink
    cdef bint expect_masked         # RFC 6455 §5.1: clients mask, servers do not
    cdef uint8_t reserved           # RSV bits (0x40, 0x20, 0x10) that no extension has claimed
    cdef uint8_t saved              # bytes of an unfinished head in head_bytes
    cdef bint fragmented            # a message has begun and not ended
    cdef bint inside                # between begin() and end()
    cdef int64_limit max_frame_size  # -1: none
    cdef uint64_t left              # payload bytes of the current frame still to come
    cdef wire_head head             # of the current frame; its mask is rotated as the payload passes
    cdef uint8_t head_bytes[14]

    cdef uint8_t* place(self, Py_ssize_t* size) except? NULL
    cdef int placed(self, Py_ssize_t size) except -1
    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int finish_head(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int no_head(self, const uint8_t* p, Py_ssize_t size, int why) except -1
    cdef int begin_frame(self, wire_head* head) except -1
    cdef int end_frame(self) except -1
    cdef int check(self, int first, bint masked, uint64_t length) except -1
