"""uvicorn's websocket connections by this library: ``uvicorn app:app --ws firefly_ws.asgi:WebSocketProtocol``.

Knows of uvicorn what it hands over (a config, its server's state, and a transport with the head of one
request), and imports nothing of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import quote

from firefly_ws._core.protocol import Protocol as Connected
from firefly_ws._core.steps import Steps
from firefly_ws.codes import CloseCode
from firefly_ws.connection import WebSocketConnection
from firefly_ws.handshake import Refused, check
from firefly_ws.http.head import BadRequest, RequestHead
from firefly_ws.options import ConnectionDefaults
from firefly_ws.policy import MIB, WebSocketPolicy
from firefly_ws.turns import PerLoop, turn_of

from .hosting import ApplicationOptions, RequestDoor
from .scope import websocket_scope
from .websocket import WebSocketSession

if TYPE_CHECKING:
    from firefly_ws.handshake import Agreement
    from firefly_ws.http.request import Request
    from firefly_ws.http.response import Response
    from firefly_ws.options import Settings

    from .events import Application

__all__ = ["WebSocketProtocol"]

_log = logging.getLogger("uvicorn.error")
_LINGER = 1.0  # seconds that a client has to read a refusal

_steps_of = PerLoop(Steps)


class UvicornConfig(Protocol):
    """What is read of ``uvicorn.Config``."""

    loaded: bool
    loaded_app: Any
    asgi_version: str
    root_path: str
    ws_max_size: int
    ws_max_queue: int
    ws_ping_interval: float | None
    ws_ping_timeout: float | None
    ws_per_message_deflate: bool

    def load(self) -> None:
        """Import the application."""


class ServerState(Protocol):
    """What is read and changed of uvicorn's server."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    default_headers: list[tuple[bytes, bytes]]


class _Session(WebSocketSession):
    """Says what it has to say where uvicorn's log is."""

    __slots__ = ()

    _log = _log


class WebSocketProtocol(asyncio.Protocol):
    """A websocket protocol class for `uvicorn <https://uvicorn.dev>`_, from 0.30 on.

    Given to it by ``--ws firefly_ws.asgi:WebSocketProtocol`` (from uvicorn 0.36 on) or ``uvicorn.run(app,
    ws=WebSocketProtocol)``; uvicorn makes one for each request for a websocket. Raises ``TypeError`` for a *config*
    that is not uvicorn's, ``ValueError`` for an option of uvicorn's that cannot hold.
    """

    __slots__ = (
        "__weakref__", "_app_state", "_config", "_connection", "_head", "_loop", "_rest", "_session", "_settings",
        "_shut", "_state", "_timer", "_transport",
    )  # fmt: skip

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._settings = _settings_of(config)
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._transport: Any = None
        self._head: RequestHead | None = RequestHead(None, None)  # uvicorn's HTTP has limited it
        self._rest = b""
        self._session: _Session | None = None
        self._connection: WebSocketConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._shut = False

    # --- until the application has decided, from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """From uvicorn's HTTP: it gives the connection up."""
        self._transport = transport
        self._state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """The head, as uvicorn's HTTP has read it; what comes behind it waits for the decision."""
        head = self._head
        if head is None:
            return  # answered: of a client that has not read it yet
        if self._session is not None:
            self._rest += data
            self._transport.pause_reading()
            return
        try:
            request = head.feed(data)
            if request is not None:
                self._rest = head.rest
                check(request, ("*",))
                self._ask(request)
        except BadRequest as error:
            self._refuse(error.response, error.why)
        except Refused as refusal:
            self._refuse(refusal.response, refusal.reason)

    def eof_received(self) -> None:
        """The client went away; the transport ends by itself."""

    def connection_lost(self, error: Exception | None) -> None:
        """Before an upgrade."""
        self._state.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            self._session.gone()

    def pause_writing(self) -> None:
        """Nothing but one answer is written here."""

    def resume_writing(self) -> None:
        """Nothing waits for it here."""

    # --- the application

    def _ask(self, request: Request) -> None:
        """Have the application decide."""
        transport, config = self._transport, self._config
        request.is_secure = bool(transport.get_extra_info("sslcontext"))
        request.remote_address = transport.get_extra_info("peername")
        scope = websocket_scope(request, config.root_path, self.local_address, self._app_state)
        scope["asgi"]["version"] = config.asgi_version
        door = RequestDoor(self, request, self._settings)
        app: Application = config.loaded_app
        self._session = door.session = _Session(app, scope, door)
        # Not at once: a task that begins eagerly would upgrade, and uvicorn's HTTP then set the transport's protocol.
        self._loop.call_soon(self._begin, door.session)

    def _begin(self, session: WebSocketSession) -> None:
        if self._transport.is_closing():
            return
        fresh = contextvars.Context() if getattr(self._config, "reset_contextvars", False) else None
        task = self._loop.create_task(session.run(), context=fresh)
        self._state.tasks.add(task)
        task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._state.tasks.discard(task)
        if task.cancelled() and self._connection is not None:
            # By uvicorn, whose patience is over.
            self._connection.terminate()

    def _say(self, what: str) -> None:
        """The line of uvicorn's access log."""
        if self._session is not None and _log.isEnabledFor(logging.INFO):
            scope = self._session._scope
            client = scope["client"]
            path, query = quote(scope["path"]), scope["query_string"].decode("latin-1")
            who = "" if client is None else "{}:{}".format(*client)
            _log.info('%s - "WebSocket %s" %s', who, f"{path}?{query}" if query else path, what)

    # --- its decision, from `RequestDoor`

    @property
    def local_address(self) -> Any:
        """Our end's address."""
        return self._transport.get_extra_info("sockname")

    def open(self, request: Request, settings: Settings, agreement: Agreement) -> WebSocketConnection:
        """It accepts."""
        transport, loop = self._transport, self._loop
        self._say("[accepted]")
        self._connection = connection = WebSocketConnection(
            self,
            settings.limits,
            settings.callbacks,
            _steps_of(loop),
            turn_of(loop),
            agreement,
            request,
            is_client=False,
            is_secure=request.is_secure,
        )
        transport.resume_reading()
        transport.write(self._with_defaults(agreement.head))
        agreement.head = b""  # the connection keeps the agreement, not the answer's bytes
        rest, self._rest = self._rest, b""
        Connected(connection).open(transport, rest)
        return connection

    def answer(self, status: int, data: bytes, why: str) -> None:
        """It does not: *data* is the answer."""
        self._say(str(status))
        self._head = None
        transport = self._transport
        transport.resume_reading()
        transport.write(self._with_defaults(data))
        if self._shut or not transport.can_write_eof():
            transport.close()
            return
        # What the client still sends would turn our answer into a reset: end our side, and read on for a moment.
        transport.write_eof()
        self._timer = self._loop.call_later(_LINGER, transport.abort)

    def _refuse(self, response: Response, why: str) -> None:
        _log.warning("refused a request for a websocket: %d, %s", response.status, why)
        self.answer(response.status, response.encode(), why)

    def _with_defaults(self, answer: bytes) -> bytes:
        """*answer* with the fields that uvicorn adds to each (``Date``, ``Server``, ``--header``), but for its own."""
        line, _, rest = answer.partition(b"\r\n")
        own = rest.partition(b"\r\n\r\n")[0].lower()
        fields = [
            b"%s: %s\r\n" % (name, value)
            for name, value in self._state.default_headers
            if not own.startswith(name.lower() + b":") and b"\r\n%s:" % name.lower() not in own
        ]
        return b"".join((line, b"\r\n", *fields, rest))

    # --- the end

    def shutdown(self) -> None:
        """uvicorn ends: Close with 1012 (RFC 6455 §7.4.2), 500 for a request that is not decided."""
        self._shut = True
        if self._session is not None:
            self._session.shut(CloseCode.SERVICE_RESTART)
        if self._connection is None:
            self._transport.close()

    def answered(self, seconds: float) -> None:
        """A Ping has been answered; from the connection."""

    def ended(self, connection: WebSocketConnection) -> None:
        """The connection has ended; from it."""
        self._state.connections.discard(self)


