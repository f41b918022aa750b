# cython: language_level=3
"""The connection: its beginning, the errors of callbacks, its last callbacks. One class for both ends."""

from .backlog cimport Backlog
from .chain cimport Chain, ChainIn, ChainOut
from .closing cimport EOF_CAME, FAULT, NOTHING, NOT_ENDING
from .deflate cimport Deflate
from .delivery cimport CROWDED, DEAD, DRAINING, FULL, PAUSED, PENDING, QUEUED, Callbacks, FrameTap
from .explained cimport Explained
from .inbox cimport Inbox
from .limits cimport CLOSE, DROP_OLDEST, Limits
from .meter cimport Meter
from .messages cimport Messages, MessageSink
from .outbox cimport Outbox, Turn
from .parser cimport FrameSink, Parser
from .pieces cimport Pieces
from .raw cimport RawFrames, RawInbox
from .sending cimport CLOSED, OPEN, Sender
from .steps cimport Steps, Wait
from .wheel cimport monotonic

from libc.math cimport INFINITY

import asyncio
import logging

from ..codes import CloseCode, CloseReason, ConnectionState
from ..errors import ProtocolError, is_of_the_end
from .frames import close_payload

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef object _log = logging.getLogger("firefly_ws")
cdef long long _made = 0  # connections, of all loops: the GIL guards it
_STATES = tuple(ConnectionState)


