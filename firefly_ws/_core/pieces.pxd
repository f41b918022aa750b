"""Frames to messages for a reader."""

from .arriving cimport Arriving
from .inbox cimport Inbox
from .messages cimport Messages


cdef class Pieces(Messages):
    cdef Inbox inbox
    cdef Arriving arriving    # the message under way, if it is handed over in pieces

    cdef int open(self, object refusal, bytes left, bint ended) except -1
    cdef int put(self, bytes piece) except -1
    cdef int dropped(self, Py_ssize_t size) except -1
