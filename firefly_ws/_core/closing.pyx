# cython: language_level=3
"""How a connection closes, RFC 6455 §5.5.1 and §7: whose Close, which end of TCP, and by when.

Knows a transport only as something with a descriptor and five methods. The states:

    state       what happens                 then
    CONNECTING  open()                       OPEN, on_accept
    OPEN        close()                      send Close, CLOSING, await the peer's
    OPEN        Close came, callbacks ended  send Close, CLOSING, server: close TCP, client: await EOF
    OPEN        Close came, raw session      nothing until the user's Close; abort at close_timeout
    OPEN        EOF came, callbacks ended    CLOSING, close TCP
    OPEN        a rule is broken             (behind the messages before it) send Close, CLOSING, linger
    OPEN        an extension failed          the same, with 1011
    OPEN        a callback raised            as close(1011)
    OPEN        a peer reads too slowly      as close(1013), where the policy says so
    CLOSING     the peer's Close came        server: close TCP, client: await EOF
    CLOSING     EOF came                     close TCP
    CLOSING     close_timeout                abort
    any         terminate(), drop()          abort; send Close and close TCP
    any         the transport is gone        CLOSED; on_error, on_close behind the last callback
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from .delivery cimport CROWDED, DEAD, ENDED, FULL, PAUSED
from .frames cimport Frame
from .outbox cimport Outbox
from .sending cimport CLOSED, CLOSING, CONNECTING, OPEN, Sender
from .steps cimport Wait

from ..codes import CloseCode, CloseReason
from .frames import close_payload
from ..errors import ProtocolError

# Of closes without words, by code: nearly all of them, and making a named tuple is a call of Python.
cdef dict _bare_reasons = {}


cdef object _of_both(str doing, object code, object reason):
    """A `CloseReason` as code and reason; a second reason beside its own would be lost."""
    if len(code) != 2 or reason != "":
        raise TypeError(f"{doing}({code!r}, {reason!r}) takes a code and a reason, or a CloseReason of both")
    return code


cdef class Remains:
    """What is still known of a connection's last moment."""