class _Options(ApplicationOptions):
    """Errors name what a user of uvicorn can set."""

    _names: ClassVar = {
        "max_message_size": "--ws-max-size",
        "ping_interval": "--ws-ping-interval",
        "ping_timeout": "--ws-ping-timeout",
    }


_made: weakref.WeakKeyDictionary[Any, Settings] = weakref.WeakKeyDictionary()


def _settings_of(config: UvicornConfig) -> Settings:
    """What uvicorn's options mean here: worked out once, with the first connection."""
    try:
        settings = _made.get(config)
    except TypeError:  # nothing that can be referred to weakly
        settings = None
    if settings is None:
        try:
            if not config.loaded:
                config.load()
            asked = {
                "ws_max_size": ("max_message_size", config.ws_max_size),
                # In bytes as elsewhere here: 32 of the largest messages would be half a gigabyte.
                "ws_max_queue": ("max_queue", (config.ws_max_queue, MIB)),
                "ws_ping_interval": ("ping_interval", config.ws_ping_interval or None),
                "ws_ping_timeout": ("ping_timeout", config.ws_ping_timeout or None),
            }
            deflate = config.ws_per_message_deflate
        except AttributeError as error:
            raise TypeError(
                f"config={config!r:.200} is not uvicorn's: WebSocketProtocol is for uvicorn (pip install "
                "'firefly-ws[uvicorn]'), as in: uvicorn app:app --ws firefly_ws.asgi:WebSocketProtocol"
            ) from error
        # ASGI's send waits above the high water mark, and a single message may be of any size, as with uvicorn.
        policy = WebSocketPolicy(max_write_buffer=None)
        for theirs, (ours, value) in asked.items():
            try:
                policy = policy.replace(**{ours: value})
            except (TypeError, ValueError) as error:
                raise type(error)(f"uvicorn's {theirs} cannot hold: {error}") from None
        defaults = ConnectionDefaults(policy, ["permessage-deflate"] if deflate else [])
        settings = _made[config] = _Options(defaults).current()
    return settings
