"""One message in fragments."""

from libc.stdint cimport uint8_t

from .buffer cimport Buffer
from .sending cimport Sender
from .steps cimport Wait


cdef class Stream:
    cdef Sender sender
    cdef object held                     # deque of what was sent since: (opcode or mark, what, Wait)
    cdef readonly Py_ssize_t held_bytes  # of the messages among them
    cdef Buffer joined                   # small pieces that have not left yet
    cdef int opcode                      # 1 or 2, 0: not known yet
    cdef bint begun                      # its first frame is out
    cdef bint over                       # nothing more will come
    cdef bint scheduled                  # _turn is due
    cdef object compressor               # None: it goes as it is
    cdef object error                    # of a fragment that left behind the iterable's back
    cdef Py_ssize_t work                 # bytes taken in this turn of the loop
    cdef Wait breath                     # for the next turn
    cdef object task                     # that gives the pieces, once it has the turn, or waits for it

    cdef object emit(self, const uint8_t* payload, Py_ssize_t size, object owner, bint final)
    cdef int leave(self) except -1
    cdef int choose(self, const uint8_t* payload, Py_ssize_t size) except -1
    cdef int put_held(self, int opcode, object data) except -1
    cdef int pass_on(self) except -1
    cdef int schedule(self) except -1
