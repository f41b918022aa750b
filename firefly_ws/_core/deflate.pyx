# cython: language_level=3
"""Compressing and inflating the payload of one message, RFC 7692 §7.2; knows neither frames nor negotiation.

Without context takeover an idle connection costs nothing: all connections of a
thread that agreed on the same parameters share one compressor, which a full
flush leaves as good as new, and an inflater lives for one message. An inflater
is never shared: its window would let one peer read what another one sent.
"""

import threading
import zlib

from ..errors import InvalidPayload, MessageTooBig

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
        cdef object compressor
        cdef bytes head, tail
        if size < self.threshold:
            return None
        if self.compress_if is not None and not self.compress_if(payload):
            return None
        if self.compress_takeover:
            compressor = self._compressor
            if compressor is None:
                compressor = self._compressor = zlib.compressobj(
                    self.level, zlib.DEFLATED, -self.compress_bits, self.mem_level)
        else:
            compressor = _shared_compressor(self.level, self.compress_bits, self.mem_level)
        head = compressor.compress(payload)
        tail = compressor.flush(_SYNC if self.compress_takeover else _FULL)
        if head:
            tail = head + tail
        return tail[:-4]

    cdef bytes inflate(self, bytes data, Py_ssize_t limit):
        """Inflate a part of a message; at most *limit* bytes come out (below zero: no limit)."""
        cdef object out
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(-self.decompress_bits)
        try:
            out = self._inflate(data, limit)
        except zlib.error as error:
            raise InvalidPayload(f"a compressed message does not inflate: {error}") from None
        return out

    cdef bytes finish(self, Py_ssize_t limit):
        """The rest of the message, at its end."""
        cdef bytes out = self.inflate(_TAIL, limit)
        if not self.decompress_takeover:
            self._decompressor = None
        return out

    cdef _inflate(self, bytes data, Py_ssize_t limit):
        # One byte above the limit tells "exactly at it" from "more would come".
        cdef object room = 0 if limit < 0 else limit + 1
        cdef object inflater = self._decompressor
        cdef bytes out = inflater.decompress(data, room)
        cdef bytes more
        while inflater.eof and inflater.unused_data:
            # A block with BFINAL ended the stream and the message goes on (§7.2.3.4).
            data = inflater.unused_data
            inflater = self._decompressor = zlib.decompressobj(-self.decompress_bits, zdict=out[-32768:])
            if limit >= 0:
                if len(out) > limit:
                    break
                room = limit - len(out) + 1
            more = inflater.decompress(data, room)
            out += more
        if limit >= 0 and len(out) > limit:
            raise MessageTooBig(len(out), limit)
        return out


cdef object _shared_compressor(int level, int bits, int mem_level):
    cdef dict kept = getattr(_shared, "compressors", None)
    cdef object key = (level, bits, mem_level)
    if kept is None:
        kept = _shared.compressors = {}
    compressor = kept.get(key)
    if compressor is None:
        compressor = kept[key] = zlib.compressobj(level, zlib.DEFLATED, -bits, mem_level)
    return compressor
