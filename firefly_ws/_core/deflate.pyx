# cython: language_level=3
"""Compressing and inflating, RFC 7692 §7.2: payloads of messages, and in a chain frame by frame; no negotiation.

Without context takeover an idle connection costs nothing: all connections of a
thread that agreed on the same parameters share one compressor, which a full
flush leaves as good as new, and an inflater lives for one message. An inflater
is never shared: its window would let one peer read what another one sent.
"""

import threading
import zlib

from .frames cimport Frame, wire_frame

from ..errors import InflatesTooMuch, InvalidPayload, ProtocolError

cdef enum:
    SMALL = 1024
    STRIDE = 65536  # bytes inflated between two looks at the ratio: whoever sends less of anything harms nobody

cdef bytes _TAIL = b"\x00\x00\xff\xff"  # what a sender cuts off and a receiver puts back, §7.2.1
cdef int _FULL = zlib.Z_FULL_FLUSH
cdef int _SYNC = zlib.Z_SYNC_FLUSH
_shared = threading.local()


cdef class Deflate:
    """The codec of one connection, as agreed.

    ``*_bits`` are log2 of the window (9 to 15), ``level`` and ``mem_level`` zlib's,
    ``threshold`` bytes below which messages go uncompressed, ``compress_if`` an
    optional ``callable(payload) -> bool`` asked for each message above it.
    """

    def __init__(self, int compress_bits=15, int decompress_bits=15, bint compress_takeover=False,
                 bint decompress_takeover=False, int level=1, int mem_level=8, Py_ssize_t threshold=64,
                 object compress_if=None):
        self.compress_bits = compress_bits
        self.decompress_bits = decompress_bits
        self.compress_takeover = compress_takeover
        self.decompress_takeover = decompress_takeover
        self.level = level
        self.mem_level = mem_level
        self.threshold = threshold
        self.compress_if = compress_if

    cdef bytes compress(self, object payload, Py_ssize_t size):
        """The compressed payload (bytes-like in, its tail cut), or None where it goes as it is."""
        if size < self.threshold:
            return None
        if self.compress_if is not None and not self.compress_if(payload):
            return None
        return self.pack(payload)[:-4]

    cdef bytes pack(self, object payload):
        """The compressed payload, flushed: it ends with the tail."""
        cdef object compressor
        cdef bytes head, tail
        if self.compress_takeover:
            compressor = self.own_compressor()
        else:
            compressor = _shared_compressor(self.level, self.compress_bits, self.mem_level)
        head = compressor.compress(payload)
        tail = compressor.flush(_SYNC if self.compress_takeover else _FULL)
        if head:
            tail = head + tail
        return tail

    cdef object own_compressor(self):
        """One that no other connection uses: with takeover the connection's, else a new one."""
        compressor = self._compressor
        if compressor is None:
            compressor = zlib.compressobj(self.level, zlib.DEFLATED, -self.compress_bits, self.mem_level)
            if self.compress_takeover:
                self._compressor = compressor
        return compressor

    cdef bytes inflate(self, bytes data, Py_ssize_t limit):
        """Inflate a part of a message; no more than *limit* + 1 bytes come out (below zero: no limit)."""
        cdef object inflater = self._decompressor
        cdef bytes out
        if inflater is None:
            inflater = self._decompressor = zlib.decompressobj(-self.decompress_bits)
        try:
            out = self.decompress(inflater, data, limit + 1 if limit >= 0 else 0)
            if inflater.eof and inflater.unused_data:
                out = self._inflate_on(data, out, limit)
        except zlib.error as error:
            raise InvalidPayload(f"a compressed message does not inflate: {error}") from None
        return out

    cdef bytes decompress(self, object inflater, bytes data, Py_ssize_t most):
        """What zlib makes of *data*, *most* bytes of it (0: all)."""
        return inflater.decompress(data, most)

    cdef bytes finish(self, Py_ssize_t limit):
        """The rest of the message, at its end."""
        cdef bytes out = self.inflate(_TAIL, limit)
        self.ended()
        return out

    cdef int ended(self) except -1:
        """The message has been inflated."""
        if not self.decompress_takeover:
            self._decompressor = None
        return 0

    cdef Deflate apart(self):
        """What inflates the rest of a message that is all here, while the next one begins anew: without takeover."""
        cdef Deflate made = Deflate.__new__(Deflate)
        made.decompress_bits = self.decompress_bits
        made._decompressor = self._decompressor
        self._decompressor = None
        return made

    cdef tuple inflate_some(self, bytes data, Py_ssize_t most):
        """At most *most* bytes of what *data* inflates to, and what is left to inflate: None if nothing is."""
        cdef object inflater = self._decompressor
        cdef bytes out, left
        if inflater is None:
            inflater = self._decompressor = zlib.decompressobj(-self.decompress_bits)
        try:
            out = self.decompress(inflater, data, most)
            if inflater.eof:
                # As in `_inflate_on`.
                left = inflater.unused_data
                self._decompressor = zlib.decompressobj(-self.decompress_bits)
                return out, left or None
        except zlib.error as error:
            raise InvalidPayload(f"a compressed message does not inflate: {error}") from None
        # With all of the input taken, zlib may still hold output that did not fit.
        return out, inflater.unconsumed_tail if inflater.unconsumed_tail or len(out) == most else None

    cdef bytes _inflate_on(self, bytes data, bytes begun, Py_ssize_t limit):
        """A block with BFINAL ended zlib's stream and the message goes on (RFC 7692 §7.2.3.4), perhaps many times.

        What ended takes its window along: a compressor that ends its stream begins anew, and browsers and npm's ws
        inflate so, too. Of the window only what this read has given would be at hand.
        """
        cdef object inflater = self._decompressor
        cdef bytearray out = bytearray(begun)
        cdef bytes piece
        cdef Py_ssize_t at = len(data) - len(inflater.unused_data)
        while at < len(data) and (limit < 0 or len(out) <= limit):
            if inflater.eof:
                inflater = self._decompressor = zlib.decompressobj(-self.decompress_bits)
            # What is behind an end is copied for each of them: of a read of 256 KiB, all of it took 0.7 s.
            piece = data[at:at + SMALL]
            out += self.decompress(inflater, piece, limit - len(out) + 1 if limit >= 0 else 0)
            at += len(piece) - len(inflater.unused_data)
        return bytes(out)

    cdef tuple parameters(self):
        return (self.compress_bits, self.decompress_bits, self.compress_takeover, self.decompress_takeover, self.level,
                self.mem_level, self.threshold, self.compress_if)

    def bounded(self, double ratio):
        """The same, new, for messages that become at most *ratio* times as long by inflating."""
        cdef BoundedDeflate made = BoundedDeflate(*self.parameters())
        made.gauge = Gauge.__new__(Gauge)
        made.gauge.ratio = ratio
        return made

    # ---- frame by frame: an `ExtensionCodec` -----------------------------------------------------------------------

    def encode(self, Frame frame not None):
        """RFC 7692 §6.1: RSV1 on a message's first frame, the tail cut off its last.

        A message in fragments is compressed or not by the size of its first. Every fragment is
        flushed, so that a shared compressor may serve other connections before the next one.
        """
        cdef bytes payload = frame.payload
        cdef bytes packed
        if frame.opcode:
            self.packing = len(payload) >= self.threshold and (
                self.compress_if is None or bool(self.compress_if(payload)))
        if not self.packing:
            return (frame,)
        packed = self.pack(payload)
        if frame._first & 0x80:
            packed = packed[:-4]
        return (wire_frame(frame._first | frame.opcode | (0x40 if frame.opcode else 0), packed),)

    def decode(self, Frame frame not None, object limit):
        """RFC 7692 §6.2. More than *limit* bytes are not inflated to their end: who asked refuses them."""
        if frame.opcode:
            self.unpacking = frame._first & 0x40 != 0
        elif frame._first & 0x40:
            raise ProtocolError("RSV1 is set on a continuation frame (RFC 7692 §6.1)")
        if not self.unpacking:
            return (frame,)
        return (wire_frame(frame._first & ~0x40 | frame.opcode, self.unpack(frame, limit, frame._first & 0x80)),)

    cdef bytes unpack(self, Frame frame, object limit, bint final):
        cdef Py_ssize_t most = -1 if limit is None else limit
        cdef bytes out = self.inflate(frame.payload, most)
        if final and not 0 <= most < len(out):
            out += self.finish(-1 if most < 0 else most - len(out))
        return out


