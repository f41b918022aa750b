# cython: language_level=3
"""The connection, RFC 6455 §5.5 to §7: states, control frames, sending, closing. One class for both ends.

Knows a transport only as something with a descriptor and five methods. The states:

    state       what happens                 then
    CONNECTING  open()                       OPEN, on_accept
    OPEN        close()                      send Close, CLOSING, await the peer's
    OPEN        Close came, callbacks ended  send Close, CLOSING, server: close TCP, client: await EOF
    OPEN        EOF came, callbacks ended    CLOSING, close TCP
    OPEN        a rule is broken             (behind the messages before it) send Close, CLOSING, linger
    OPEN        a callback raised            as close(1011)
    CLOSING     the peer's Close came        server: close TCP, client: await EOF
    CLOSING     EOF came                     close TCP
    CLOSING     close_timeout                abort
    any         terminate(), drop()          abort; send Close and close TCP
    any         the transport is gone        CLOSED; on_error, on_close behind the last callback
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from .deflate cimport Deflate
from .delivery cimport DEAD, DRAINING, PAUSED, PENDING, QUEUED, Callbacks, FrameTap, monotonic
from .messages cimport Messages
from .outbox cimport Outbox, Turn
from .parser cimport FrameSink, Parser
from .sending cimport CLOSED, CLOSING, CONNECTING, OPEN, Sender
from .steps cimport Steps, Wait

import asyncio
import logging

from ..codes import CloseCode, CloseReason, ConnectionState
from ..errors import ConnectionClosed, WebSocketException
from .frames import close_payload

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef object _log = logging.getLogger("firefly_ws")
_STATES = tuple(ConnectionState)


cdef class Connection(Sender):
    """One WebSocket connection; made by `server` and `client`, which know what a user may see of it."""

    def __init__(self, object policy, Callbacks callbacks, Steps steps, Turn turn, *, bint is_client,
                 Deflate deflate=None):
        cdef FrameSink sink
        self.loop = steps.loop
        self.steps = steps
        self.callbacks = callbacks
        self.is_client = is_client
        self.deflate = deflate
        self.thread = PyThread_get_thread_ident()
        self.outbox = Outbox(turn, masked=is_client)
        self.messages = Messages(
            self, text_limit=policy.text_limit(), binary_limit=policy.binary_limit(),
            max_fragments=policy.max_fragments, deflate=deflate,
            options=("max_message_size" if policy.max_text_message_size is None else "max_text_message_size",
                     "max_message_size" if policy.max_binary_message_size is None else "max_binary_message_size"))
        sink = self.messages if callbacks.frame is None else FrameTap(self.messages, self)
        self.parser = Parser(sink, expect_masked=not is_client, reserved=0x70 if deflate is None else 0x30,
                             max_frame_size=policy.max_frame_size)
        self.max_messages = -1 if policy.max_queue[0] is None else policy.max_queue[0]
        self.max_bytes = -1 if policy.max_queue[1] is None else policy.max_queue[1]
        self.high_water = policy.write_high_water
        self.low_water = policy.write_low_water
        self.max_write = -1 if policy.max_write_buffer is None else policy.max_write_buffer
        self.close_timeout = policy.close_timeout
        self.reading = True

    def close(self, code=1000, reason=""):
        """Close with *code* (int or `CloseReason`) and *reason* (at most 123 bytes of UTF-8), RFC 6455 §7.

        Resolves to the final `CloseReason` at the end of TCP; idempotent. Raises
        `ValueError` for a code that may not be sent.
        """
        self.check_thread("close")
        if isinstance(code, tuple):
            code, reason = code
        payload = close_payload(code, reason)
        if self._state == CONNECTING:
            self.terminate()
        elif self._state == OPEN:
            self.forget()
            self.send_close(payload, CloseReason(code, reason))
        return self.wait_closed()

    close_async = close

    def terminate(self):
        """End TCP at once: nothing more is sent or delivered, the reason is 1006."""
        self.check_thread("terminate")
        if self.lost or self._state == CLOSED:
            return
        self.forget()
        self.hold |= DEAD
        self.rest = None
        if self._state < CLOSING:
            self._state = CLOSING
        self.ending = ENDED_TCP
        if self.transport is not None:
            self.outbox.detach()
            self.transport.abort()

    def drop(self, code=1000, reason=""):
        """Send Close and end TCP without waiting for the peer's (Kitura's ``drop``)."""
        self.check_thread("drop")
        if isinstance(code, tuple):
            code, reason = code
        payload = close_payload(code, reason)
        if self._state == OPEN:
            self.forget()
            self.send_close(payload, CloseReason(code, reason))
        if self._state == CLOSING:
            self.hold |= DEAD
            self.rest = None
            self.end_tcp(CLOSE_FLUSHED)

    def wait_closed(self):
        """Resolves to the final `CloseReason` at the end of TCP."""
        if self.closed is None:
            self.closed = Wait(self.loop)
            if self.lost:
                self.closed.resolve(self.close_reason)
        return self.closed

    def wait_finished(self):
        """Resolves behind on_close."""
        if self.finished is None:
            self.finished = Wait(self.loop)
            if self.told == 4:
                self.finished.resolve(None)
        return self.finished

    cdef int send_close(self, bytes payload, object reason) except -1:
        """Put our Close behind everything else (RFC 6455 §5.5.1) and wait for what follows from it."""
        self.close_sent = reason
        self._state = CLOSING
        if not self.lost:
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

    cdef int take_terminal(self) except -1:
        """What came last takes effect: everything before it has been delivered."""
        if self._state != OPEN:
            return 0
        if self.terminal == CLOSE_CAME:
            self.send_close(self.close_payload, self.close_received)
        elif self.terminal == EOF_CAME:
            self._state = CLOSING
            self.end_tcp(CLOSE_FLUSHED)
            if self.ending != ENDED_TCP:
                self.start_timer()
        elif self.terminal == RULE_BROKEN:
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
            self.ending = ENDED_TCP
            self.outbox.detach()
            self.transport.close()
        elif self.ending == LINGER:
            if self.transport.can_write_eof():
                self.outbox.fd = -1
                self.transport.write_eof()
            else:
                self.ending = ENDED_TCP
                self.outbox.detach()
                self.transport.close()
        return 0

    cdef int start_timer(self) except -1:
        self.stop_timer()
        if self.close_timeout is not None and not self.lost:
            self.timer = self.loop.call_later(self.close_timeout, self._timed_out)
        return 0

    cdef int stop_timer(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    def _timed_out(self):
        self.timer = None
        if self._state == OPEN and self.terminal:
            # Callbacks have had their time: answer now, and let on_close wait for them.
            self.hold &= ~PAUSED
            self.take_terminal()
        elif self.lost:
            self.hold &= ~PAUSED
            self.schedule()
        elif self.transport is not None:
            self.ending = ENDED_TCP
            self.outbox.detach()
            self.transport.abort()

    # ---- what the receiving half and the transport tell us -------------------------------------------------------

    cdef int peer_close(self, object code, str reason, bytes payload) except -1:
        """The peer's Close (RFC 6455 §5.5.1): the last thing that is parsed."""
        self.close_received = CloseReason(CloseCode.NO_STATUS if code is None else code, reason)
        self.hold |= DEAD
        if self._state == CLOSING:
            self.terminal = CLOSE_CAME
            if self.ending == AWAIT_CLOSE:
                self.end_tcp(self.last_step())
        elif self.terminal == NOTHING or self.terminal == EOF_CAME:
            self.terminal = CLOSE_CAME
            self.close_payload = payload
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
            _log.debug("%r: %s", self, error)
        return 0

    cdef int eof(self) except -1:
        """The peer has ended its side of TCP; what came before it may still wait to be parsed."""
        self.at_eof = True
        if self._state == CLOSING:
            if self.terminal == NOTHING:
                self.terminal = EOF_CAME
            if self.ending != ENDED_TCP:
                self.end_tcp(CLOSE_FLUSHED)
        elif self.terminal == NOTHING:
            self.terminal = EOF_CAME
            if not self.inside:
                self.settle()
        return 0

    cdef int idle(self) except -1:
        """All that came has been delivered and no message callback is pending."""
        if self.lost:
            if not self.told:
                self.told = 1
                self.tell()
        elif self.terminal and self._state == OPEN:
            self.take_terminal()
        return 0

    cdef int settle(self) except -1:
        Sender.settle(self)
        if self.terminal and self._state == OPEN and self.timer is None:
            self.start_timer()
        return 0

    cdef int set_reading(self, bint on) except -1:
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

    cdef int callback_failed(self, object error) except -1:
        """A callback raised: the connection ends with 1011, and the peer is not told why."""
        if isinstance(error, asyncio.CancelledError):
            return 0
        if isinstance(error, ConnectionClosed) and self._state != OPEN:
            _log.debug("%r: a callback met the end of the connection: %s", self, error)
            return 0
        _log.error("%r: a callback raised", self, exc_info=(type(error), error, error.__traceback__))
        self._fail(error)
        return 0

    def _fail(self, error):
        """End with 1011 for an error that is raised, or logged, elsewhere."""
        if self.error is None and not self.told:
            self.error = error
        if self._state == OPEN:
            self.forget()
            self.send_close(close_payload(CloseCode.INTERNAL_ERROR, ""), CloseReason(CloseCode.INTERNAL_ERROR, ""))

    # ---- beginning and end ---------------------------------------------------------------------------------------

    cdef int opened(self, object transport, int fd) except -1:
        """The handshake is done: deliver to on_accept, then whatever comes."""
        self.transport = transport
        self.outbox.attach(transport, fd)
        self._state = OPEN
        self.begun = self.read_at = monotonic()
        if self.callbacks.accept is not None:
            self.inside = True
            self.cork()
            try:
                self.watch(self.steps.start(self.callbacks.accept(self)))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                self.callback_failed(error)
            finally:
                self.inside = False
                self.uncork()
                self.settle()
        return 0

    cdef int gone(self, object error) except -1:
        """The transport is gone."""
        if self.lost:
            return 0
        self.lost = True
        self.over = monotonic()
        self._state = CLOSED
        self.outbox.detach()
        self.transport = None
        self.stop_timer()
        if error is not None and self.error is None and self.ending == NOT_ENDING:
            self.error = error
        self.close_reason = self.close_received or CloseReason(CloseCode.ABNORMAL_CLOSURE, self.why())
        if self.terminal == NOTHING:
            self.terminal = EOF_CAME
        if self.closed is not None:
            self.closed.resolve(self.close_reason)
        self.settle_waits()
        self.hold &= ~DRAINING
        if self.hold & (QUEUED | PENDING | PAUSED) or self.rest is not None:
            # What had arrived is still handed over; a pause holds for close_timeout at most.
            if self.hold & PAUSED and self.close_timeout is not None:
                self.timer = self.loop.call_later(self.close_timeout, self._timed_out)
        if not self.inside:
            self.enter()
            self.leave()
        return 0

    cdef object why(self):
        """Words for an end without the peer's Close."""
        if self.error is not None and not isinstance(self.error, WebSocketException):
            return f"the connection was lost: {type(self.error).__name__}"
        if self.error is not None:
            return str(self.error)
        if self.close_sent is not None:
            return "no Close frame came from the peer"
        if self.ending == ENDED_TCP and not self.at_eof:
            return "the connection was terminated"
        return "the peer ended the connection without a Close frame"

    cdef int settle_waits(self) except -1:
        """Nothing more will be written, drained or answered."""
        cdef Wait wait
        cdef object flushing = self.flushing
        self.flushing = None
        for wait in flushing or ():
            wait.resolve(None)
        if self.drained is not None:
            wait = self.drained
            self.drained = None
            wait.fail(self.closed_error("send"))
        pings = self.pings
        self.pings = None
        for wait, _ in (pings or {}).values():
            wait.fail(self.closed_error("ping"))
        return 0

    cdef int tell(self) except -1:
        """on_error if there was an error, then on_close, each to its end; then it is finished."""
        cdef object callback, argument, result
        while self.told < 3:
            callback = self.callbacks.error if self.told == 1 else self.callbacks.close
            argument = self.error if self.told == 1 else self.close_reason
            self.told += 1
            if callback is None or (argument is None and self.told == 2):
                continue
            try:
                result = self.steps.start(callback(self, argument))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                self.callback_failed(error)
                continue
            if result is not None:
                result.add_done_callback(self._told)
                self.watch(result)
                return 0
        self.told = 4
        self.hold |= DEAD
        self.parser = None
        self.messages = None
        if self.finished is not None:
            self.finished.resolve(None)
        if not self.tasks:
            self._on_finished()
        return 0

    def _task_done(self, task):
        Sender._task_done(self, task)
        # on_accept may go on for longer than its connection.
        if self.told == 4 and not self.tasks:
            self._on_finished()

    def _on_finished(self):
        """For the class that knows who keeps this connection: the last callback has ended."""

    def _told(self, result):
        self.tell()

    cdef int pause_writing(self) except -1:
        self.outbox.blocked = True
        return 0

    cdef int resume_writing(self) except -1:
        self.drain()
        if not self.outbox.blocked:
            self.written()
        return 0

    # ---- how it stands -------------------------------------------------------------------------------------------

    @property
    def state(self):
        """`ConnectionState`."""
        return _STATES[self._state]

    @property
    def is_open(self):
        """Messages can be sent (bool)."""
        return self._state == OPEN

    @property
    def is_closed(self):
        """TCP has ended (bool)."""
        return self._state == CLOSED

    def _cancel_callbacks(self, spared=()):
        """Cancel what still runs; for the end of a server's grace."""
        for task in [self.pending, *(self.tasks or ())]:
            if hasattr(task, "cancel") and task not in spared:
                task.cancel()

    def _times(self):
        """Monotonic seconds: opened, ended, last read, last write; 0 where not yet."""
        return self.begun, self.over, self.read_at, self.write_at
