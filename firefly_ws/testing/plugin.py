"""pytest's fixtures `firefly_server` and `firefly_client`; the only file of the library that knows pytest.

pytest finds it by its entry point. With pytest-asyncio the fixtures are its own kind,
whatever its mode; without it, and for anyio's tests, they are plain ones, which anyio's plugin runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest

from firefly_ws.client_builder import WebSocketClient, http_client
from firefly_ws.connection import WebSocketConnection
from firefly_ws.server import Server
from firefly_ws.server_builder import HttpServer, WebSocketRoute

from .in_memory import MemoryServer, connect_in_memory

__all__ = ["Clients", "Servers", "firefly_client", "firefly_server", "pytest_fixture_setup"]

GRACE = 1.0  # seconds for peers to answer a Close when a test is over

fixture: Callable[..., Any]
try:
    from pytest_asyncio import fixture
except ImportError:
    fixture = pytest.fixture


class Servers:
    """What `firefly_server` gives: call it with a server's builder, and await the `Server`."""

    def __init__(self) -> None:
        self._loop = _running("firefly_server")
        self._servers: list[Server] = []

    def __call__(
        self, server: HttpServer | WebSocketRoute, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> Server:
        """Listen on *host* and a free port, or as ``listen`` is told; closed when the test is over."""
        if not isinstance(server, (HttpServer, WebSocketRoute)):
            raise TypeError(f"server={server!r} must be a server's builder, as http_server().websocket(path)")
        _same_loop(self._loop, "firefly_server")
        address = () if {"sock", "path"} & options.keys() else (host, port)
        started: Server = server.listen(*address, **options)
        self._servers.append(started)
        return started

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(server.close(grace=GRACE) for server in self._servers))


class Clients:
    """What `firefly_client` gives: call it with where to connect to, and await the `WebSocketConnection`."""

    def __init__(self) -> None:
        self._loop = _running("firefly_client")
        self._connections: list[WebSocketConnection] = []

    async def __call__(self, to: Server | WebSocketClient | str, path: str = "/") -> WebSocketConnection:
        """Connect to a `Server` at *path*, to a URL, or as a client's builder says; closed when the test is over."""
        _same_loop(self._loop, "firefly_client")
        if isinstance(to, Server):
            await to
        if isinstance(to, MemoryServer):
            connection = await connect_in_memory(to, path)
        else:
            connection = await _builder(to, path).connect()
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        """Close all of them with 1000; end those that do not answer."""
        ends = [asyncio.ensure_future(connection.close()) for connection in self._connections]
        if ends:
            _, late = await asyncio.wait(ends, timeout=GRACE)
            for connection in self._connections:
                connection.terminate()
            if late:
                await asyncio.wait(late)


def _builder(to: Server | WebSocketClient | str, path: str) -> WebSocketClient:
    if isinstance(to, (WebSocketClient, str)):
        if path != "/":
            raise ValueError(f"path={path!r} goes with a Server; a URL and a builder have theirs")
        return http_client().websocket(to) if isinstance(to, str) else to
    if not isinstance(to, Server):
        raise TypeError(f"to={to!r} must be a Server, a URL, or a client's builder, not {type(to).__name__}")
    if to._app.ssl_context or to._app.config.ssl:
        raise ValueError(
            f"to={to!r} speaks TLS, and its certificate is to be trusted: give a client's builder, as "
            "http_client().wss(host, port, path).ssl(context)"
        )
    for address in to.addresses:
        if isinstance(address, tuple):
            return http_client().websocket(address[0], address[1], path)
    raise ValueError(f"to={to!r} has no TCP port; give a client's builder")


def _running(name: str) -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            f"{name} needs asyncio's event loop, and an async test; a test of anyio's that is run by trio as well "
            "says so by a fixture: def anyio_backend(): return 'asyncio'"
        ) from None


def _same_loop(loop: asyncio.AbstractEventLoop, name: str) -> None:
    if _running(name) is not loop:
        raise RuntimeError(
            f"{name} belongs to another event loop than the test; give both the same scope, as by "
            "asyncio_default_fixture_loop_scope in pytest's settings, and leave asyncio_mode strict beside anyio"
        )


async def _servers(**_: Any) -> AsyncIterator[Servers]:
    servers = Servers()
    yield servers
    await servers.close()


async def _clients(firefly_server: Servers, **_: Any) -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    await clients.close()


@fixture
async def firefly_server() -> AsyncIterator[Servers]:
    """Begins servers on free ports of 127.0.0.1: ``server = await firefly_server(builder)``; closes them at the end."""
    async for servers in _servers():
        yield servers


@fixture
async def firefly_client(firefly_server: Servers) -> AsyncIterator[Clients]:
    """Connects: ``connection = await firefly_client(server, "/path")``; closes with 1000 at the end, before servers."""
    async for clients in _clients(firefly_server):
        yield clients


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Generator[None, object, object]:
    """Give a test of anyio's what anyio runs, though pytest-asyncio, on a loop of its own, would run it as well.

    An older pytest-asyncio has added arguments of its own by then, which nobody reads.
    """
    plain = {"firefly_server": _servers, "firefly_client": _clients}.get(fixturedef.argname)
    ours = fixturedef.func.__module__ == __name__
    if plain is None or not ours or "anyio_backend" not in request.fixturenames:
        return (yield)
    given = fixturedef.func
    fixturedef.func = plain
    try:
        return (yield)
    finally:
        fixturedef.func = given