cdef class FrameDeflate(Deflate):
    """deflate-frame's codec: as permessage-deflate's, but each frame for itself, its tail cut and RSV1 set.

    draft-tyoshino-hybi-websocket-perframe-deflate-06 §5. With takeover the window lives
    on from frame to frame.
    """

    def bounded(self, double ratio):
        """As `Deflate.bounded`."""
        cdef BoundedFrameDeflate made = BoundedFrameDeflate(*self.parameters())
        made.gauge = Gauge.__new__(Gauge)
        made.gauge.ratio = ratio
        return made

    def encode(self, Frame frame not None):
        """Compress one frame, fragment or not."""
        cdef bytes payload = frame.payload
        cdef bytes packed = self.compress(payload, len(payload))
        if packed is None:
            return (frame,)
        return (wire_frame(frame._first | frame.opcode | 0x40, packed),)

    def decode(self, Frame frame not None, object limit):
        """Inflate one frame, if it has RSV1; *limit* as in `Deflate.decode`."""
        if not frame._first & 0x40:
            return (frame,)
        return (wire_frame(frame._first & ~0x40 | frame.opcode, self.unpack(frame, limit, True)),)


cdef class Gauge:
    """Holds what a message has become by inflating against what it came as.

    It is looked at at the same places of what comes out, however the bytes were read: who is
    refused must not depend on that.
    """

    cdef int begin(self) except -1:
        self.taken = self.made = 0
        return 0

    cdef bytes decompress(self, object inflater, bytes data, Py_ssize_t most):
        """`Deflate.decompress`; raises `InflatesTooMuch`."""
        cdef bytes out, left = data
        cdef list pieces = []
        cdef Py_ssize_t step
        while True:
            step = STRIDE - self.made % STRIDE
            if 0 < most < step:
                step = most
            out = inflater.decompress(left, step)
            # Behind an end of zlib's stream what is left of the input is elsewhere.
            self.taken += len(left) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
            left = inflater.unconsumed_tail
            pieces.append(out)
            if len(out) == 0:
                break
            self.made += len(out)
            if self.made % STRIDE == 0 and self.made > self.ratio * self.taken:
                raise InflatesTooMuch(self.made, self.taken, self.ratio)
            if len(out) < step or inflater.eof:
                break
            if most > 0:
                most -= len(out)
                if most == 0:
                    break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


