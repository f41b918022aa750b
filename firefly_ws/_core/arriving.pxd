"""A message that is handed over piece by piece."""

from libc.stdint cimport uint8_t

from .deflate cimport Deflate
from .wire cimport wire_utf8


cdef class Arriving:
    cdef readonly bint is_text
    cdef readonly bint done          # all of it has been handed over
    cdef bint complete               # all of it is here
    cdef bint compressed             # what is in *waiting* is
    cdef bint tail_fed               # the end of a compressed message has been told to the inflater
    cdef public bint skipped         # nobody wants its rest
    cdef Deflate deflate
    cdef object waiting              # deque of bytes as they came, unmasked
    cdef Py_ssize_t size             # of these
    cdef list ready                  # bytes that need no inflating, before those
    cdef bytes left                  # compressed, not taken by the inflater yet
    cdef Py_ssize_t left_start       # what it has taken of that
    cdef bint in_blocks              # zlib's stream has ended within it (RFC 7692 §7.2.3.4)
    cdef wire_utf8 utf8              # the text so far
    cdef bytes cut                   # the beginning of a character
    cdef readonly long long total    # bytes handed over
    cdef object error                # why the rest will not come
    cdef object refusal              # why it cannot be had as a whole
    cdef long long whole_limit       # bytes of it as a whole, below zero: none
    cdef object option               # what sets that limit
    cdef list joined                 # pieces of it, for who wants it as a whole

    cdef int put(self, bytes data) except -1
    cdef int put_ready(self, bytes data) except -1
    cdef int check_text(self, bytes data) except -1
    cdef bytes take(self)
    cdef bytes inflate(self)
    cdef object step(self, long long limit, object option)
    cdef object join(self)
    cdef int skip(self, Py_ssize_t most) except -1
    cdef object decoded(self, bytes data)
    cdef bint needs_inflating(self)
    cdef object whole_now(self)
    cdef bint set_apart(self) except -1
    cdef bint holds(self) noexcept
