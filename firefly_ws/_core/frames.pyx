# cython: language_level=3, boundscheck=False, wraparound=False
"""Frames as values: what one frame said; knows nothing of connections or the wire's bytes."""

cimport cython

from ..codes import CloseReason, Opcode, is_sendable

_FRAME_TYPES = {int(opcode): opcode for opcode in Opcode}


@cython.freelist(64)
cdef class Frame:
    """One frame (RFC 6455 §5.2), immutable and comparable.

    ``opcode`` (int), ``fin``, ``rsv1`` to ``rsv3`` (bool) and ``payload`` (bytes, unmasked).
    """

    def __init__(self, int opcode, object payload=b"", *, bint fin=True, bint rsv1=False, bint rsv2=False,
                 bint rsv3=False):
        if opcode not in _FRAME_TYPES:
            raise ValueError(f"opcode={opcode} is none of {sorted(_FRAME_TYPES)} (RFC 6455 §5.2)")
        self._fill(opcode, payload, fin, rsv1, rsv2, rsv3)

    cdef _fill(self, int opcode, object payload, bint fin, bint rsv1, bint rsv2, bint rsv3):
        if isinstance(payload, str):
            payload = payload.encode()
        elif not isinstance(payload, (bytes, bytearray, memoryview)):
            raise TypeError(f"payload must be bytes-like, not {type(payload).__name__}")
        self.opcode = opcode
        self._payload = bytes(payload)
        self._first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | (0x20 if rsv2 else 0) | (0x10 if rsv3 else 0)
        if opcode >= 8 and (not fin or len(self._payload) > 125):
            raise ValueError("a control frame is final and has at most 125 bytes (RFC 6455 §5.5), "
                             f"not fin={fin} and {len(self._payload)} bytes")

    @property
    def payload(self):
        """The payload (bytes)."""
        if self._payload is None:
            self._payload = (<str>self._text).encode()
        return self._payload

    @property
    def frame_type(self):
        """The opcode by name (`Opcode`)."""
        return _FRAME_TYPES[self.opcode]

    @property
    def fin(self):
        """Whether this frame ends its message."""
        return self._first & 0x80 != 0

    @property
    def rsv1(self):
        """The first reserved bit, an extension's."""
        return self._first & 0x40 != 0

    @property
    def rsv2(self):
        """The second reserved bit."""
        return self._first & 0x20 != 0

    @property
    def rsv3(self):
        """The third reserved bit."""
        return self._first & 0x10 != 0

    @property
    def is_control(self):
        """Close, Ping or Pong."""
        return self.opcode >= 8

    def replace(self, *, object payload=None, object fin=None, object rsv1=None, object rsv2=None, object rsv3=None):
        """A copy with some fields changed, as an extension makes them; the checks of the constructor hold."""
        cdef object kind = _KINDS[self.opcode]
        cdef Frame frame = <Frame>kind.__new__(kind)
        frame._fill(
            self.opcode,
            self.payload if payload is None else payload,
            self._first & 0x80 if fin is None else fin,
            self._first & 0x40 if rsv1 is None else rsv1,
            self._first & 0x20 if rsv2 is None else rsv2,
            self._first & 0x10 if rsv3 is None else rsv3,
        )
        return frame

    def __len__(self):
        return len(self.payload)

    def __eq__(self, other):
        if not isinstance(other, Frame):
            return NotImplemented
        cdef Frame that = <Frame>other
        return self.opcode == that.opcode and self._first == that._first and self.payload == that.payload

    def __hash__(self):
        return hash((self.opcode, self._first, self.payload))

    def __repr__(self):
        cdef object shown = self.payload
        cdef str more = ""
        if len(shown) > 64:
            more = f"... {len(shown)} bytes"
            shown = shown[:64]
        flags = "" if self._first == 0x80 else f", fin={self.fin}, rsv={self._first >> 4 & 7:03b}"
        return f"{type(self).__name__}({shown!r}{more}{flags})"

    def __reduce__(self):
        return _rebuild, (self.opcode, self._first, self.payload)


