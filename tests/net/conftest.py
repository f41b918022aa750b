"""Both loops, plain and TLS, and what a test must not leave behind; knows nothing of what is tested."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import ipaddress
import logging
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from command import inside  # noqa: F401
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from peers import LIMIT, Peer, RawServer
from support import GRACE, timers

from firefly_ws import Server, WebSocketConnection, ending, http_client, http_server
from firefly_ws.per_loop import runtime_of


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every async test here runs on both; `@once` of `script` is for what runs in another process."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """TLS comes from the loop: uvloop's is asked by default, asyncio's with what is slow."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if params.get("net") == "tls" and asyncio.new_event_loop in params.values():
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> None:
    """A collection behind each test looks at what the tests of its file have made, not at what was there before."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _made_once() -> None:
    """The pipe that libuv makes for signals with its first loop, and keeps."""
    uvloop.new_event_loop().close()


@pytest.fixture(autouse=True)
def _no_descriptor_or_thread_stays(_made_once: None) -> Iterator[None]:
    """Asked when the test's own loop is closed: what is there then will always be."""
    before, threads = _descriptors(), set(threading.enumerate())

    def left() -> list[object]:
        return [*(_descriptors() - before), *(set(threading.enumerate()) - threads)]

    yield
    if not left():
        return
    gc.collect()
    deadline = time.monotonic() + GRACE
    while left() and time.monotonic() < deadline:  # a process that was killed, a thread that was told to stop
        time.sleep(0.005)
    assert not left(), left()


def _descriptors() -> Counter[str]:
    """What this process has open, by what it is; many are of one kind, as what a loop waits with."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one of this listing
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
    return found


@pytest.fixture(scope="session", autouse=True)
def _short_moments() -> Iterator[None]:
    """What a test has left half open is not waited for at the end of its server."""
    moment, ending.MOMENT = ending.MOMENT, 0.05
    yield
    ending.MOMENT = moment


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away certificate for 127.0.0.1 and localhost, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture(scope="session")
def contexts(certificate: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for the server, and for a client that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    return server, ssl.create_default_context(cafile=str(certificate))


class Net:
    """Servers, connections and raw peers of one test, all plain or all TLS."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
        self.server_context, self.client_context = contexts or (None, None)
        self.secure = contexts is not None
        self.servers: list[Server] = []
        self.peers: list[Peer | RawServer] = []
        self.connections: list[WebSocketConnection] = []

    def route(self) -> Any:
        """A server's route at "/", to be configured."""
        app = http_server()
        if self.server_context is not None:
            app.secure(self.server_context)
        return app.websocket("/")

    async def listen(self, route: Any, *, send_buffer: int | None = None) -> Server:
        """Listen; *send_buffer* bounds what the kernel takes from each connection."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        sock.bind(("127.0.0.1", 0))
        server: Server = await route.listen(sock=sock)
        self.servers.append(server)
        return server

    async def peer(self, server: Server, **options: Any) -> Peer:
        """A raw client of *server*."""
        assert server.port is not None
        peer = await Peer.connect(server.port, self.client_context, **options)
        self.peers.append(peer)
        return peer

    async def serve(self, route: Any, *, send_buffer: int | None = None, **options: Any) -> Peer:
        """Listen, and a raw client of it."""
        return await self.peer(await self.listen(route, send_buffer=send_buffer), **options)

    async def raw_server(self, behind: bytes = b"") -> RawServer:
        """A raw server for our client; *behind* leaves with its handshake."""
        server = await RawServer().start(self.server_context, behind)
        self.peers.append(server)
        return server

    def builder(self, server: Server | RawServer) -> Any:
        """A client's builder for *server*."""
        if self.client_context is None:
            return http_client().ws("127.0.0.1", server.port, "/")
        return http_client().wss("127.0.0.1", server.port, "/").ssl(self.client_context)

    async def connect(self, server: Server | RawServer, configure: Callable[[Any], Any] | None = None) -> Any:
        """A connection of our client."""
        builder = self.builder(server)
        if configure is not None:
            configure(builder)
        connection = await builder.connect()
        self.connections.append(connection)
        return connection

    async def end(self) -> None:
        """Close everything there is."""
        for connection in self.connections:
            connection.terminate()
        for peer in self.peers:
            await peer.end()
        for server in self.servers:
            await server.close(grace=0.2)


@pytest.fixture(params=["plain", "tls"])
async def net(request: pytest.FixtureRequest, contexts: Any, caplog: Any) -> AsyncIterator[Net]:
    """`Net` both ways."""
    async for one in _checked(Net(contexts if request.param == "tls" else None), caplog):
        yield one


@pytest.fixture
async def plain(caplog: Any) -> AsyncIterator[Net]:
    """`Net` over plain TCP alone, for what TLS cannot do or would only repeat."""
    async for one in _checked(Net(None), caplog):
        yield one


async def _checked(net: Net, caplog: Any) -> AsyncIterator[Net]:
    loop = asyncio.get_running_loop()
    caplog.set_level(logging.DEBUG, "firefly_ws")
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    tasks, sockets, scheduled = asyncio.all_tasks(), _sockets(), timers(loop)

    def left() -> list[object]:
        """Tasks, sockets, timers, servers and connections that were not there before."""
        running = {asyncio.current_task()}
        found = [*(asyncio.all_tasks() - tasks - running), *(_sockets() - sockets), *timers(loop, scheduled)]
        return [*found, *runtime_of(loop).tracked]

    yield net
    async with asyncio.timeout(2 * LIMIT):
        await net.end()
    deadline = loop.time() + GRACE
    while loop.time() < deadline and left():  # noqa: ASYNC110 -- nothing tells of a socket's end
        await asyncio.sleep(0.005)
    # What was dropped without being awaited complains now, or never.
    gc.collect()
    await asyncio.sleep(0)
    assert not left(), left()
    assert not unhandled


def _sockets() -> set[str]:
    """The TCP sockets of this process; a loop has others of its own."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as sock:
                    if sock.family == socket.AF_INET:
                        found.add(f"{target} {sock.getsockname()}")
        except OSError:
            continue
    return found


@pytest.fixture
def errors(caplog: Any) -> Callable[[], list[str]]:
    """What the library has logged at ERROR."""
    return lambda: [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
