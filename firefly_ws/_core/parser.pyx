# cython: language_level=3, boundscheck=False, wraparound=False
"""Bytes to frames, RFC 6455 §5.2: heads, lengths, reserved bits, mask direction, the order of fragments.

Feeds a `FrameSink` and refuses to know what a message is, or who asked. A frame
that is all there is handed over in one call, any other as begin, chunks and end.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .wire cimport WIRE_MORE, WIRE_TOO_LONG, wire_head, wire_read_head, wire_rotate

from ..errors import FrameTooBig, ProtocolError

cdef enum:
    LARGE = 65536  # what is left of a frame for which a system call of its own pays


cdef class FrameSink:
    """What a parser feeds. Payload pointers are valid during the call only; still masked where *masked*."""

    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        return 0

    cdef int begin(self, int first, uint64_t length) except -1:
        return 0

    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        return 0

    cdef int end(self) except -1:
        return 0

    cdef uint8_t* place(self, uint64_t left, Py_ssize_t* size) except? NULL:
        return NULL

    cdef int placed(self, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        return 0


cdef class Parser:
    """The parser of one direction of one connection."""

    def __init__(self, FrameSink sink, bint expect_masked, int reserved=0x70, int64_limit max_frame_size=-1):
        self.sink = sink
        self.expect_masked = expect_masked
        self.reserved = reserved
        self.max_frame_size = max_frame_size

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Parse, and return how many bytes were used: all of them, unless the sink said stop."""
        cdef const uint8_t* p = data
        cdef const uint8_t* stop = data + size
        cdef wire_head head
        cdef int used, more
        cdef Py_ssize_t here

        if self.saved:
            used = self.finish_head(p, size)
            p += used
            if not self.inside:
                return size
            if self.left == 0 and self.end_frame():
                return p - data

        while True:
            if self.inside:
                here = stop - p
                if here == 0:
                    return size
                if <uint64_t>here > self.left:
                    here = <Py_ssize_t>self.left
                more = self.sink.chunk(p, here, self.head.mask, self.expect_masked)
                self.head.mask = wire_rotate(self.head.mask, here)
                self.left -= here
                p += here
                if self.left == 0:
                    more |= self.end_frame()
                if more:
                    return p - data
                continue

            used = wire_read_head(p, stop - p, &head)
            if used <= 0:
                self.no_head(p, stop - p, used)
                return size
            self.check(head.first, head.masked, head.length)
            here = stop - p - used
            if <uint64_t>here >= head.length:
                here = <Py_ssize_t>head.length
                # The next frame is where this one ends, also for a sink that stops here or raises.
                if head.first & 0x08 == 0:
                    self.fragmented = head.first & 0x80 == 0
                more = self.sink.frame(head.first, p + used, here, head.mask, self.expect_masked)
                p += used + here
                if more:
                    return p - data
                if p == stop:
                    return size
            else:
                p += used
                self.begin_frame(&head)

    cdef uint8_t* place(self, Py_ssize_t* size) except? NULL:
        """Where the next payload bytes of a large frame may be read to, or NULL; *size* is how many fit."""
        if not self.inside or self.left < LARGE or self.head.first & 0x08:
            return NULL
        return self.sink.place(self.left, size)

    cdef int placed(self, Py_ssize_t size) except -1:
        """*size* bytes have been read there; 1 if the sink says stop."""
        cdef int more = self.sink.placed(size, self.head.mask, self.expect_masked)
        self.head.mask = wire_rotate(self.head.mask, size)
        self.left -= size
        if self.left == 0:
            more |= self.end_frame()
        return more

    cdef int finish_head(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Complete a head that began in an earlier read; returns the bytes used of this one."""
        cdef int before = self.saved
        cdef int room = 14 - before
        cdef int used
        cdef wire_head head
        if size < room:
            room = <int>size
        memcpy(self.head_bytes + before, data, room)
        used = wire_read_head(self.head_bytes, before + room, &head)
        self.saved = 0
        if used <= 0:
            # Fourteen bytes always decide, so all of *size* is in head_bytes here.
            self.no_head(self.head_bytes, before + room, used)
            return room
        self.check(head.first, head.masked, head.length)
        self.begin_frame(&head)
        return used - before

    cdef int no_head(self, const uint8_t* p, Py_ssize_t size, int why) except -1:
        """Keep an unfinished head, and judge what is already known of it."""
        if why != WIRE_MORE:
            raise ProtocolError(
                "the most significant bit of a 64-bit length is set" if why == WIRE_TOO_LONG
                else "a payload length is not in its shortest form")
        if size >= 2:
            # Sizes wait for the whole head, in which 126 and 127 only announce one; a control frame has none such.
            self.check(p[0], p[1] >> 7, p[1] & 0x7F if p[0] & 0x08 else 0)
        if p is not self.head_bytes and size:
            memcpy(self.head_bytes, p, size)
        self.saved = <uint8_t>size
        return 0

    cdef int begin_frame(self, wire_head* head) except -1:
        self.head = head[0]
        self.left = head.length
        self.inside = True
        if head.first & 0x08 == 0:
            self.fragmented = head.first & 0x80 == 0
        self.sink.begin(head.first, head.length)
        return 0

    cdef int end_frame(self) except -1:
        self.inside = False
        return self.sink.end()

    cdef int check(self, int first, bint masked, uint64_t length) except -1:
        """Judge a head (RFC 6455 §5.2, §5.4, §5.5); zero is the length of one that is not known yet."""
        cdef int opcode = first & 15
        if first & self.reserved:
            raise ProtocolError(f"reserved bits {first >> 4 & 7:03b} are set, and no extension has agreed on them")
        if opcode & 0x08:
            if opcode > 10:
                raise ProtocolError(f"opcode {opcode} is reserved")
            if not first & 0x80:
                raise ProtocolError("a control frame is fragmented")
            if length > 125:
                raise ProtocolError(f"a control frame has {length} bytes, more than 125")
            if first & 0x70:
                raise ProtocolError("reserved bits are set on a control frame")
        elif opcode > 2:
            raise ProtocolError(f"opcode {opcode} is reserved")
        elif opcode == 0:
            if not self.fragmented:
                raise ProtocolError("a continuation frame, and no message has begun")
        elif self.fragmented:
            raise ProtocolError("a new message, and the one before has not ended")
        if masked != self.expect_masked:
            raise ProtocolError(
                "a client's frame is not masked" if self.expect_masked else "a server's frame is masked")
        if self.max_frame_size >= 0 and length > <uint64_t>self.max_frame_size and opcode < 8:
            raise FrameTooBig(length, self.max_frame_size)
        return 0
