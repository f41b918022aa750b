# cython: language_level=3
"""Extensions that work on frames, RFC 6455 §9: one behind the other, out in the order agreed, in the other way round.

Knows a codec as two methods that turn a data frame into frames, and trusts neither
what they return nor how much of it. Control frames pass by. A connection without
extensions, or with permessage-deflate alone, has nothing of this.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .buffer cimport buffer_release, buffer_reserve
from .delivery cimport DEAD, ENDED, Delivery
from .frames cimport Frame, wire_frame
from .messages cimport Messages
from .outbox cimport Outbox, Turn
from .parser cimport FrameSink
from .pieces cimport Pieces
from .wire cimport wire_xor_copy

import logging

from ..errors import MessageTooBig, ProtocolError, QueueOverflow

cdef enum:
    PER_FRAME = 256   # what a frame costs beside its bytes, of a turn's budget
    HEAD = 14         # bytes of the longest head
    ALLOWANCE = 4096  # what extensions may add to a message of any size, beside an eighth of the limit

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)

cdef object _log = logging.getLogger("firefly_ws")


cdef class Link:
    """One extension of one connection."""

    cdef int check(self, object frame, str method, int allowed, bint* inside) except -1:
        """Judge one frame that the codec has made."""
        cdef int first, opcode
        if not isinstance(frame, Frame):
            raise TypeError(f"{self.name}: {method}() returned {frame!r} among its frames; each must be a Frame")
        first = (<Frame>frame)._first
        opcode = (<Frame>frame).opcode
        if opcode > 2:
            raise ValueError(f"{self.name}: {method}() returned {frame!r}; an extension makes data frames only")
        if first & 0x70 & ~allowed:
            raise ValueError(f"{self.name}: {method}() returned a frame with the reserved bits {first >> 4 & 7:03b}; "
                             f"{allowed >> 4:03b} are claimed by the extensions so far")
        if opcode == 0 and not inside[0]:
            raise ValueError(f"{self.name}: {method}() returned a continuation frame, and no message has begun")
        if opcode and inside[0]:
            raise ValueError(f"{self.name}: {method}() returned a new message, and the one before has not ended")
        inside[0] = first & 0x80 == 0
        return 0


cdef class Chain:
    """The extensions of one connection.

    *links* are (name for errors, reserved bits as in `AgreedExtension`, codec) in
    the order agreed. Raises `TypeError` for a codec without ``encode`` and ``decode``.
    """

    def __init__(self, links):
        cdef Link link
        self.links = []
        for name, rsv, codec in links:
            if not callable(getattr(codec, "encode", None)) or not callable(getattr(codec, "decode", None)):
                if PyCoro_CheckExact(codec):
                    codec.close()  # unawaited, it would complain of that as well
                raise TypeError(f"{name}: codec() returned {codec!r}; it must have the methods encode and decode, "
                                "or be None where frames stay as they are")
            link = Link()
            link.name = name
            link.codec = codec
            # The library's own never ask who called them.
            self.has_users = self.has_users or not str(type(codec).__module__).startswith("firefly_ws.")
            link.before = self.claimed
            self.claimed |= rsv << 4
            link.until = self.claimed
            self.links.append(link)

    cdef list encode(self, Frame frame, long long most):
        """What goes over the wire for *frame*; *most* bounds the bytes made of it (below zero: nothing does)."""
        cdef list frames = [frame], made
        cdef Link link
        cdef long long size
        for link in self.links:
            self.blamed = link.name
            made = []
            size = 0
            for one in frames:
                for got in _frames(link.codec.encode(one), link, "encode"):
                    link.check(got, "encode", link.until, &link.encoding)
                    size += HEAD + len((<Frame>got).payload)
                    if 0 <= most < size:
                        raise QueueOverflow(size, most)
                    made.append(got)
            frames = made
        return frames

    cdef list decode(self, Frame frame, long long room, long long most):
        """What the peer meant by *frame*.

        *room* bounds the bytes of one message behind each extension, *most* the frames
        made of this one (below zero: nothing does). A list longer than that, or bytes
        beyond the room, are the caller's to judge: here they only stop the work.
        """
        cdef list frames = [frame], made
        cdef Link link
        cdef object left
        for link in reversed(self.links):
            self.blamed = link.name
            made = []
            for one in frames:
                if (<Frame>one).opcode:
                    link.size = 0
                left = None if room < 0 else room - link.size
                for got in _frames(link.codec.decode(one, left), link, "decode"):
                    link.check(got, "decode", link.before, &link.decoding)
                    link.size += len((<Frame>got).payload)
                    if 0 <= room < link.size:
                        raise _NoRoom(link.size)
                    made.append(got)
                    if 0 <= most < len(made):
                        raise ValueError(f"{link.name}: decode() made more than max_fragments={most} frames at once")
            frames = made
        return frames

    cdef int emptied(self) noexcept:
        """What decode has made so far of the current message waits nowhere here."""
        cdef Link link
        for link in self.links:
            link.size = 0
        return 0


class _NoRoom(Exception):
    """A message has become longer than may be; carries its size so far."""


cdef class ChainIn(FrameSink):
    """Collects each data frame, has the chain decode it and hands on what comes out."""

    def __init__(self, Messages messages, Delivery delivery, Chain chain not None):
        self.messages = messages
        self.delivery = delivery
        self.chain = chain
        self.in_pieces = isinstance(messages, Pieces)

    def __dealloc__(self):
        buffer_release(&self.part)

    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef bytes data
        if first & 0x08:
            return self.messages.frame(first, payload, size, mask, masked)
        self.judge(first, size)
        data = PyBytes_FromStringAndSize(NULL, size)
        _unmask(<uint8_t*>PyBytes_AS_STRING(data), payload, size, mask, masked)
        return self.whole(first, data)

    cdef int begin(self, int first, uint64_t length) except -1:
        self.first = first
        self.passing = first & 0x08 != 0
        if self.passing:
            return self.messages.begin(first, length)
        return self.judge(first, length)

    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        if self.passing:
            return self.messages.chunk(data, size, mask, masked)
        if self.delivery.hold & ENDED:
            self.delivery.discarded += size
            return 0
        _unmask(buffer_reserve(&self.part, size), data, size, mask, masked)
        self.part.size += size
        return 0

    cdef int end(self) except -1:
        cdef bytes payload
        if self.passing:
            return self.messages.end()
        payload = PyBytes_FromStringAndSize(<char*>self.part.data, self.part.size)
        buffer_release(&self.part)
        return self.whole(self.first, payload)

    cdef int judge(self, int first, uint64_t length) except -1:
        """Refuse a frame by its head, before it takes memory, where no extension could make a message of it."""
        cdef long long limit, room
        if first & 15:
            self.opcode = first & 15
            self.size = 0
        self.size += length
        limit = self.messages.text_limit if self.opcode == 1 else self.messages.binary_limit
        room = self.room(limit)
        if room >= 0 and self.size > <uint64_t>room:
            raise MessageTooBig(self.size, limit, self.messages.options[self.opcode - 1])
        return 0

    cdef long long room(self, long long limit) noexcept:
        """Bytes of a message on its way: what compresses badly, or has a checksum, is longer than what it carries."""
        return limit if limit < 0 else limit + (limit >> 3) + ALLOWANCE

    cdef int whole(self, int first, bytes payload) except -1:
        """Decode a frame and hand on what comes out; 1 if the parser should stop."""
        cdef Delivery delivery = self.delivery
        cdef Messages messages = self.messages
        cdef long long limit = messages.text_limit if self.opcode == 1 else messages.binary_limit
        cdef Frame frame
        cdef list frames
        cdef bytes data
        cdef int more = 0
        delivery.work -= PER_FRAME + len(payload)
        if delivery.hold & (ENDED | DEAD):
            delivery.discarded += len(payload)
            return delivery.work <= 0
        if self.chain.has_users and delivery.steps.inside:
            # The task of the callback that had the message before is not the one that an extension runs in.
            delivery.steps.leave()
        try:
            frames = self.chain.decode(wire_frame(first, payload), self.room(limit), messages.max_fragments)
        except ProtocolError:
            raise
        except _NoRoom as error:
            raise MessageTooBig(error.args[0], limit, messages.options[self.opcode - 1]) from None
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                delivery.interrupted(error)
            else:
                # What it knows of the stream is lost: nothing behind this frame can be read.
                error.add_note(f"raised by the extension {self.chain.blamed}")
                _log.error("%r: the extension %s failed", delivery, self.chain.blamed,
                           exc_info=(type(error), error, error.__traceback__))
            delivery.hold |= DEAD
            delivery.violated(error)
            return 1
        if self.in_pieces and frames:
            # Whoever asks for pieces may have more than the limit in all: `Pieces` judges that. What counts here
            # is what has come and may wait in a codec.
            self.size = 0
            self.chain.emptied()
        for frame in frames:
            data = frame.payload
            more |= messages.frame(
                frame._first | frame.opcode, <const uint8_t*>PyBytes_AS_STRING(data), len(data), 0, False)
        return more or delivery.work <= 0


cdef class ChainOut(Outbox):
    """An outbox whose data frames pass the chain first."""

    def __init__(self, Turn turn, bint masked, Chain chain not None, object owner, Py_ssize_t most):
        Outbox.__init__(self, turn, masked)
        self.chain = chain
        self.owner = owner
        self.most = most

    cdef int detach(self) except -1:
        self.owner = None
        return Outbox.detach(self)

    cdef int put(self, int first, const uint8_t* payload, Py_ssize_t size) except -1:
        if first & 15 == 8:
            self.closed = True
        return Outbox.put(self, first, payload, size)

    cdef int put_whole(self, int first, const uint8_t* payload, Py_ssize_t size, object owner) except -1:
        """Append what the chain makes of a data frame, whole message or fragment."""
        cdef Frame frame
        cdef list frames
        cdef bytes data
        cdef object connection = self.owner
        if PyBytes_CheckExact(owner) and len(<bytes>owner) == size:
            data = owner
        else:
            data = PyBytes_FromStringAndSize(<const char*>payload, size)
        try:
            frames = self.chain.encode(wire_frame(first, data), self.most)
        except BaseException as error:
            # Nothing of it is in the outbox, but what the codecs share with the peer's may be ahead by this message.
            error.add_note(f"raised by the extension {self.chain.blamed}")
            if self.owner is not None:
                self.owner._fail(error)
            raise
        if connection is not None and (self.owner is None or self.closed):
            # A user's code has ended it meanwhile, and nothing follows a Close (RFC 6455 §5.5.1).
            raise connection.closed_error("send")
        for frame in frames:
            data = frame.payload
            Outbox.put_whole(
                self, frame._first | frame.opcode, <const uint8_t*>PyBytes_AS_STRING(data), len(data), data)
        return 0


cdef object _frames(object made, Link link, str method):
    """What a codec returned, if frames can come of it."""
    if isinstance(made, Frame) or not hasattr(made, "__iter__"):
        if hasattr(made, "close"):
            made.close()  # a coroutine; unawaited, it would complain of that as well
        raise TypeError(f"{link.name}: {method}() returned {made!r}; it must return frames, as in [frame]")
    return made


cdef int _unmask(uint8_t* place, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
    if size and masked:
        wire_xor_copy(place, data, size, mask)
    elif size:
        memcpy(place, data, size)
    return 0