cdef class BoundedDeflate(Deflate):
    """`Deflate` with a limit on the ratio: of a class of its own, so that those without it do not ask."""

    cdef bytes decompress(self, object inflater, bytes data, Py_ssize_t most):
        return self.gauge.decompress(inflater, data, most)

    cdef Deflate apart(self):
        cdef BoundedDeflate made = BoundedDeflate.__new__(BoundedDeflate)
        made.decompress_bits = self.decompress_bits
        made._decompressor = self._decompressor
        made.gauge = self.gauge
        self.gauge = Gauge.__new__(Gauge)
        self.gauge.ratio = made.gauge.ratio
        self._decompressor = None
        return made

    cdef int ended(self) except -1:
        self.gauge.begin()
        return Deflate.ended(self)


cdef class BoundedFrameDeflate(FrameDeflate):
    """`FrameDeflate` with that limit; it is one of the message, whose frames are inflated each for itself."""

    cdef bytes decompress(self, object inflater, bytes data, Py_ssize_t most):
        return self.gauge.decompress(inflater, data, most)

    def decode(self, Frame frame not None, object limit):
        """As `FrameDeflate.decode`."""
        if frame.opcode:
            self.gauge.begin()
        return FrameDeflate.decode(self, frame, limit)


cdef object _shared_compressor(int level, int bits, int mem_level):
    cdef dict kept = getattr(_shared, "compressors", None)
    cdef object key = (level, bits, mem_level)
    if kept is None:
        kept = _shared.compressors = {}
    compressor = kept.get(key)
    if compressor is None:
        compressor = kept[key] = zlib.compressobj(level, zlib.DEFLATED, -bits, mem_level)
    return compressor