cdef class Closing(Sender):
    """The states of a connection and the ways from one to the next."""

    def close(self, code=1000, reason=""):
        """Close with *code* (int or `CloseReason`) and *reason* (at most 123 bytes of UTF-8), RFC 6455 §7.

        Resolves to the final `CloseReason` at the end of TCP; idempotent. Raises
        `ValueError` for a code that may not be sent.
        """
        self.check_thread("close")
        if isinstance(code, tuple):
            code, reason = _of_both("close", code, reason)
        payload = close_payload(code, reason)
        if self._state == CONNECTING:
            self.terminate()
        elif self._state == OPEN:
            self.begin_end(LOCAL)
            self.forget()
            self.send_close(payload, CloseReason(code, reason))
        elif self.lost and not self.hold & (ENDED | DEAD):
            # What has come and was not taken is not wanted any more: nothing keeps the connection.
            self.forget()
            self.schedule()
        return self.wait_closed()

    close_async = close

    def terminate(self):
        """End TCP at once: nothing more is sent or delivered, the reason is 1006."""
        self.check_thread("terminate")
        if self.lost or self._state == CLOSED:
            return
        self.begin_end(LOCAL)
        self.forget()
        self.hold |= DEAD
        self.rest = None
        if self._state < CLOSING:
            self._state = CLOSING
        self.ending = ENDED_TCP
        if self.transport is not None:
            self.cut()
            self.transport.abort()
        else:
            self.never_opened()

    cdef int begin_end(self, int began) noexcept:
        """The end has begun, and whose doing that is."""
        if not self.began:
            self.began = began
        return 0

    cdef int cut(self) except -1:
        """Nothing more is written: what waited is only counted from here on."""
        cdef Outbox outbox = self.outbox
        cdef Py_ssize_t size
        if outbox.transport is None:
            return 0
        size = outbox.buffered() + self.backlogged()
        if size:
            self.never_sent(outbox.messages() + (0 if self.backlog is None else len(self.backlog)), size)
        return outbox.detach()

    cdef int never_sent(self, Py_ssize_t messages, Py_ssize_t size) except -1:
        cdef Remains remains = self.left()
        remains.messages += messages
        remains.size += size
        return 0

    cdef Remains left(self):
        """What remains, made when there is something."""
        if self.remains is None:
            self.remains = Remains.__new__(Remains)
        return self.remains

    cdef int never_opened(self) except -1:
        return 0

    def drop(self, code=1000, reason=""):
        """Send Close and end TCP without waiting for the peer's (Kitura's ``drop``)."""
        self.check_thread("drop")
        if isinstance(code, tuple):
            code, reason = _of_both("drop", code, reason)
        payload = close_payload(code, reason)
        if self._state == OPEN:
            self.begin_end(LOCAL)
            self.forget()
            self.send_close(payload, CloseReason(code, reason))
        # Behind terminate() there is no transport left to be closed, and flush() must not be told that all has left.
        if self._state == CLOSING and self.ending != ENDED_TCP:
            self.hold |= DEAD
            self.rest = None
            self.end_tcp(CLOSE_FLUSHED)

    def wait_closed(self):
        """Resolves to the final `CloseReason` at the end of TCP."""
        self.check_thread("wait_closed")
        if self.closed is None:
            self.closed = Wait(self.loop)
            if self.lost:
                self.closed.resolve(self.close_reason)
        return self.closed

    cdef int send_close(self, bytes payload, object reason) except -1:
        """Put our Close behind everything else (RFC 6455 §5.5.1) and wait for what follows from it."""
        self.close_sent = reason
        self._state = CLOSING
        if self.stream is not None:
            self.stream.cut(self.closed_error("send"))
        if not self.lost:
            if self.backlog is not None:
                self.backlog.commit()
            self.outbox.put(0x88, <const uint8_t*>PyBytes_AS_STRING(payload), len(payload))
            self.outbox.flush()
        if self.terminal != NOTHING:
            self.end_tcp(self.last_step())
        else:
            self.ending = AWAIT_CLOSE
            if not self.reading and not self.lost:
                self.reading = True
                self.set_reading(True)
            if self.rest is not None:
                self.schedule()
        if self.ending != ENDED_TCP:
            self.start_timer()
        return 0

    cdef int close_slow(self, Py_ssize_t total) except -1:
        """Too much waits for a peer that does not read: close, behind all that was sent before."""
        text = f"too slow: {total} bytes would wait, more than max_write_buffer={self.max_write}"
        self.begin_end(LIMIT)
        self.forget()
        return self.send_close(close_payload(CloseCode.TRY_AGAIN_LATER, text),
                               CloseReason(CloseCode.TRY_AGAIN_LATER, text))

    cdef object send_raw_close(self, Frame frame):
        """A Close as the user has made it; from here on all goes as behind any other."""
        self.begin_end(LOCAL)
        self.forget()
        self.send_close(frame.payload, frame.reason or CloseReason(CloseCode.NO_STATUS, ""))
        return self.flush()

    cdef int take_terminal(self) except -1:
        """What came last takes effect: everything before it has been delivered."""
        if self._state != OPEN:
            return 0
        if self.terminal == CLOSE_CAME and self.raw:
            return 0  # the answer is the user's, within close_timeout
        if self.terminal == CLOSE_CAME:
            code, text = self.close_received
            self.send_close(b"" if code == CloseCode.NO_STATUS else close_payload(code, text), self.close_received)
        elif self.terminal == EOF_CAME:
            self._state = CLOSING
            self.end_tcp(CLOSE_FLUSHED)
            if self.ending != ENDED_TCP:
                self.start_timer()
        elif self.terminal == RULE_BROKEN:
            # An extension that failed is our own fault, and the peer is not told why.
            code, text = CloseCode.INTERNAL_ERROR, ""
            if isinstance(self.error, ProtocolError):
                code, text = self.error.code, self.error.close_text
            self.send_close(close_payload(code, text), CloseReason(code, text))
        return 0

    cdef int last_step(self) noexcept:
        """How TCP ends once our Close is out and the peer has nothing to add."""
        if self.at_eof:
            return CLOSE_FLUSHED
        if self.terminal == RULE_BROKEN:
            return LINGER
        # RFC 6455 §7.1.1: the server closes first.
        return AWAIT_EOF if self.is_client else CLOSE_FLUSHED

    cdef int end_tcp(self, int how) except -1:
        self.ending = how
        if how == AWAIT_EOF or self.lost:
            return 0
        self.outbox.flush()
        if not self.outbox.blocked:
            self.written()
        return 0

    cdef int written(self) except -1:
        """Everything has left: do what waited for that."""
        cdef Wait wait
        cdef list flushing = self.flushing
        if flushing is not None:
            self.flushing = None
            for wait in flushing:
                wait.resolve(None)
        if self.lost or self.transport is None:
            return 0
        if self.ending == CLOSE_FLUSHED:
            self.shut()
        elif self.ending == LINGER:
            if self.transport.can_write_eof():
                self.outbox.fd = -1
                self.transport.write_eof()
            else:
                self.shut()
        return 0

    cdef int shut(self) except -1:
        """We have nothing more to say, nor to hear."""
        cdef bint at_once = self.outbox.fd >= 0
        self.ending = ENDED_TCP
        self.outbox.detach()
        # asyncio's TLS forgets at a second call what it is to abort; it closes by itself at the peer's farewell.
        if not self.transport.is_closing():
            self.transport.close()
        if not at_once and not self.lost and self.timer is None:
            self.start_timer()  # TLS waits for the peer's end of it, which may never come
        return 0

    cdef int start_timer(self) except -1:
        self.stop_timer()
        if self.close_timeout is not None and not self.lost:
            self.wait_on()
        return 0

    cdef int wait_on(self) except -1:
        self.reader_took()
        self.timer = self.loop.call_later(self.close_timeout, self._timed_out)
        return 0

    cdef bint reader_took(self) except -1:
        """Whether whoever reads by asking has taken a message since this was asked last."""
        return False

    cdef int stop_timer(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    def _timed_out(self):
        self.timer = None
        if (self._state == OPEN or self.lost) and self.rest is not None and not self.hold & PAUSED \
                and self.reader_took():
            # It is slow and goes on: what has come and waits for its room is not taken from it.
            self.wait_on()
        elif self._state == OPEN and self.terminal and not (self.raw and self.terminal == CLOSE_CAME):
            # Callbacks have had their time: answer now, and let on_close wait for them.
            self.hold &= ~PAUSED
            self.take_terminal()
        elif self.lost:
            if self.hold & (FULL | CROWDED) and self.rest is not None:
                # Nobody has made room for it, and the connection is not kept for ever.
                self.discarded += len(self.rest) - self.rest_start
                self.rest = None
            self.hold &= ~(PAUSED | FULL | CROWDED)
            self.schedule()
        elif self.transport is not None:
            self.ending = ENDED_TCP
            self.late = True
            self.cut()
            self.transport.abort()

    # ---- what the receiving half and the transport tell us -------------------------------------------------------

    cdef int peer_close(self, object code, str reason) except -1:
        """The peer's Close (RFC 6455 §5.5.1): the last thing that is parsed."""
        cdef object received = None if reason else _bare_reasons.get(code)
        if received is None:
            received = CloseReason(CloseCode.NO_STATUS if code is None else code, reason)
            if not reason:
                _bare_reasons[code] = received
        self.close_received = received
        self.hold |= DEAD
        if self.lost:
            # It had come before TCP ended, and waited with the messages before it.
            self.close_reason = received
            self.closed = None
        if self._state == CLOSING:
            self.terminal = CLOSE_CAME
            if self.ending == AWAIT_CLOSE:
                self.end_tcp(self.last_step())
        elif self.terminal == NOTHING or self.terminal == EOF_CAME:
            self.terminal = CLOSE_CAME
            self.begin_end(REMOTE)
        return 1

    cdef int violated(self, object error) except -1:
        if self._state == CLOSING:
            # Our Close is out already; there is no second one.
            if self.ending == AWAIT_CLOSE:
                self.terminal = RULE_BROKEN
                self.end_tcp(self.last_step())
        elif self.terminal == NOTHING or self.terminal == EOF_CAME:
            self.terminal = RULE_BROKEN
            self.error = error
            if not isinstance(error, ProtocolError):
                self.begin_end(FAULT)
            else:
                self.begin_end(LIMIT if error.code in (1008, 1009) else PROTOCOL)
        return 0

    cdef int eof(self) except -1:
        """The peer has ended its side of TCP; what came before it may still wait to be parsed."""
        self.at_eof = True
        if self.meter is not None:
            self.meter.release()
        if self._state == CLOSING:
            if self.terminal == NOTHING:
                self.terminal = EOF_CAME
            if self.ending != ENDED_TCP:
                self.end_tcp(CLOSE_FLUSHED)
        elif self.terminal == NOTHING:
            self.terminal = EOF_CAME
            self.begin_end(REMOTE)
            if not self.inside:
                self.settle()
        return 0

    cdef int settle(self) except -1:
        Sender.settle(self)
        if self.terminal and self._state == OPEN and self.timer is None:
            self.start_timer()
        return 0

    cdef int set_reading(self, bint on) except -1:
        if self.meter is not None:
            self.meter.reading(on)
        if self.transport is not None and self.ending != ENDED_TCP:
            if on:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()
        return 0

    def pause_reading(self):
        """Deliver nothing more, and read nothing more, until `resume_reading`; no effect once closing."""
        self.check_thread("pause_reading")
        if self._state != OPEN:
            return
        self.hold |= PAUSED
        if not self.inside:
            self.settle()

    def resume_reading(self):
        """Go on after `pause_reading`."""
        self.check_thread("resume_reading")
        if self.hold & PAUSED:
            self.hold &= ~PAUSED
            # Callbacks are never called from within a user's call.
            self.schedule()

    cdef int pause_writing(self) except -1:
        self.outbox.blocked = True
        return 0

    cdef int resume_writing(self) except -1:
        self.drain()
        if not self.outbox.blocked:
            self.written()
        return 0
