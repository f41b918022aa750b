"""Frames to messages."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .deflate cimport Deflate
from .limits cimport Limits
from .parser cimport FrameSink
from .wire cimport wire_utf8


cdef class MessageSink:
    # Each returns 0 to go on or 1 to have the parser stop behind this message.
    cdef int text(self, str text) except -1
    cdef int binary(self, bytes data) except -1
    cdef int control(self, int opcode, bytes payload) except -1
    cdef int peer_close(self, object code, str reason) except -1


cdef class Messages(FrameSink):
    cdef MessageSink sink
    cdef Deflate deflate           # None: not agreed
    cdef long long text_limit      # bytes, below zero: none
    cdef long long binary_limit
    cdef long long max_fragments
    cdef object options            # what to change, for text and for binary: names for the error
    cdef int opcode                # of the message being put together, 0: none
    cdef bint compressed           # it is
    cdef bint control_frame        # the frame being received is a control frame
    cdef bint final                # the data frame being received is the last of its message
    cdef long long fragments       # frames of it so far
    cdef wire_utf8 utf8            # its text so far
    cdef bytes part                # its bytes so far, with room behind them
    cdef Py_ssize_t size           # how many of them
    cdef uint64_t expected         # the length of a message that is one frame, 0: not known
    cdef int control_opcode
    cdef bytes control_part        # a control frame that is not all here

    cdef int begin_with(self, MessageSink sink, Limits limits, Deflate deflate) except -1
    cdef uint8_t* room(self, Py_ssize_t size) except NULL
    cdef int start(self, int first, uint64_t length) except -1
    cdef int append(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1
    cdef int append_inflated(self, bytes data) except -1
    cdef int check_text(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int too_big(self, uint64_t size) except -1
    cdef int done(self) except -1
    cdef int hand_over(self, bytes data) except -1
    cdef int whole_control(self, int opcode, bytes payload) except -1
    cdef long long limit(self) noexcept
    cdef int limit_to(self, Limits limits) except -1
