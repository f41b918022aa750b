# cython: language_level=3, boundscheck=False, wraparound=False
"""Frames to messages for a reader, who may want the next one in pieces; knows the inbox and not the reader.

A message above a limit is not refused when it comes, but when somebody wants it as a
whole: whoever asks for pieces may have it. Until then no more of it is read than
`Arriving` may hold. Messages behind it are not parsed before it has been taken.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .arriving cimport Arriving
from .deflate cimport Deflate
from .delivery cimport DEAD, ENDED
from .inbox cimport Inbox
from .limits cimport Limits
from .messages cimport Messages
from .wire cimport wire_xor_copy

from ..errors import MessageTooBig, ProtocolError

cdef enum:
    PLACE = 262144  # bytes of a large frame that are read at once
    BLOCK = 1024    # as in `Arriving`
    PER_PIECE = 64  # of a turn's budget: what taking one costs beside its bytes

cdef bytes _TAIL = b"\x00\x00\xff\xff"


cdef class Pieces(Messages):
    """`Messages` of a connection that is read by asking."""

    def __init__(self, Inbox inbox not None, Limits limits not None, Deflate deflate=None):
        Messages.__init__(self, inbox, limits, deflate)
        self.inbox = inbox

    def begin_pieces(self):
        """Somebody waits for the next message in pieces: if it has begun, it is handed over now."""
        if self.opcode and self.arriving is None:
            self.open(None, None, False)

    cdef int open(self, object refusal, bytes left, bint ended) except -1:
        """Hand the message under way over in pieces from here on.

        *refusal* is why it cannot be had as a whole, *left* what the inflater has not
        taken of it, *ended* whether that is its end.
        """
        cdef Arriving arriving
        cdef Inbox inbox = self.inbox
        if inbox.delivery.hold & (ENDED | DEAD) or (refusal is not None and inbox.waits_whole()):
            # Closing, or its reader is here and wants it as a whole.
            if refusal is not None:
                raise refusal
            return 0
        arriving = Arriving.__new__(Arriving)
        arriving.is_text = self.opcode == 1
        arriving.compressed = self.compressed
        arriving.deflate = self.deflate
        arriving.utf8 = self.utf8
        arriving.refusal = refusal
        arriving.whole_limit = self.limit()
        arriving.option = self.options[self.opcode - 1]
        arriving.left = left
        arriving.tail_fed = ended
        if self.size:
            # A copy: a transport may be about to read to behind it.
            arriving.put_ready(PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.part), self.size))
        self.arriving = arriving
        return inbox.arrives(arriving)

    cdef int start(self, int first, uint64_t length) except -1:
        if self.arriving is not None and first & 15 == 0:
            if first & 0x40:
                raise ProtocolError("RSV1 is set on a continuation frame (RFC 7692 §6.1)")
            self.final = first & 0x80 != 0
            return 0
        try:
            Messages.start(self, first, length)
        except ProtocolError as error:
            if error.code != 1009:
                raise
            return self.open(error, None, False)
        if self.inbox.streams():
            self.open(None, None, False)
        return 0

    cdef int append(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef bytes piece
        if self.arriving is None:
            return Messages.append(self, data, size, mask, masked)
        if size == 0 or self.dropped(size):
            return 0
        piece = PyBytes_FromStringAndSize(NULL, size)
        if masked:
            wire_xor_copy(<uint8_t*>PyBytes_AS_STRING(piece), data, size, mask)
        else:
            memcpy(PyBytes_AS_STRING(piece), data, size)
        return self.put(piece)

    cdef int put(self, bytes piece) except -1:
        """A piece has come; 1 if no more should."""
        self.inbox.delivery.work -= PER_PIECE + len(piece)
        try:
            self.arriving.put(piece)
        except ProtocolError as error:
            self.arriving.error = error
            self.inbox.wake()
            raise
        return self.inbox.arrived()

    cdef int dropped(self, Py_ssize_t size) except -1:
        """We are closing: what comes is counted."""
        if not self.inbox.delivery.hold & (ENDED | DEAD):
            return 0
        self.inbox.delivery.discarded += size
        return 1

    cdef uint8_t* place(self, uint64_t left, Py_ssize_t* size) except? NULL:
        if self.arriving is None:
            return Messages.place(self, left, size)
        if self.compressed:
            return NULL
        size[0] = <Py_ssize_t>(left if left < PLACE else PLACE)
        if self.part is None or self.size or len(self.part) != size[0]:
            self.part = PyBytes_FromStringAndSize(NULL, size[0])
            self.size = 0
        return <uint8_t*>PyBytes_AS_STRING(self.part)

    cdef int placed(self, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef bytes piece = self.part
        cdef uint8_t* place
        if self.arriving is None:
            return Messages.placed(self, size, mask, masked)
        if self.dropped(size):
            return 0
        if len(piece) == size:
            self.part = None
        else:
            # Where the message began as a whole, behind what had come.
            piece = PyBytes_FromStringAndSize(PyBytes_AS_STRING(piece) + self.size, size)
        place = <uint8_t*>PyBytes_AS_STRING(piece)
        if masked:
            wire_xor_copy(place, place, size, mask)
        return self.put(piece)

    cdef int append_inflated(self, bytes data) except -1:
        """As there, but what is above the limit is not lost."""
        cdef long long limit = self.limit()
        cdef long long left
        cdef bytes packed = _TAIL if data is None else data
        cdef bytes some = packed
        cdef bytes out, rest
        cdef Py_ssize_t at = 0
        if limit < 0:
            return Messages.append_inflated(self, data)
        while at < len(packed):
            left = limit - self.size
            out, rest = self.deflate.inflate_some(some, left + 1)
            at += len(some) - (0 if rest is None else len(rest))
            if len(out):
                if self.opcode == 1:
                    self.check_text(<const uint8_t*>PyBytes_AS_STRING(out), len(out))
                if self.size == 0 and len(out) > 1:
                    self.part = out
                else:
                    memcpy(self.room(len(out)), PyBytes_AS_STRING(out), len(out))
                self.size += len(out)
            if len(out) > left:
                return self.open(MessageTooBig(self.size, limit, self.options[self.opcode - 1]),
                                 packed[at:], data is None)
            # Behind an end of zlib's stream, as in `Deflate._inflate_on`.
            some = packed[at:at + BLOCK]
        if data is None:
            self.deflate.ended()
        return 0

    cdef int done(self) except -1:
        cdef Arriving arriving = self.arriving
        if arriving is None and self.compressed:
            self.append_inflated(None)
            self.compressed = False
            arriving = self.arriving
        if arriving is None:
            return Messages.done(self)
        self.arriving = None
        self.opcode = 0
        self.part = None
        self.size = 0
        if self.inbox.delivery.hold & (ENDED | DEAD):
            # We are closing: a part of it may have been dropped.
            return 0
        self.inbox.delivery.received_of[not arriving.is_text] += 1
        arriving.complete = True
        return self.inbox.arrived()
