# cython: language_level=3
"""Sending: what a user's send does before the outbox, RFC 6455 §5.5.2 to §6.1. Knows not how a connection ends.

A send raises from the call itself. What it returns is `DONE` below high water, so
that sending costs no object; above it, one thing to await for all who are sending.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from .delivery cimport CROWDED, DEAD, DRAINING, ENDED, PAUSED, Delivery
from .frames cimport Frame
from .outbox cimport Outbox
from .steps cimport Wait
from .wheel cimport monotonic

import asyncio
import os

from ..codes import CloseCode, CloseReason
from .done import DONE
from ..errors import ConnectionClosedError, ConnectionClosedOK, QueueOverflow

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    unsigned long PyThread_get_thread_ident()

cdef object _DONE = DONE


cdef object no_message(object data):
    """The error for what no message is made of."""
    return TypeError(
        f"send takes str, contiguous bytes-like or Frame, not {type(data).__name__}; "
        "send_serialized(value) sends other values, send_stream(pieces) one message from an iterable"
    )


cdef class Sender(Delivery):
    """The sending half of a connection, on top of the receiving one."""

    def send(self, data):
        """Send a message: str as text, bytes-like as binary, a `Frame` as it is.

        Returns `DONE`, or above ``write_high_water`` something to await until the
        peer has drained it below ``write_low_water``; nobody has to. Raises
        `ConnectionClosed`, `QueueOverflow`, `TypeError`, and `RuntimeError` from
        another thread.
        """
        if type(data) is str:
            return self.send_str(data)
        if isinstance(data, Frame):
            return self.send_frame(data)
        if isinstance(data, str):
            return self.send_str(str(data))
        return self.send_buffer(data, 2)

    def send_text(self, text):
        """Send a text message (RFC 6455 §5.6); see `send`."""
        if not isinstance(text, str):
            raise TypeError(f"send_text() takes a str, not {type(text).__name__}; bytes go through send_data()")
        return self.send_str(text)

    def send_data(self, data):
        """Send a binary message (RFC 6455 §5.6) from a bytes-like object; see `send`."""
        if isinstance(data, str):
            raise TypeError("send_data() takes bytes, not str; text goes through send_text()")
        return self.send_buffer(data, 2)

    send_binary = send_data

    def send_latest(self, data, key):
        """Send a message in the place of the one with the same *key* (hashable) that has not left yet, if there is one.

        For ``slow_consumer="latest"``: a peer that reads too slowly gets the newest of each key, in the place in line
        of the first. Otherwise as `send`; raises ``ValueError`` with another policy.
        """
        if self.backlog is None or not self.backlog.replacing:
            raise ValueError(f"send_latest(key={key!r}): this connection's policy is not slow_consumer='latest'; "
                             "set it with .slow_consumer('latest'), or use send()")
        if key is None:
            raise TypeError("send_latest(key=None): a key is a value that says what the message is about")
        hash(key)  # raises now, and not only once the peer is slow
        if isinstance(data, Frame):
            if (<Frame>data)._first != 0x80 or not 0 < data.opcode <= 2:
                raise ValueError(f"send_latest takes messages, not {data!r}")
            data = data.payload if data.opcode == 2 else data.text
        if isinstance(data, str):
            return self.not_now(1, str(data), key)
        return self.not_now(2, data, key)

    def send_frame(self, frame):
        """Send a `Frame`: text and binary as messages, control frames as `ping`, `pong` and `close` do; see `send`.

        A raw session sends exactly this frame: fragments and control frames as they are, nothing awaited for them.
        """
        cdef Frame one
        cdef str text
        if not isinstance(frame, Frame):
            raise TypeError(f"send_frame() takes a Frame, not {type(frame).__name__}; str and bytes go through send()")
        one = <Frame>frame
        if one._first != 0x80 or one.opcode == 0 or one.opcode > 2:
            return self.send_special(one)
        if one.opcode == 1:
            if one._text is not None:
                return self.send_str(one._text)
            try:
                text = (<bytes>one._payload).decode()
            except UnicodeDecodeError:
                if self.raw:
                    return self.send_raw(one)  # to be sent on as it came, or to try a peer out
                raise
            return self.send_str(text)
        return self.send_buffer(one._payload, 2)

    cdef object send_special(self, Frame frame):
        """A control frame, or a fragment."""
        if self.raw:
            return self.send_raw(frame)
        if frame.opcode == 9:
            return self.ping(frame.payload)
        if frame.opcode == 10:
            return self.pong(frame.payload)
        if frame.opcode == 8:
            reason = frame.reason
            return self.close(1000) if reason is None else self.close(reason)
        raise ValueError(f"{frame!r} is a fragment or has reserved bits set; only whole messages can be sent here, "
                         "fragments are made by the library, or sent by a session that is .raw()")

    cdef object send_raw(self, Frame frame):
        """The frame as it is."""
        cdef bytes payload = frame.payload
        if self._state != OPEN or PyThread_get_thread_ident() != self.thread:
            self.refuse("send_frame")
        if frame._first & 0x70:
            raise ValueError(f"{frame!r} has reserved bits set, and a raw session agrees on no extension "
                             "(RFC 6455 §5.2)")
        if frame.opcode == 8:
            return self.send_raw_close(frame)
        if frame.opcode < 8 and self.stream is not None:
            raise RuntimeError(f"send_frame: {frame!r} would stand between the fragments of a message that "
                               "send_stream() is sending (RFC 6455 §5.4); await that first")
        if self.backlog is not None:
            self.backlog.commit()
        self.check_room(len(payload))
        self.outbox.put(frame._first | frame.opcode, <const uint8_t*>PyBytes_AS_STRING(payload), len(payload))
        if 0 < frame.opcode < 8:
            self.raw_opcode = frame.opcode
        if frame.opcode < 8 and frame._first & 0x80:
            self.sent_of[self.raw_opcode == 2] += 1
        return self.sent()

    cdef object send_raw_close(self, Frame frame):
        return None

    cdef object send_str(self, str text):
        cdef const char* data
        cdef Py_ssize_t size
        if self._state != OPEN or PyThread_get_thread_ident() != self.at_once:
            return self.not_now(1, text)
        if PyUnicode_IS_COMPACT_ASCII(text):
            data = <const char*>PyUnicode_DATA(text)
            size = PyUnicode_GET_LENGTH(text)
        else:
            data = PyUnicode_AsUTF8AndSize(text, &size)
        return self.put(1, <const uint8_t*>data, size, text)

    cdef object send_buffer(self, object data, int opcode):
        cdef Py_buffer view
        if self._state != OPEN or PyThread_get_thread_ident() != self.at_once:
            return self.not_now(opcode, data)
        if PyBytes_CheckExact(data):
            return self.put(opcode, <const uint8_t*>PyBytes_AS_STRING(data), len(<bytes>data), data)
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        except (TypeError, BufferError) as error:
            raise no_message(data) from error
        try:
            return self.put(opcode, <const uint8_t*>view.buf, view.len, None)
        finally:
            PyBuffer_Release(&view)

    cdef object put(self, int opcode, const uint8_t* payload, Py_ssize_t size, object owner):
        cdef bytes compressed
        cdef Py_ssize_t packed
        cdef int state
        cdef Outbox outbox = self.outbox
        if self.deflate is not None and size >= self.deflate.threshold:
            state = self._state
            if self.deflate.compress_takeover:
                # What has been compressed is in the window that the peer has to share: it can no longer be refused.
                self.check_room(size)
            compressed = self.deflate.compress(_bytes_like(owner, payload, size), size)
            if self._state != state:
                # compress_if has closed the connection, and nothing follows a Close (RFC 6455 §5.5.1).
                self.refuse("send")
            if compressed is not None:
                packed = len(compressed)
                if not self.deflate.compress_takeover:
                    self.check_room(packed)
                self.sent_of[opcode - 1] += 1
                outbox.put(0xC0 | opcode, <const uint8_t*>PyBytes_AS_STRING(compressed), packed)
                return self.sent()
        self.check_room(size)
        outbox.put_whole(0x80 | opcode, payload, size, owner)
        self.sent_of[opcode - 1] += 1
        return self.sent()

    cdef object sent(self):
        """Behind a put: write where it may leave now, and tell how the outbox stands."""
        cdef Outbox outbox = self.outbox
        if not outbox.corked and not outbox.in_turn:
            self.write_at = monotonic()
            outbox.send()
        elif outbox.main.size > self.high_water and not outbox.blocked:
            outbox.flush()
        if not outbox.blocked or outbox.buffered() <= self.high_water:
            return _DONE if self.drained is None else self.drained
        return self.held_up()

    cdef object held_up(self):
        """Too much waits: what to await until less does."""
        if self.drained is None:
            self.drained = Wait(self.loop)
        # Contract: a message callback's own sends hold back its next message; sends from elsewhere do not.
        if self.delivering or (self.pending is not None and asyncio.current_task() is self.pending):
            self.hold |= DRAINING
        return self.drained

    cdef int check_room(self, Py_ssize_t size) except -1:
        """Refuse what would take the outbox above its bound; nothing queued is touched."""
        cdef Outbox outbox = self.outbox
        cdef Py_ssize_t total
        if self.max_write < 0 or (not outbox.blocked and outbox.main.size + size <= self.max_write):
            return 0
        outbox.flush()
        total = outbox.buffered() + size
        if total > self.max_write:
            self.overflows(total)
        return 0

    cdef int overflows(self, Py_ssize_t total) except -1:
        """Raise: so much may not wait."""
        if self.impatient and self._state == OPEN:
            self.close_slow(total)
            raise self.closed_error("send")
        raise QueueOverflow(total, self.max_write)

    cdef int close_slow(self, Py_ssize_t total) except -1:
        return 0

    cdef int never_sent(self, Py_ssize_t messages, Py_ssize_t size) except -1:
        """What has been accepted will not leave."""
        return 0

    cdef object refuse(self, str doing):
        """Why nothing can be sent."""
        self.check_thread(doing)
        if self._state == CONNECTING:
            raise RuntimeError(f"{doing}: the connection is not open yet")
        raise self.closed_error(doing)

    cdef object not_now(self, int opcode, object data, object key=None):
        """Nothing can be sent; or a message in fragments is under way, and this one waits for its end (§5.4);
        or there is a backlog."""
        if self._state != OPEN or PyThread_get_thread_ident() != self.thread:
            self.refuse("send")
        if opcode == 2 and not PyBytes_CheckExact(data):
            try:
                data = bytes(memoryview(data))
            except (TypeError, BufferError) as error:
                raise no_message(data) from error
        if self.stream is not None:
            return self.stream.hold(opcode, data, key)
        return self.backlog.add(opcode, data, key)

    cdef int check_thread(self, str doing) except -1:
        if PyThread_get_thread_ident() != self.thread:
            raise RuntimeError(f"{doing}: a connection belongs to its loop's thread; "
                               "from another thread use connection.threadsafe")
        return 0

    def closed_error(self, str doing=""):
        """The `ConnectionClosed` that says how this connection ended, or is ending."""
        reason = self.close_reason or self.close_received or self.close_sent or CloseReason(
            CloseCode.ABNORMAL_CLOSURE, "")
        kind = ConnectionClosedOK if reason.code in (1000, 1001) else ConnectionClosedError
        return kind(reason, self.close_sent, self.close_received, doing, self.details())

    cdef object details(self):
        return None

    def ping(self, payload=None):
        """Send a Ping (RFC 6455 §5.5.2) with at most 125 bytes; resolves to the round trip in seconds.

        Raises `ValueError` for a longer payload, or one that a Ping still waits with, and `QueueOverflow` where
        ``max_pending_pings`` wait for their Pong.
        """
        if self._state != OPEN or PyThread_get_thread_ident() != self.thread:
            self.refuse("ping")
        data = _control_payload(payload, "ping")
        if payload is None:
            data = os.urandom(4)
        if self.pings is None:
            self.pings = {}
        if data in self.pings:
            raise ValueError(f"a ping with the payload {data!r} is waiting for its pong; send another payload")
        if 0 <= self.max_pings <= len(<dict>self.pings):
            raise QueueOverflow(len(<dict>self.pings) + 1, self.max_pings, "max_pending_pings")
        self.check_room(len(<bytes>data))
        wait = Wait(self.loop)
        self.pings[data] = (wait, monotonic())
        self.outbox.put(0x89, <const uint8_t*>PyBytes_AS_STRING(data), len(<bytes>data))
        self.sent()
        return wait

    def pong(self, payload=b""):
        """Send a Pong that nobody asked for (RFC 6455 §5.5.3), at most 125 bytes."""
        if self._state != OPEN or PyThread_get_thread_ident() != self.thread:
            self.refuse("pong")
        data = _control_payload(payload, "pong")
        self.check_room(len(<bytes>data))
        self.outbox.put(0x8A, <const uint8_t*>PyBytes_AS_STRING(data), len(<bytes>data))
        return self.sent()

    def flush(self):
        """Resolves once everything sent before has been written; may be called after close, never raises for it."""
        self.check_thread("flush")
        if self.stream is not None:
            wait = self.stream.flush()
            if wait is not None:
                return wait
        self.outbox.flush()
        if not self.outbox.blocked:
            return _DONE
        wait = Wait(self.loop)
        if self.flushing is None:
            self.flushing = []
        self.flushing.append(wait)
        return wait

    cdef int control(self, int opcode, bytes payload) except -1:
        """Answer a Ping, match a Pong (RFC 6455 §5.5.2, §5.5.3)."""
        self.work -= 256 + len(payload)
        if opcode == 9:
            # Behind our Close no frame may be sent (§5.5.1).
            if self._state == OPEN:
                self.outbox.put_pong(payload)
            callback = self.callbacks.ping
        else:
            self.ponged(payload)
            callback = self.callbacks.pong
        if callback is not None and not self.hold & ENDED:
            if self.hold & PAUSED:
                # on_frame has paused at this very frame.
                return self.enqueue((callback, payload), 2)
            self.notify(callback, payload)
        return self.work <= 0 or self.hold & (PAUSED | DEAD | CROWDED) != 0

    cdef int ponged(self, bytes payload) except -1:
        """A Pong answers its Ping and, as the newest may be answered alone, every Ping before (§5.5.3)."""
        cdef double now = monotonic()
        cdef double asked = self.ping_answered(payload, now)
        if asked:
            self.heard(now - asked)
            for data in list(self.pings or ()):
                wait, sent = self.pings[data]
                if <double>sent > asked:
                    break
                del self.pings[data]
                (<Wait>wait).resolve(now - <double>sent)
            return 0
        if not self.pings or payload not in self.pings:
            return 0
        for data in list(self.pings):
            wait, sent = self.pings.pop(data)
            (<Wait>wait).resolve(now - sent)
            if data == payload:
                self.heard(now - sent)
                break
        return 0

    cdef int heard(self, double seconds) except -1:
        """A Ping has been answered."""
        self.latency = seconds
        return 0

    cdef double ping_answered(self, bytes payload, double now) except -1:
        """When a Ping of the library's own left that this answers; 0 if there is none: for the keepalive."""
        return 0

    cdef int drain(self) except -1:
        """The transport has taken what it had: send on, and wake who waits below low water."""
        cdef Wait wait
        self.outbox.blocked = False
        self.outbox.flush()
        if self.backlog is not None:
            self.backlog.feed()
        if self.drained is not None and self.outbox.buffered() + self.backlogged() <= self.low_water:
            wait = self.drained
            self.drained = None
            wait.resolve(None)
            if self.hold & DRAINING and (self.stream is None or self.stream.held_bytes <= self.high_water):
                self.hold &= ~DRAINING
                self.schedule()
        return 0

    cdef Py_ssize_t backlogged(self) except -1:
        """Bytes that wait before the outbox, where some may be dropped."""
        return 0 if self.backlog is None else self.backlog.size

    cdef int cork(self) except -1:
        self.outbox.corked = True
        return 0

    cdef int uncork(self) except -1:
        self.outbox.corked = False
        if self.outbox.main.size:
            self.write_at = monotonic()
        return self.outbox.flush()

    @property
    def buffered_amount(self):
        """Bytes accepted by send and not yet taken by the operating system (int)."""
        return self.outbox.buffered() + self.backlogged() + (0 if self.stream is None else self.stream.amount)

    @property
    def _backlog(self):
        """The `Backlog` of a policy that may drop messages, or None."""
        return self.backlog

    @property
    def messages_dropped(self):
        """Messages that a slow peer was not sent, see ``slow_consumer`` (int)."""
        return 0 if self.backlog is None else self.backlog.dropped

    @property
    def messages_sent(self):
        """Whole messages that have been sent, or wait to be (int)."""
        return self.sent_of[0] + self.sent_of[1]

    cdef long long passed(self) noexcept:
        """Messages in both directions."""
        return self.received_of[0] + self.received_of[1] + self.sent_of[0] + self.sent_of[1]

    @property
    def is_writable(self):
        """Open, below high water, and no message in fragments is under way (bool)."""
        return self._state == OPEN and self.drained is None and self.stream is None

    @property
    def bytes_written(self):
        """Bytes handed to the operating system or the transport (int)."""
        return self.outbox.bytes_written


cdef object _bytes_like(object owner, const uint8_t* payload, Py_ssize_t size):
    """The payload as an object that zlib takes."""
    if PyBytes_CheckExact(owner):
        return owner
    return PyBytes_FromStringAndSize(<const char*>payload, size)


cdef bytes _control_payload(object payload, str what):
    if payload is None:
        return b""
    if isinstance(payload, str):
        payload = payload.encode()
    try:
        data = bytes(memoryview(payload))
    except TypeError:
        raise TypeError(f"{what}() takes bytes-like or str, not {type(payload).__name__}") from None
    if len(data) > 125:
        raise ValueError(f"{what}() payload has {len(data)} bytes, at most 125 fit (RFC 6455 §5.5)")
    return data
