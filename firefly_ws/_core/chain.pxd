"""Extensions that work on frames, one behind the other."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .buffer cimport Buffer
from .delivery cimport Delivery
from .frames cimport Frame
from .messages cimport Messages
from .outbox cimport Outbox
from .parser cimport FrameSink


cdef class Link:
    cdef object name          # as agreed, with its parameters: for errors
    cdef object codec
    cdef int before           # reserved bits (0x70) of the links before it
    cdef int until            # the same with its own
    cdef long long size       # bytes that decode has made of the current message
    cdef bint encoding        # encode has begun a message and not ended it
    cdef bint decoding        # so has decode

    cdef int check(self, object frame, str method, int allowed, bint* inside) except -1


cdef class Chain:
    cdef list links           # in the order agreed, which is that of encoding
    cdef int claimed          # reserved bits of all, as in a frame's first byte
    cdef object blamed        # the link at work, for errors
    cdef bint has_users       # a codec is not the library's own

    cdef list encode(self, Frame frame, long long most)
    cdef list decode(self, Frame frame, long long room, long long most)
    cdef int emptied(self) noexcept


cdef class ChainIn(FrameSink):
    cdef Messages messages
    cdef Delivery delivery
    cdef Chain chain
    cdef Buffer part          # the payload of a frame that is not all here
    cdef int first            # of that frame
    cdef bint passing         # it is a control frame: not for the chain
    cdef int opcode           # of the message under way
    cdef uint64_t size        # its bytes as on the wire; to a reader, those of which nothing has come out yet
    cdef bint in_pieces       # a reader may ask for a message in pieces

    cdef int judge(self, int first, uint64_t length) except -1
    cdef long long room(self, long long limit) noexcept
    cdef int whole(self, int first, bytes payload) except -1


cdef class ChainOut(Outbox):
    cdef Chain chain
    cdef object owner         # the connection, None behind its end
    cdef bint closed          # our Close is in it
    cdef Py_ssize_t most      # bytes that may be made of one frame, below zero: no limit
