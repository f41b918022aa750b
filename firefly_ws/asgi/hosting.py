"""An ASGI application on one server: its lifespan, its requests and websockets, and the tasks they run in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from firefly_ws.errors import WebSocketConnectionException
from firefly_ws.handshake import Agreement, Refused, accept, check
from firefly_ws.options import ConnectionDefaults, ConnectionOptions, Settings

from .events import Application, ClientDisconnected
from .http import HttpCycle
from .lifespan import Lifespan, LifespanFailed
from .scope import http_scope, websocket_scope
from .websocket import WebSocketSession

if TYPE_CHECKING:
    from firefly_ws.connection import WebSocketConnection
    from firefly_ws.http.request import Request
    from firefly_ws.http.serving import Serving

__all__ = ["ApplicationOptions", "Handshake", "Hosted", "Mounted", "RequestDoor"]

_log = logging.getLogger("firefly_ws")


class Handshake(Protocol):
    """What a websocket's request is answered through."""

    def open(self, request: Request, settings: Settings, agreement: Agreement) -> WebSocketConnection:
        """Upgrade."""

    def answer(self, status: int, data: bytes, why: str) -> None:
        """Write an answer, and end the connection."""

    @property
    def local_address(self) -> Any:
        """Our end's."""


class ApplicationOptions(ConnectionOptions):
    """What holds for an application's websockets: the server's defaults, and messages wait to be received."""

    _receives = True


class Mounted:
    """What `.asgi` was given."""

    def __init__(
        self,
        app: Application,
        defaults: ConnectionDefaults,
        root_path: str,
        max_body_size: int | None,
        startup_timeout: float | None,
    ):
        self.app = app
        self.startup_timeout = startup_timeout
        self.root_path = root_path
        self.max_body_size = max_body_size
        self._options = ApplicationOptions(defaults)

    def on(self, loop: asyncio.AbstractEventLoop, quiet: Callable[[], object]) -> Hosted:
        """The application on a server that begins; *quiet* is called when a call has ended, from `Hosted.watch` on."""
        return Hosted(self, loop, quiet)

    def settings(self) -> Settings:
        """What holds for a websocket that begins now."""
        return self._options.current()


class Hosted:
    """The application on one server (`firefly_ws.http.exchange.Direct`)."""

    def __init__(self, mounted: Mounted, loop: asyncio.AbstractEventLoop, quiet: Callable[[], object]) -> None:
        self._mounted = mounted
        self._quiet = lambda task: quiet()
        self._watched = False
        self._app = mounted.app
        self._root_path = mounted.root_path
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._lifespan = Lifespan(mounted.app, loop)
        self._state: dict[str, Any] | None = None
        self.max_body_size = mounted.max_body_size

    # --- requests

    def begin(self, request: Request, serving: Serving) -> HttpCycle:
        """Take an HTTP request on."""
        scope = http_scope(request, self._root_path, serving.local_address, self._state)
        return HttpCycle(self._app, scope, request, serving)

    def task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run one of the application's calls; it may go on behind its connection, and ends with the server."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._watched:
            task.add_done_callback(self._quiet)
        return task

    def watch(self) -> None:
        """From now on somebody waits for *quiet*."""
        self._watched = True
        for task in self._tasks:
            task.add_done_callback(self._quiet)

    @property
    def is_busy(self) -> bool:
        """Some of its calls have not ended."""
        return bool(self._tasks)

    def websocket(self, handshake: Handshake, request: Request) -> WebSocketSession:
        """Take a websocket's request on: the session decides it. Raises `Refused` for one that RFC 6455 does not allow.

        Origins are the application's to judge.
        """
        check(request, ("*",))
        scope = websocket_scope(request, self._root_path, handshake.local_address, self._state)
        door = RequestDoor(handshake, request, self._mounted.settings())
        session = WebSocketSession(self._app, scope, door)
        door.session = session
        self.task(session.run())
        return session

    # --- its life

    async def startup(self, what: str) -> None:
        """Before the server listens, on *what*. Raises `WebSocketConnectionException` where it could not start."""
        try:
            await self._lifespan.startup(self._mounted.startup_timeout)
        except LifespanFailed as failed:
            raise WebSocketConnectionException(
                f"cannot listen on {what}: the ASGI application could not start: {failed}"
            ) from failed
        self._state = self._lifespan.state

    async def shutdown(self, grace: float | None, spared: Container[Any] = ()) -> None:
        """Behind the last connection: what still runs has *grace* seconds, and then the lifespan has its end.

        Tasks of *spared* are those that wait for this.
        """
        tasks = {task for task in self._tasks if task not in spared}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            if late:
                _log.warning("%d calls of the ASGI application ran on behind grace=%s s and were cancelled",
                             len(late), grace)  # fmt: skip
                for task in late:
                    task.cancel()
                await asyncio.wait(late, timeout=1)
        await self._lifespan.shutdown(grace)

    def abort(self) -> None:
        """End all now."""
        for task in list(self._tasks):
            task.cancel()
        self._lifespan.abort()


class RequestDoor:
    """`firefly_ws.asgi.websocket.Door` by a server's handshake."""

    session: WebSocketSession

    def __init__(self, handshake: Handshake, request: Request, settings: Settings) -> None:
        self._handshake = handshake
        self._request = request
        self._settings = settings

    def accept(self, sub_protocol: str | None, headers: Iterable[tuple[str, str]]) -> WebSocketConnection:
        """Upgrade."""
        settings = self._settings
        try:
            agreement = agree(self._request, settings, sub_protocol, headers)
        except Refused as refusal:
            self._handshake.answer(refusal.response.status, refusal.response.encode(), refusal.reason)
            self.session.gone()
            raise ClientDisconnected(f"the request was refused: {refusal.reason}") from None
        return self._handshake.open(self._request, settings, agreement)

    def deny(self, status: int, answer: bytes) -> None:
        """Answer otherwise."""
        self._handshake.answer(status, answer, "the ASGI application refused")


def agree(
    request: Request, settings: Settings, sub_protocol: str | None, headers: Iterable[tuple[str, str]]
) -> Agreement:
    """The answer of an application that accepts. Raises `Refused`, and ``ValueError`` for its headers."""
    return accept(
        request,
        extensions=settings.extensions,
        select_sub_protocol=lambda offered, _: sub_protocol,
        origins=("*",),
        headers=tuple(headers),
    )
