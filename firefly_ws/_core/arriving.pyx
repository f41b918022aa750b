# cython: language_level=3, boundscheck=False, wraparound=False
"""A message that is handed over piece by piece; knows neither frames nor who reads it.

What has come waits as it came: the reader's own step inflates it, a bounded piece at
a time, so that a few compressed bytes never become many that nobody has asked for.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t
from libc.string cimport memset

from .wire cimport wire_check_utf8

from collections import deque

from ..errors import InvalidPayload, MessageTooBig

cdef enum:
    PIECE = 131072  # bytes that are inflated at once
    BOUND = 262144  # bytes of it that wait
    SMALL = 16384   # bytes, or letters, that small pieces of a message are joined to
    PARTS = 4096    # and in how many parts at most: each is an object
    BLOCK = 1024    # bytes given to zlib at once where its stream ends within a message: all behind an end is copied

cdef bytes _TAIL = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.2


cdef class Arriving:
    """One message on its way to a reader; made by `Pieces`."""

    def __cinit__(self):
        self.waiting = deque()
        self.cut = b""
        self.whole_limit = -1
        memset(&self.utf8, 0, sizeof(self.utf8))

    def __len__(self):
        return 0

    def __bool__(self):
        return True

    # ---- from the wire -------------------------------------------------------------------------------------------

    cdef int put(self, bytes data) except -1:
        """Bytes of its payload; text is checked here unless it has to be inflated first."""
        if not self.compressed and self.is_text:
            self.check_text(data)
        if self.skipped and not self.needs_inflating():
            return 0
        self.waiting.append(data)
        self.size += len(data)
        return 0

    cdef int put_ready(self, bytes data) except -1:
        """What has been inflated, and checked, before it was handed over in pieces."""
        if len(data):
            if self.ready is None:
                self.ready = []
            self.ready.append(data)
        return 0

    cdef bint holds(self) noexcept:
        """Nothing more should come: enough of it, or all, waits."""
        return self.size >= BOUND or len(self.waiting) >= PARTS or (self.complete and not self.done)

    cdef bint needs_inflating(self):
        """Whether a rest that nobody wants is part of the window for what follows (RFC 7692 §7.2.2)."""
        return self.compressed and self.deflate.decompress_takeover

    cdef bint set_apart(self) except -1:
        """All of it is here, and what comes behind it need not wait for its reader: whether that is so."""
        if not self.complete or self.done or self.needs_inflating():
            return False
        if self.compressed:
            self.deflate = self.deflate.apart()
        return True

    cdef object whole_now(self):
        """All of it, where it is here and is to be had as a whole without inflating; else None."""
        cdef long long size = self.total + self.size
        if not self.complete or self.compressed or self.refusal is not None or self.is_text and self.utf8.need:
            return None
        for data in self.ready or ():
            size += len(data)
        return None if 0 <= self.whole_limit < size else self.join()

    # ---- to the reader -------------------------------------------------------------------------------------------

    def next(self, long long limit=-1):
        """The next piece, or None where nothing is here, or nothing more comes (``done``).

        Raises `MessageTooBig` above *limit* bytes in all, `InvalidPayload`, or whatever
        keeps the rest from coming.
        """
        if self.joined:
            return self.joined.pop(0)
        return self.step(limit, "max_size")

    cdef object step(self, long long limit, object option):
        cdef bytes data
        cdef object piece
        while True:
            data = self.take()
            if data is None:
                return None
            self.total += len(data)
            if 0 <= limit < self.total:
                raise MessageTooBig(self.total, limit, option)
            piece = self.decoded(data) if self.is_text else data
            if piece:
                return piece

    cdef object join(self):
        """All of it, or None while not all of it is here; raises what `next` does, or `refusal`."""
        cdef object piece
        cdef object none = "" if self.is_text else b""
        cdef list small = []
        cdef Py_ssize_t size = 0
        if self.refusal is not None:
            raise self.refusal
        if self.joined is None:
            self.joined = []
        while True:
            piece = self.step(self.whole_limit, self.option)
            if piece is not None:
                # Of many small ones few: a peer may have cut the message into bytes.
                small.append(piece)
                size += len(piece)
            if small and (piece is None or size >= SMALL):
                self.joined.append(none.join(small))
                small = []
                size = 0
            if piece is None:
                break
        return none.join(self.joined) if self.done else None

    cdef bytes take(self):
        """The next bytes, inflated and checked; None where there are none now."""
        cdef bytes out
        if self.ready:
            return self.ready.pop(0)
        while not self.done:
            if not self.compressed:
                if self.size:
                    out = self.waiting.popleft()
                    self.size -= len(out)
                    return out
            elif self.size or self.left is not None or (self.complete and not self.tail_fed):
                if self.left is None:
                    if self.size:
                        self.left = self.waiting.popleft()
                        self.size -= len(self.left)
                    else:
                        self.tail_fed = True
                        self.left = _TAIL
                out = self.inflate()
                if not out:
                    continue
                if self.is_text:
                    self.check_text(out)
                return out
            if self.error is not None:
                raise self.error
            if not self.complete:
                return None
            self.done = True
            if self.compressed:
                self.deflate.ended()
            if self.is_text and self.utf8.need and not self.skipped:
                raise InvalidPayload("a text message ends within a character")
        return None

    cdef bytes inflate(self):
        """At most a piece of what *left* inflates to."""
        cdef bytes out, data, rest
        before = self.deflate._decompressor
        data = self.left[self.left_start:self.left_start + BLOCK] if self.in_blocks else self.left[self.left_start:]
        out, rest = self.deflate.inflate_some(data, PIECE)
        self.left_start += len(data) - (0 if rest is None else len(rest))
        if rest is None and self.left_start == len(self.left):
            self.left = None
            self.left_start = 0
        if before is not None and before is not self.deflate._decompressor:
            self.in_blocks = True
        return out

    cdef int check_text(self, bytes data) except -1:
        cdef Py_ssize_t bad = wire_check_utf8(&self.utf8, <const uint8_t*>PyBytes_AS_STRING(data), len(data))
        if bad >= 0:
            raise InvalidPayload(f"a text message is not UTF-8 at byte {bad} of a part of it")
        return 0

    cdef object decoded(self, bytes data):
        """Whole characters; one that is cut waits for its rest."""
        cdef Py_ssize_t size, back
        if self.cut:
            data = self.cut + data
        size = len(data)
        # The last character begins in the last three bytes, if it is cut at all.
        for back in range(1, min(3, size) + 1):
            if data[size - back] & 0xC0 == 0xC0:
                if back < (2 if data[size - back] < 0xE0 else 3 if data[size - back] < 0xF0 else 4):
                    size -= back
                break
            if data[size - back] < 0x80:
                break
        self.cut = data[size:]
        return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(data), size, NULL)

    cdef int skip(self, Py_ssize_t most) except -1:
        """Take and drop what is here, about *most* bytes of it; 1 if there is more."""
        cdef bytes data
        self.skipped = True
        self.ready = None
        if not self.needs_inflating():
            self.waiting.clear()
            self.size = 0
            self.left = None
            if self.complete:
                self.done = True
                if self.compressed:
                    self.deflate.ended()
            return 0
        while most > 0:
            data = self.take()
            if data is None:
                return 0
            most -= len(data)
        return 1
