"""Frames as they came."""

from .delivery cimport Delivery
from .inbox cimport Inbox
from .parser cimport FrameSink


cdef class RawFrames(FrameSink):
    cdef Delivery delivery
    cdef RawInbox inbox       # None: frames go to the callback
    cdef int first            # of the frame that is not all here
    cdef list parts
    cdef int opcode           # of the message under way, 0: none

    cdef int whole(self, int first, bytes payload) except -1


cdef class RawInbox(Inbox):
    pass
