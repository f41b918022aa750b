# cython: language_level=3
"""Compressing and inflating the payload of one message, RFC 7692 §7.2; knows neither frames nor negotiation.

Without context takeover an idle connection costs nothing: all connections of a
thread that agreed on the same parameters share one compressor, which a full
flush leaves as good as new, and an inflater lives for one message. An inflater
is never shared: its window would let one peer read what another one sent.
"""

import threading
import zlib

from ..errors import InvalidPayload

cdef enum:
    SMALL = 1024

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
            compressor = self.own_compressor()
        else:
            compressor = _shared_compressor(self.level, self.compress_bits, self.mem_level)
        head = compressor.compress(payload)
        tail = compressor.flush(_SYNC if self.compress_takeover else _FULL)
        if head:
            tail = head + tail
        return tail[:-4]

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
            out = inflater.decompress(data, limit + 1 if limit >= 0 else 0)
            if inflater.eof and inflater.unused_data:
                out = self._inflate_on(data, out, limit)
        except zlib.error as error:
            raise InvalidPayload(f"a compressed message does not inflate: {error}") from None
        return out

    cdef bytes finish(self, Py_ssize_t limit):
        """The rest of the message, at its end."""
        cdef bytes out = self.inflate(_TAIL, limit)
        if not self.decompress_takeover:
            self._decompressor = None
        return out

    cdef bytes _inflate_on(self, bytes data, bytes begun, Py_ssize_t limit):
        """A block with BFINAL ended zlib's stream and the message goes on (RFC 7692 §7.2.3.4), perhaps many times."""
        cdef object inflater = self._decompressor
        cdef bytearray out = bytearray(begun)
        cdef bytes piece
        cdef Py_ssize_t at = len(data) - len(inflater.unused_data)
        while at < len(data) and (limit < 0 or len(out) <= limit):
            if inflater.eof:
                inflater = self._decompressor = zlib.decompressobj(-self.decompress_bits, zdict=bytes(out[-32768:]))
            # What is behind an end is copied for each of them: of a read of 256 KiB, all of it took 0.7 s.
            piece = data[at:at + SMALL]
            out += inflater.decompress(piece, limit - len(out) + 1 if limit >= 0 else 0)
            at += len(piece) - len(inflater.unused_data)
        return bytes(out)


cdef object _shared_compressor(int level, int bits, int mem_level):
    cdef dict kept = getattr(_shared, "compressors", None)
    cdef object key = (level, bits, mem_level)
    if kept is None:
        kept = _shared.compressors = {}
    compressor = kept.get(key)
    if compressor is None:
        compressor = kept[key] = zlib.compressobj(level, zlib.DEFLATED, -bits, mem_level)
    return compressor