cdef class Connection(Explained):
    """One WebSocket connection; made by `server` and `client`, which know what a user may see of it."""

    def __init__(self, Limits limits not None, Callbacks callbacks, Steps steps, Turn turn, bint is_client,
                 Deflate deflate=None, Chain chain=None):
        self.prepare(limits, callbacks, steps, turn, is_client, deflate, chain)

    cdef int prepare(self, Limits limits, Callbacks callbacks, Steps steps, Turn turn, bint is_client,
                     Deflate deflate, Chain chain) except -1:
        """What a connection consists of; its stages by their plain constructors (0.15 µs each less)."""
        global _made
        cdef FrameSink sink
        cdef Messages messages
        cdef Outbox outbox
        cdef Parser parser
        cdef MessageSink taker = self
        cdef int claimed = 0 if deflate is None else 0x40
        self.loop = steps.loop
        self.steps = steps
        self.callbacks = callbacks
        self.is_client = is_client
        self.deflate = deflate
        self.thread = self.at_once = PyThread_get_thread_ident()
        if callbacks.pull:
            self._inbox = taker = RawInbox(self) if callbacks.raw else Inbox(self)
        if callbacks.raw:
            self.raw = True
            sink = RawFrames(self, self._inbox)
        else:
            if taker is self:
                sink = messages = Messages.__new__(Messages)
                messages.begin_with(self, limits, deflate)
                self.messages = messages
            else:
                sink = self.messages = Pieces(taker, limits, deflate)
        if chain is None:
            outbox = Outbox.__new__(Outbox)
            outbox.turn = turn
            outbox.masked = is_client
            self.outbox = outbox
        else:
            claimed = chain.claimed
            self.outbox = ChainOut(turn, is_client, chain, self, limits.max_write)
            sink = ChainIn(self.messages, self, chain)
        if callbacks.frame is not None:
            sink = FrameTap(sink, self)
        if limits.metered:
            sink = self.meter = Meter(sink, self, limits)
        parser = Parser.__new__(Parser)
        parser.sink = sink
        parser.expect_masked = not is_client
        parser.reserved = 0x70 & ~claimed
        parser.max_frame_size = self.frame_limit(limits)
        self.parser = parser
        self.limits = limits
        self.max_messages = limits.queue_messages
        self.max_bytes = limits.queue_bytes
        self.high_water = limits.high_water
        self.low_water = limits.low_water
        self.max_write = limits.max_write
        self.max_pings = limits.pings
        if limits.slow:
            self.impatient = limits.slow == CLOSE
            if not self.impatient:
                self.backlog = Backlog(self, limits.slow == DROP_OLDEST)
                self.at_once = 0
        self.close_timeout = limits.close_timeout
        self.reading = True
        _made += 1
        self.id = _made
        return 0

    def _begin_with(self, owner, sub_protocol, tuple extensions, request, bint is_secure, url, response, addresses):
        """Whose it is and by which handshake: once, behind the constructor."""
        self._owner = owner
        self.sub_protocol = sub_protocol
        self.extensions = extensions
        self.request = request
        self.is_secure = is_secure
        self._url = url
        self.response = response
        self._addresses = addresses

    def _extra(self, name):
        """What the transport tells of itself; None once it is gone."""
        return None if self.transport is None else self.transport.get_extra_info(name)

    cdef long long frame_limit(self, Limits limits) noexcept:
        """Bytes of a frame; below zero: none."""
        if self.raw and limits.frame < 0 and limits.text >= 0 and limits.binary >= 0:
            # Nothing else bounds what a frame takes.
            return max(limits.text, limits.binary)
        return limits.frame

    def _limit(self, Limits limits not None, str doing):
        """Have *limits* hold from now on in place of those before: sizes and keepalive, nothing else of it."""
        cdef Limits before = self.limits
        self.check_thread(doing)
        self.limits = limits
        if self.parser is not None:
            self.parser.max_frame_size = self.frame_limit(limits)
            if self.messages is not None:
                self.messages.limit_to(limits)
        if self.transport is not None and (
                self.guard is not None or limits.first < INFINITY or self.outbox.blocked):
            if self.guard is not None:
                self.guard.changed(before)
            self.guarded().soon(monotonic())

    @property
    def policy(self):
        """The limits in force (`WebSocketPolicy`)."""
        return self.limits.policy

    def wait_finished(self):
        """Resolves behind on_close."""
        if self.finished is None:
            self.finished = Wait(self.loop)
            if self.told == 4:
                self.finished.resolve(None)
        return self.finished

    cdef int idle(self) except -1:
        """All that came has been delivered and no message callback is pending."""
        if self.lost:
            if not self.told:
                self.told = 1
                self.stop_timer()
                if self._inbox is not None:
                    self._inbox.end()
                self.tell()
        elif self.terminal and self._state == OPEN:
            if self.terminal == EOF_CAME and self._inbox is not None and not (self.is_client or self.raw) \
                    and self._inbox.owes():
                return 0  # a handler may answer what came before, as callbacks may: until it asks for more
            self.take_terminal()
        return 0

    cdef int callback_failed(self, object error) except -1:
        """A callback raised: the connection ends with 1011, and the peer is not told why."""
        if isinstance(error, asyncio.CancelledError):
            return 0
        # What the peer did wrong is the reader's to see, and no fault of who lets it pass.
        if self._state != OPEN and (
                is_of_the_end(error) or (self.terminal != NOTHING and isinstance(error, ProtocolError))):
            _log.debug("%r: a callback met the end of the connection: %s", self, error)
            return 0
        self._failures += 1
        _log.error("%r: a callback raised", self, exc_info=(type(error), error, error.__traceback__))
        self._fail(error)
        return 0

    def _fail(self, error):
        """End with 1011 for an error that is raised, or logged, elsewhere."""
        if self.error is None and not self.told:
            self.error = error
        self.begin_end(FAULT)
        if self._state == OPEN:
            self.forget()
            self.send_close(close_payload(CloseCode.INTERNAL_ERROR, ""), CloseReason(CloseCode.INTERNAL_ERROR, ""))

    # ---- beginning and end ---------------------------------------------------------------------------------------

    cdef int opened(self, object transport, int fd) except -1:
        """The handshake is done: deliver to on_accept, then whatever comes."""
        if self.lost:
            transport.abort()
            return 0
        self.transport = transport
        self.outbox.attach(transport, fd)
        self._state = OPEN
        self.begun = self.read_at = monotonic()
        if self.limits.first < INFINITY:
            self.guarded().soon(self.begun + self.limits.first)
        if self.callbacks.accept is not None:
            self.inside = True
            self.cork()
            try:
                self.watch(self.steps.start(self.callbacks.accept(self)))
            except (KeyboardInterrupt, SystemExit) as error:
                self.interrupted(error)
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
        if self.meter is not None:
            self.meter.release()
        self.cut()
        if self.backlog is not None:
            self.backlog.clear()
        self._state = CLOSED
        self.transport = None
        self.stop_timer()
        if error is not None and self.error is None and self.ending == NOT_ENDING:
            self.error = error
        self.ended_with(error)
        if self.guard is not None:
            self.guard.end()
            self.guard = None
        if self.terminal == NOTHING:
            self.terminal = EOF_CAME
        if self.closed is not None:
            self.closed.resolve(self.close_reason)
        self.settle_waits()
        self.told_end()
        self.hold &= ~DRAINING
        if self.hold & (QUEUED | PENDING | PAUSED) or self.rest is not None:
            # What had arrived is still handed over; a pause, or a full inbox, holds for close_timeout at most.
            if self.hold & (PAUSED | FULL | CROWDED) and self.close_timeout is not None:
                self.wait_on()
        if not self.inside:
            self.enter()
            self.leave()
        return 0

    cdef int never_opened(self) except -1:
        """Ended before it began: no callback has heard of it, and none hears of its end."""
        if self.told == 0:
            self.told = 4
            if self._inbox is not None:
                self._inbox.end()
            self.gone(None)
            self.parser = None
            self.messages = None
            if self.finished is not None:
                self.finished.resolve(None)
        return 0

    cdef bint reader_took(self) except -1:
        return self._inbox is not None and self._inbox.took_since()

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
        if self.stream is not None:
            self.stream.cut(self.closed_error("send"))
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
            if self.steps.inside:
                self.steps.leave()
            try:
                result = self.steps.start(callback(self, argument))
            except (KeyboardInterrupt, SystemExit) as error:
                self.interrupted(error)
                continue
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
            self.forgotten()
        return 0

    def _task_done(self, task):
        Sender._task_done(self, task)
        # on_accept may go on for longer than its connection.
        if self.told == 4 and not self.tasks:
            self.forgotten()

    cdef int heard(self, double seconds) except -1:
        self.latency = seconds
        if not self.is_client and self._owner is not None:
            self._owner.answered(seconds)
        return 0

    cdef int forgotten(self) except -1:
        """The last callback has ended: tell whoever keeps us."""
        if self._owner is not None:
            self._owner.ended(self)
        return 0

    def _told(self, result):
        self.tell()

    # ---- how it stands -------------------------------------------------------------------------------------------

    @property
    def _message_callbacks(self):
        """Messages go to callbacks (bool)."""
        cdef Callbacks callbacks = self.callbacks
        return callbacks.message is not None or callbacks.text is not None or callbacks.binary is not None

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
        """Cancel what still runs, and say what that was; for the end of a server's grace."""
        found = [self.pending, *(self.tasks or ())]
        running = [task for task in found if hasattr(task, "cancel") and task not in spared]
        for task in running:
            task.cancel()
        return running

    def _times(self):
        """Monotonic seconds: opened, ended, last read, last write; 0 where not yet."""
        return self.begun, self.over, self.read_at, self.write_at
