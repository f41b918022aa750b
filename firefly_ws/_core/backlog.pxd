"""What a slow peer has not been sent yet."""

from .sending cimport Sender


cdef class Backlog:
    cdef Sender sender
    cdef object waiting               # OrderedDict: key -> (opcode, str or bytes); an object of its own where none is
    cdef readonly Py_ssize_t size     # bytes of them
    cdef readonly long long dropped   # messages that never left
    cdef bint dropping                # the oldest above high water; else only what a newer one of its key replaces

    cdef object put(self, int opcode, object data)
    cdef int drop_oldest(self, Py_ssize_t beyond) except -1
    cdef int take_next(self) except -1
