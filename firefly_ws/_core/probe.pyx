# cython: language_level=3
"""Sinks that write down what they are fed, so that tests, fuzzers and measurements drive the very stages that run
in production, without a socket. Nothing of the library imports it."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .deflate cimport Deflate
from .limits cimport Limits
from .messages cimport MessageSink, Messages
from .parser cimport FrameSink, Parser
from .wheel cimport Watch, Wheel, monotonic, put_forward
from .wheel cimport wheel_of as _wheel_of
from .wire cimport wire_xor_copy

from ..errors import ProtocolError
from ..policy import WebSocketPolicy


cdef class FrameRecorder(FrameSink):
    """Frames as ``(first byte, unmasked payload)`` in ``frames``."""

    cdef readonly list frames
    cdef int first
    cdef bytes payload

    def __init__(self):
        self.frames = []

    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        self.frames.append((first, _unmask(payload, size, mask, masked)))
        return 0

    cdef int begin(self, int first, uint64_t length) except -1:
        self.first = first
        self.payload = b""
        return 0

    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        self.payload += _unmask(data, size, mask, masked)
        return 0

    cdef int end(self) except -1:
        self.frames.append((self.first, self.payload))
        return 0


cdef class MessageRecorder(MessageSink):
    """Events as ``(kind, …)`` in ``events``."""

    cdef readonly list events

    def __init__(self):
        self.events = []

    cdef int text(self, str text) except -1:
        self.events.append(("text", text))
        return 0

    cdef int binary(self, bytes data) except -1:
        self.events.append(("binary", data))
        return 0

    cdef int control(self, int opcode, bytes payload) except -1:
        self.events.append(("ping" if opcode == 9 else "pong", payload))
        return 0

    cdef int peer_close(self, object code, str reason) except -1:
        self.events.append(("close", code, reason))
        return 1


def frames(pieces, *, bint expect_masked, int reserved=0x70, max_frame_size=None):
    """Feed *pieces* (bytes) to a `Parser`: its frames; raises what it raises."""
    cdef FrameRecorder sink = FrameRecorder()
    cdef Parser parser = Parser(sink, expect_masked, reserved, -1 if max_frame_size is None else max_frame_size)
    cdef bytes piece
    for piece in pieces:
        parser.feed(<const uint8_t*>PyBytes_AS_STRING(piece), len(piece))
    return sink.frames


def events(pieces, *, bint expect_masked, Deflate deflate=None, text_limit=None, binary_limit=None,
           max_frame_size=None, max_fragments=None):
    """Feed *pieces* (bytes) to parser and messages as a connection has them.

    Returns the events up to a Close or the first violation, which is
    ``("error", close code)``.
    """
    cdef MessageRecorder sink = MessageRecorder()
    cdef Limits limits = Limits(WebSocketPolicy(
        max_message_size=None, max_text_message_size=text_limit, max_binary_message_size=binary_limit,
        max_frame_size=max_frame_size, max_fragments=max_fragments))
    cdef Messages messages = Messages(sink, limits, deflate)
    cdef Parser parser = Parser(messages, expect_masked, 0x70 if deflate is None else 0x30, limits.frame)
    cdef bytes piece
    try:
        for piece in pieces:
            parser.feed(<const uint8_t*>PyBytes_AS_STRING(piece), len(piece))
            if sink.events and sink.events[-1][0] == "close":
                break
    except ProtocolError as error:
        sink.events.append(("error", error.code))
    return sink.events


def compress(Deflate deflate not None, bytes payload not None):
    """What *deflate* sends for *payload*, or None where it goes uncompressed."""
    return deflate.compress(payload, len(payload))


cdef bytes _unmask(const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked):
    cdef bytearray out = bytearray(size)
    if masked:
        wire_xor_copy(<uint8_t*>out, data, size, mask)
        return bytes(out)
    return data[:size]


# ---- time ----------------------------------------------------------------------------------------------------------


cdef class Alarm(Watch):
    """Calls ``due(now)``, which returns when to call again, or 0."""

    cdef object due

    def __init__(self, due):
        self.due = due

    cdef double look(self, double now) except -1:
        return self.due(now)

    @property
    def stands(self):
        """Whether it is in a wheel (bool)."""
        return self.tick >= 0


def now():
    """The core's clock, in seconds."""
    return monotonic()


def pass_time(double seconds):
    """Put the core's clock forward, for all loops of this process."""
    put_forward(seconds)


def wheel_of(loop):
    """The `Wheel` of *loop*."""
    return _wheel_of(loop)


def place(Wheel wheel not None, Watch watch not None, double when, double shortest=8.0):
    """Have *watch* looked at at *when*."""
    wheel.place(watch, when, shortest)


def remove(Wheel wheel not None, Watch watch not None):
    """Forget *watch*."""
    wheel.remove(watch)


def late_since(Wheel wheel not None, double moment):
    """Seconds behind *moment* in which the loop was blocked."""
    return wheel.late_since(moment)


def armed(Wheel wheel not None):
    """When the wheel's timer should call, or None while there is none."""
    return None if wheel.timer is None else wheel.armed


def turn(Wheel wheel not None):
    """Call in place of the wheel's timer."""
    if wheel.timer is not None:
        wheel.timer.cancel()
    wheel._turn()
