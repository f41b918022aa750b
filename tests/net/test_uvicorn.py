"""uvicorn's own server over sockets, with our class for its websockets: `uvicorn app:app --ws …:WebSocketProtocol`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket as sockets_of
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from asgi_apps import sockets
from script import once
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from support import (
    CLOSE,
    PING,
    TEXT,
    close_frame,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
)

import firefly_ws
from firefly_ws import ConnectionClosedError, ConnectionClosedOK, HandshakeError, http_client
from firefly_ws.asgi import WebSocketProtocol
from firefly_ws.farewell import _seldom


class Served:
    """A running uvicorn."""

    def __init__(self, server: uvicorn.Server, scheme: str) -> None:
        self.server = server
        self.state = server.server_state
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.task: asyncio.Task[None]

    def socket(self, path: str) -> Any:
        return http_client().websocket(self.url + path)

    async def end(self) -> None:
        self.server.should_exit = True
        await soon(self.task)


@asynccontextmanager
async def uvicorn_of(app: Any, scheme: str = "ws", **options: Any) -> AsyncIterator[Served]:
    """*app* on uvicorn, on this loop."""
    options = {"host": "127.0.0.1", "port": 0, "log_config": None, "ws": WebSocketProtocol, **options}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started or task.done())
        served = Served(server, scheme)
        served.task = task
        yield served
        await served.end()
        assert not served.state.connections
        assert not served.state.tasks
    finally:
        server.should_exit = server.force_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await soon(task)


async def test_messages_and_the_close_go_both_ways_below_h11_and_httptools() -> None:  # W1
    app = sockets()
    for http, deflate in (("httptools", True), ("h11", False)):
        async with uvicorn_of(app, http=http, ws_per_message_deflate=deflate) as served:
            builder = served.socket("/echo").extensions(["permessage-deflate"])
            async with builder.connect() as connection:
                assert connection.response.headers["x-own"] == "1"
                assert connection.response.headers["server"] == "uvicorn"
                assert "date" in connection.response.headers
                assert len(connection.extensions) == deflate
                for message in ("text", b"bytes", "ä" * 300, b"", "", bytes(300_000)):
                    connection.send(message)
                    assert await soon(connection.receive()) == message
                await connection.close(3333, "enough")
            await eventually(lambda: hasattr(app.state, "left"))
            assert app.state.left == (3333, "enough")
            del app.state.left
            connection = await served.socket("/echo").connect()
            connection.terminate()
            await eventually(lambda: hasattr(app.state, "left"))
            assert app.state.left[0] == 1006
            del app.state.left
            await eventually(lambda: not served.state.connections)
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{served.port}/none")).status_code == 404


async def test_over_tls_the_scope_says_wss(certificate: Path, contexts: Any) -> None:
    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json([websocket.url.scheme, await websocket.receive_text()])
        await websocket.close(1001)

    starlette = Starlette(routes=[WebSocketRoute("/", app)])
    async with (
        uvicorn_of(starlette, "wss", ssl_certfile=certificate) as served,
        served.socket("/").ssl(contexts[1]).connect() as connection,
    ):
        connection.send("x" * 100_000)
        assert await soon(connection.receive()) == f'["wss","{"x" * 100_000}"]'
        with pytest.raises(ConnectionClosedOK):
            await soon(connection.receive())


async def test_the_scope_is_asgis_and_uvicorns_log_has_the_request() -> None:
    scopes: list[dict[str, Any]] = []

    @asynccontextmanager
    async def life(app: Any) -> AsyncIterator[dict[str, str]]:
        yield {"db": "open"}

    async def app(websocket: WebSocket) -> None:
        scopes.append(dict(websocket.scope))
        await websocket.accept("b")
        await websocket.send_json([websocket.cookies, websocket.state.db])
        await websocket.close(3001, "bye")

    starlette = Starlette(routes=[WebSocketRoute("/x y", app)], lifespan=life)
    with logged("uvicorn.error", logging.INFO) as records:
        logging.getLogger("uvicorn.error").setLevel(logging.INFO)
        async with uvicorn_of(starlette, root_path="/api", headers=[("x-all", "1")], server_header=False) as served:
            connection = await served.socket("/x%20y?a=%20b").sub_protocols(["a", "b"]).cookies({"c": "d"}).connect()
            assert connection.response.headers["x-all"] == "1"
            assert "server" not in connection.response.headers
            assert connection.sub_protocol == "b"
            assert await soon(connection.receive()) == '[{"c":"d"},"open"]'
            with pytest.raises(ConnectionClosedError) as closed:
                await soon(connection.receive())
            assert closed.value.received == (3001, "bye")
    [scope] = scopes
    host, port = scope["client"]
    expected = {
        "type": "websocket", "http_version": "1.1", "scheme": "ws", "root_path": "/api", "path": "/api/x y",
        "raw_path": b"/api/x%20y", "query_string": b"a=%20b", "server": ("127.0.0.1", served.port),
        "subprotocols": ["a", "b"], "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    assert {key: scope[key] for key in expected} == expected
    assert scope["asgi"]["version"] == "3.0"
    assert (b"cookie", b"c=d") in scope["headers"]
    lines = [record.getMessage() for record in records]
    assert f'{host}:{port} - "WebSocket /api/x%20y?a=%20b" [accepted]' in lines


async def test_refusals_are_403_or_the_applications_own_answer_or_500() -> None:
    async with uvicorn_of(sockets()) as served:
        cases = (
            ("/refused", 403, b"Forbidden"), ("/user", 401, b"who are you?"), ("/none", 403, b""),
            ("/raises-first", 500, b"Internal"),
        )  # fmt: skip
        with logged("uvicorn.error") as records:
            for path, status, words in cases:
                with pytest.raises(HandshakeError) as refused:
                    await served.socket(path).connect()
                assert refused.value.status == status, path
                assert words in refused.value.body, path
                assert refused.value.headers.get("x-why") == ("token" if status == 401 else None), path
                assert refused.value.headers["server"] == "uvicorn", path
            async with raw_client(served.port) as peer:
                peer.send(upgrade("/echo", sec_websocket_version="12"))
                assert (await peer.answer()).status == 426
        said = [record.getMessage() for record in records]
        assert len(said) == 2
        assert "/raises-first, raised" in said[0]
        assert "426" in said[1]


async def test_the_end_of_the_application_is_the_connections() -> None:
    async with uvicorn_of(sockets()) as served:
        connection = await served.socket("/returns").connect()
        with pytest.raises(ConnectionClosedOK):
            await soon(connection.receive())
        with logged("uvicorn.error") as records:
            connection = await served.socket("/raises").connect()
            assert (await soon(connection.wait_closed())).code == 1011
            await eventually(lambda: records)
        assert "raised" in records[0].getMessage()


async def test_limits_are_those_of_uvicorns_options() -> None:
    app = sockets()
    async with uvicorn_of(app, ws_max_size=1000, ws_ping_interval=0.01) as served:
        async with served.socket("/echo").connect() as connection:
            connection.send("x" * 1001)
            with pytest.raises(ConnectionClosedError) as closed:
                await soon(connection.receive())
            what = "a message of at least 1001 bytes exceeds --ws-max-size=1000; raise it with --ws-max-size"
            assert closed.value.received == (1009, what)
        async with raw_client(served.port) as peer:
            peer.send(upgrade("/echo"))
            await peer.head()
            assert (await peer.frame())[0] == 0x80 | PING
    async with uvicorn_of(app, ws_ping_interval=0.01, ws_ping_timeout=0.02) as served:
        _seldom._last.clear()
        with logged("firefly_ws.connection") as records:
            async with raw_client(served.port) as peer:
                peer.send(upgrade("/echo"))
                await peer.head()
                await eventually(lambda: records)
    assert "more than --ws-ping-interval + --ws-ping-timeout = 0.03 s" in records[0].getMessage()


async def test_reading_pauses_while_the_application_does_not_receive_and_sending_while_the_client_does_not() -> None:
    app = sockets()
    go = asyncio.Event()

    @app.websocket("/slow")
    async def slow(websocket: WebSocket) -> None:
        await websocket.accept()
        await go.wait()
        app.state.got = [len(await websocket.receive_bytes()) for _ in range(40)]

    async with uvicorn_of(app, ws_max_queue=4) as served:
        async with raw_client(served.port) as peer:
            peer.writer.get_extra_info("socket").setsockopt(sockets_of.SOL_SOCKET, sockets_of.SO_SNDBUF, 65536)
            peer.send(upgrade("/slow"), b"")
            await peer.head()
            peer.send(frame(2, bytes(500_000)) * 40)
            [protocol] = served.state.connections
            inbox = protocol._connection._inbox
            await eventually(lambda: inbox.size)
            for _ in range(3):
                await asyncio.sleep(0.01)
                assert inbox.size <= 1.5 * 2**20
                assert peer.writer.transport.get_write_buffer_size()
            go.set()
            await eventually(lambda: hasattr(app.state, "got"))
            assert app.state.got == [500_000] * 40
        async with raw_client(served.port, limit=1000) as peer:
            peer.send(upgrade("/floods"))
            await peer.head()
            before = -1
            while before != getattr(app.state, "sent", 0):
                before = getattr(app.state, "sent", 0)
                await asyncio.sleep(0.02)
            assert before
            peer.writer.transport.abort()
            await eventually(lambda: hasattr(app.state, "left"))


async def test_frames_behind_the_handshake_wait_for_the_decision_and_a_client_may_leave_before_it() -> None:
    go = asyncio.Event()
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        said.append((await receive())["type"])
        await go.wait()
        if scope["path"] == "/left":
            said.append(f"{await receive()}")
            try:
                await send({"type": "websocket.accept"})
            except OSError as error:
                said.append(type(error).__name__)
            return
        await send({"type": "websocket.accept"})
        for _ in range(2):
            await send({"type": "websocket.send", "text": (await receive())["text"]})

    async with uvicorn_of(app, lifespan="off") as served:
        async with raw_client(served.port) as peer:
            peer.send(upgrade("/"))
            await eventually(lambda: said)
            for text in ("a", "b"):
                peer.send(frame(TEXT, text))
                await asyncio.sleep(0.01)
            go.set()
            assert (await peer.head()).status == 101
            assert [await peer.frame() for _ in range(3)] == [(0x81, b"a"), (0x81, b"b"), (0x88, b"\x03\xe8")]
        go.clear()
        async with raw_client(served.port) as peer:
            peer.send(upgrade("/left"))
            await eventually(lambda: len(said) == 2)
        await eventually(lambda: not served.state.connections)
        go.set()
        await eventually(lambda: not served.state.tasks)
        gone = {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        assert said[2:] == [f"{gone}", "ClientDisconnected"]


async def test_at_uvicorns_end_clients_get_1012_and_the_application_what_came_before_it() -> None:
    said: list[Any] = []
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/undecided":
            said.append(await receive())
            return
        await send({"type": "websocket.accept"})
        if scope["path"] == "/waits":
            await go.wait()
        while (event := await receive())["type"] == "websocket.receive":
            said.append(event["text"])
        said.append(event["code"])

    async with uvicorn_of(app, lifespan="off") as served:
        async with contextlib.AsyncExitStack() as stack:
            silent, waits, undecided = [await stack.enter_async_context(raw_client(served.port)) for _ in range(3)]
            for peer, path in ((silent, "/"), (waits, "/waits"), (undecided, "/undecided")):
                peer.send(upgrade(path))
            await silent.head()
            await waits.head()
            waits.send(frame(TEXT, "before"))
            protocols = list(served.state.connections)
            await eventually(lambda: any(one._connection and len(one._connection._inbox) for one in protocols))
            served.server.should_exit = True
            assert await silent.frame() == (0x80 | CLOSE, b"\x03\xf4")
            # It has not answered, and the application has heard of it all the same.
            await eventually(lambda: 1012 in said)
            assert (await undecided.answer()).status == 500
            assert await waits.frame() == (0x80 | CLOSE, b"\x03\xf4")
            go.set()
            await eventually(lambda: said.count(1012) == 2)
            assert said.index("before") < len(said) - 1
            for peer in (silent, waits):
                peer.send(close_frame(1012))
                assert await peer.rest() == b""
        await served.end()
        assert {"type": "websocket.disconnect", "code": 1006, "reason": ""} in said


async def test_what_runs_on_behind_uvicorns_patience_is_cancelled_and_its_connection_ended() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await asyncio.sleep(60)

    async with uvicorn_of(app, lifespan="off", timeout_graceful_shutdown=0) as served, raw_client(served.port) as peer:
        peer.send(upgrade("/"))
        await peer.head()
        with logged("uvicorn.error"):
            await served.end()
        with contextlib.suppress(ConnectionResetError):
            assert await peer.rest() == close_frame(1012, mask=None)
        await eventually(lambda: not served.state.connections)


async def test_a_loop_whose_tasks_begin_eagerly_makes_no_difference() -> None:
    loop = asyncio.get_running_loop()
    if not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("Python 3.12 has eager tasks")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "at once"})
        await receive()
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    def begin(loop: Any, coroutine: Any, eager_start: bool = True, **options: Any) -> Any:
        # uvloop says eager_start, which Python's own factory does not take before 3.13.3.
        return asyncio.eager_task_factory(loop, coroutine, **options)

    async with uvicorn_of(app, lifespan="off", reset_contextvars=True) as served:
        loop.set_task_factory(begin)
        try:
            async with served.socket("/").connect() as connection:
                assert await soon(connection.receive()) == "at once"
                connection.send("x")
                assert await soon(connection.receive()) == "x"
        finally:
            loop.set_task_factory(None)


@once
async def test_what_is_not_uvicorns_is_refused_with_what_to_install() -> None:
    for config in (None, object()):
        with pytest.raises(TypeError, match=r"pip install 'firefly-ws\[uvicorn\]'"):
            WebSocketProtocol(config, None, {})  # type: ignore[arg-type]
    config = uvicorn.Config(sockets(), ws_max_queue=0, log_config=None, ws=WebSocketProtocol)
    with pytest.raises(ValueError, match=r"ws_max_queue cannot hold: max_queue=0 must be at least 1"):
        WebSocketProtocol(config, uvicorn.Server(config).server_state, {})


@once
async def test_the_command_serves_and_ends_by_a_signal(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(
        textwrap.dedent(
            """
            async def app(scope, receive, send):
                assert scope["type"] == "websocket"
                await receive()
                await send({"type": "websocket.accept"})
                while (event := await receive())["type"] == "websocket.receive":
                    await send({"type": "websocket.send", "text": event["text"]})
            """
        )
    )
    with sockets_of.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", "chat:app", "--fd", str(listening.fileno()),
            "--ws", "firefly_ws.asgi:WebSocketProtocol",
            pass_fds=[listening.fileno()], cwd=tmp_path, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(firefly_ws.__file__).parents[1])},
        )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            connection = await http_client().websocket(f"ws://127.0.0.1:{port}/echo").open_timeout(30).connect()
            connection.send("hello")
            assert await connection.receive() == "hello"
            process.send_signal(signal.SIGINT)
            assert (await connection.wait_closed()).code == 1012
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert b'"WebSocket /echo" [accepted]' in said
    assert b"Finished server process" in said
    assert b"Traceback" not in said