cdef class TextFrame(Frame):
    """A text message (RFC 6455 §5.6): ``TextFrame("hello")``."""

    __match_args__ = ("text",)

    def __init__(self, object payload="", *, bint fin=True, bint rsv1=False, bint rsv2=False, bint rsv3=False):
        self._fill(1, payload, fin, rsv1, rsv2, rsv3)
        if isinstance(payload, str):
            self._text = payload

    @property
    def text(self):
        """The payload as str; `UnicodeDecodeError` if a fragment or a made frame is no UTF-8."""
        if self._text is None:
            self._text = (<bytes>self._payload).decode()
        return self._text

    @property
    def payload_as_utf8(self):
        """The same as ``text``, by Firefly's name."""
        return self.text


cdef class BinaryFrame(Frame):
    """A binary message (RFC 6455 §5.6)."""

    __match_args__ = ("data",)

    def __init__(self, object payload=b"", *, bint fin=True, bint rsv1=False, bint rsv2=False, bint rsv3=False):
        self._fill(2, payload, fin, rsv1, rsv2, rsv3)

    @property
    def data(self):
        """The payload (bytes)."""
        return self.payload


cdef class ContinuationFrame(Frame):
    """A further fragment of a message (RFC 6455 §5.4)."""

    __match_args__ = ("payload",)

    def __init__(self, object payload=b"", *, bint fin=True, bint rsv1=False, bint rsv2=False, bint rsv3=False):
        self._fill(0, payload, fin, rsv1, rsv2, rsv3)


cdef class PingFrame(Frame):
    """A Ping (RFC 6455 §5.5.2), at most 125 bytes."""

    __match_args__ = ("payload",)

    def __init__(self, object payload=b""):
        self._fill(9, payload, True, False, False, False)


cdef class PongFrame(Frame):
    """A Pong (RFC 6455 §5.5.3), at most 125 bytes."""

    __match_args__ = ("payload",)

    def __init__(self, object payload=b""):
        self._fill(10, payload, True, False, False, False)


cdef class CloseFrame(Frame):
    """A Close (RFC 6455 §5.5.1): ``CloseFrame(1000, "bye")``, or ``CloseFrame()`` without a code."""

    __match_args__ = ("reason",)

    def __init__(self, object code=None, str reason=""):
        if isinstance(code, CloseReason):
            code, reason = code.code, code.message
        self._fill(8, b"" if code is None else close_payload(code, reason), True, False, False, False)

    @property
    def reason(self):
        """`CloseReason`, or ``None`` where the frame has no code."""
        cdef bytes payload = self.payload
        if len(payload) < 2:
            return None
        return CloseReason(int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace"))


def close_payload(object code, object reason=""):
    """The bytes of a Close frame (RFC 6455 §5.5.1).

    Raises `TypeError` or `ValueError` for a code that may not be sent (§7.4) or a
    reason of more than 123 bytes of UTF-8.
    """
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"code={code!r} must be an int")
    if not isinstance(reason, str):
        raise TypeError(f"reason={reason!r} must be a str")
    if not is_sendable(code):
        raise ValueError(f"code={int(code)} may not be sent; allowed: 1000-1003, 1007-1014, 3000-4999 "
                         "(RFC 6455 §7.4)")
    text = reason.encode()
    if len(text) > 123:
        raise ValueError(f"reason has {len(text)} bytes of UTF-8, at most 123 fit into a Close frame (RFC 6455 §5.5)")
    return int(code).to_bytes(2, "big") + text


_KINDS = {0: ContinuationFrame, 1: TextFrame, 2: BinaryFrame, 8: CloseFrame, 9: PingFrame, 10: PongFrame}


def _rebuild(int opcode, int first, bytes payload):
    cdef Frame frame = wire_frame(first | opcode, payload)
    return frame


cdef Frame text_frame(str text):
    cdef Frame frame = TextFrame.__new__(TextFrame)
    frame.opcode = 1
    frame._first = 0x80
    frame._text = text
    return frame


cdef Frame binary_frame(bytes data):
    cdef Frame frame = BinaryFrame.__new__(BinaryFrame)
    frame.opcode = 2
    frame._first = 0x80
    frame._payload = data
    return frame


cdef Frame wire_frame(int first, bytes payload):
    """A frame as it came, with all its bits."""
    cdef object kind = _KINDS.get(first & 15, Frame)
    cdef Frame frame = <Frame>kind.__new__(kind)
    frame.opcode = first & 15
    frame._first = first & 0xF0
    frame._payload = payload
    return frame
