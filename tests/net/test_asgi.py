"""FastAPI and Starlette below `.asgi`, over sockets: HTTP, websockets, lifespan, on one port with our own routes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_apps import sockets
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from http_support import answer, request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from support import (
    CLOSE,
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

from firefly_ws import (
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeError,
    Server,
    WebSocketConnectionException,
    http_client,
    http_server,
)


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """*app* on a server, and a client of it."""
    async with (
        http_server().asgi(app, **options).listen("127.0.0.1", 0) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        yield server, client


def socket(server: Server, path: str) -> Any:
    return http_client().websocket(f"ws://127.0.0.1:{server.port}{path}")


# --- HTTP


async def test_fastapi_answers_what_no_route_takes() -> None:
    app = FastAPI()

    @app.get("/items/{number}")
    async def item(number: int, q: str = "none") -> dict[str, Any]:
        return {"number": number, "q": q}

    @app.post("/own")
    async def own(request: Request) -> dict[str, Any]:
        return {"size": len(await request.body())}

    @app.get("/sync")
    def sync() -> str:
        return "in a thread"

    builder = http_server().get("/own", lambda _: "ours").websocket("/chat").discard().asgi(app)
    async with (
        builder.listen("127.0.0.1", 0) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        assert (await client.get("/items/5?q=a%20b")).json() == {"number": 5, "q": "a b"}
        assert (await client.get("/items/x")).status_code == 422
        assert (await client.get("/own")).text == "ours"
        assert (await client.post("/own", content=b"x" * 3_000_000)).json() == {"size": 3_000_000}
        assert (await client.get("/sync")).json() == "in a thread"
        assert (await client.get("/chat")).status_code == 404
        async with socket(server, "/chat").connect() as connection:
            assert connection.is_open


async def test_streams_run_at_the_pace_of_the_reader() -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(200):
            sent += 65536
            yield bytes(65536)

    async def upload(request: Request) -> JSONResponse:
        size = count = 0
        async for piece in request.stream():
            size, count = size + len(piece), count + 1
        return JSONResponse({"size": size, "many": count > 3})

    app = Starlette(
        routes=[Route("/down", lambda _: StreamingResponse(pieces())), Route("/up", upload, methods=["POST"])]
    )
    async with serving(app) as (server, client):
        async with raw_client(server.port, limit=65536) as peer:
            peer.send(request(path="/down"))
            assert (await peer.head()).headers["transfer-encoding"] == "chunked"
            await asyncio.sleep(0.02)
            held = sent
            assert held < 200 * 65536
            await soon(peer.reader.readexactly(1_000_000))
            await eventually(lambda: sent > held)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield bytes(100_000)

        assert (await client.post("/up", content=body())).json() == {"size": 4_000_000, "many": True}


async def test_files_ranges_head_and_mounts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0123456789")
    app = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=tmp_path)),
            Route("/file", lambda _: FileResponse(tmp_path / "a.txt")),
            Route("/scope", lambda request: JSONResponse([request.scope["root_path"], request.url.path])),
        ]
    )
    async with serving(app, root_path="/api") as (_, client):
        got = await client.get("/static/a.txt", headers={"range": "bytes=2-4"})
        assert (got.status_code, got.text) == (206, "234")
        head = await client.head("/file")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")
        assert (await client.get("/file")).text == "0123456789"
        assert (await client.get("/static/none")).status_code == 404
        assert (await client.get("/scope")).json() == ["/api", "/api/scope"]


async def test_a_background_task_outlives_its_answer_and_the_connection_goes_on() -> None:
    hold, ended = asyncio.Event(), []

    async def later(name: str) -> None:
        await hold.wait()
        ended.append(name)

    async def fails() -> None:
        raise ValueError("behind the answer")

    app = Starlette(
        routes=[
            Route("/", lambda _: PlainTextResponse("now", background=BackgroundTask(later, "one"))),
            Route("/fails", lambda _: PlainTextResponse("fine", background=BackgroundTask(fails))),
        ]
    )
    async with serving(app) as (server, _):
        async with raw_client(server.port) as peer:
            peer.send(request(), request())
            assert [(await answer(peer)).body for _ in range(2)] == [b"now", b"now"]
            with logged() as records:
                peer.send(request(path="/fails"))
                assert (await answer(peer)).body == b"fine"
                await eventually(lambda: records)
            assert "raised behind its answer" in records[0].getMessage()
            peer.send(request())
            assert (await answer(peer)).body == b"now"
        closing = asyncio.ensure_future(server.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        hold.set()
        await soon(closing)
        assert ended == ["one"] * 3


async def test_a_client_that_leaves_is_told_to_receive_and_to_send() -> None:
    said: list[str] = []

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (event := await receive())["type"] != "http.disconnect":
            said.append(event["type"])
        said.append(event["type"])
        try:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        except OSError as error:
            said.append(type(error).__name__)
            raise

    async with serving(waits) as (server, _):
        with logged() as records:
            async with raw_client(server.port) as peer:
                peer.send(request())
                await eventually(lambda: said)
                peer.writer.transport.abort()
                await eventually(lambda: len(said) == 3)
            assert said == ["http.request", "http.disconnect", "ClientDisconnected"]
            assert not records
            said.clear()
            async with raw_client(server.port) as peer:
                # Half closed: it may still read, and an application that does not ask answers as ever.
                peer.send(request("POST", "/", b"body", content_length="9"))
                await eventually(lambda: said)
                peer.writer.write_eof()
                await eventually(lambda: "http.disconnect" in said)
            await eventually(lambda: len(said) > 2)


async def test_a_body_beyond_max_body_size_gets_413() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (event := await receive())["type"] == "http.request" and event["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async with serving(app, max_body_size=10) as (server, _):
        for fields in ({"content_length": "11"}, {"transfer_encoding": "chunked"}):
            async with raw_client(server.port) as peer:
                peer.send(request("POST", "/", **fields), b"" if "content_length" in fields else b"b\r\n" + bytes(11))
                assert (await answer(peer)).status == 413
        async with raw_client(server.port) as peer:
            peer.send(request("POST", "/", expect="100-continue", content_length="3"))
            assert (await peer.head()).status == 100
            peer.send(b"abc")
            assert (await answer(peer)).status == 200


# --- lifespan


async def test_startup_comes_before_listening_and_shutdown_behind_the_last_connection() -> None:
    said: list[str] = []

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        said.append("up")
        yield {"db": "open"}
        said.append("down")

    app = FastAPI(lifespan=life)

    @app.get("/")
    async def home(request: Request) -> str:
        return str(request.state.db)

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.state.db)
        with contextlib.suppress(WebSocketDisconnect):
            await websocket.receive_text()
        said.append("left")

    async with serving(app) as (server, client):
        assert said == ["up"]
        assert (await client.get("/")).json() == "open"
        connection = await socket(server, "/ws").connect()
        assert await soon(connection.receive()) == "open"
        await server.close()
        assert said == ["up", "left", "down"]
        assert (await connection.wait_closed()).code == 1001


async def test_a_startup_that_fails_is_the_error_of_listen() -> None:
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        raise ValueError("no database")
        yield

    with pytest.raises(WebSocketConnectionException, match=r"(?s)could not start: .*no database"):
        await http_server().asgi(FastAPI(lifespan=life)).listen("127.0.0.1", 0)


async def test_a_startup_that_never_ends_is_the_error_of_listen_behind_its_limit() -> None:
    ended = asyncio.Event()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        yield

    with pytest.raises(WebSocketConnectionException, match=r"could not start: .*startup_timeout=0\.02 s"):
        await soon(http_server().asgi(FastAPI(lifespan=life), startup_timeout=0.02).listen("127.0.0.1", 0))
    assert ended.is_set()


async def test_a_port_that_is_taken_ends_the_lifespan_too() -> None:
    said: list[str] = []

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        said.append("up")
        yield
        said.append("down")

    async with http_server().listen("127.0.0.1", 0) as server:
        with pytest.raises(WebSocketConnectionException, match="cannot listen"):
            await http_server().asgi(FastAPI(lifespan=life)).listen("127.0.0.1", server.port)
    assert said == ["up", "down"]


# --- websockets


async def test_messages_and_the_close_go_both_ways() -> None:
    app = sockets()
    async with serving(app) as (server, _):
        for extensions in ([], ["permessage-deflate"]):
            async with socket(server, "/echo").extensions(extensions).connect() as connection:
                assert connection.response.headers["x-own"] == "1"
                assert len(connection.extensions) == len(extensions)
                for message in ("text", b"bytes", "ä" * 300, b"", "", bytes(300_000)):
                    connection.send(message)
                    assert await soon(connection.receive()) == message
                await connection.close(3333, "enough")
            await eventually(lambda: hasattr(app.state, "left"))
            assert app.state.left == (3333, "enough")
            del app.state.left
        connection = await socket(server, "/echo").connect()
        connection.terminate()
        await eventually(lambda: hasattr(app.state, "left"))
        assert app.state.left[0] == 1006


async def test_headers_subprotocol_and_close_code_of_the_application() -> None:
    async with serving(sockets()) as (server, _):
        builder = socket(server, "/user").bearer("x").sub_protocols(["other", "chat"])
        connection = await builder.connect()
        assert connection.sub_protocol == "chat"
        assert (await soon(connection.receive())) == '{"user":"ada","path":"/user","offered":["other","chat"]}'
        with pytest.raises(ConnectionClosedError) as closed:
            await soon(connection.receive())
        assert closed.value.received == (3001, "bye")


async def test_refusals_are_403_or_the_applications_own_answer() -> None:
    async with serving(sockets()) as (server, _):
        cases = (("/refused", 403, b"Forbidden"), ("/user", 401, b"who are you?"), ("/none", 403, b""))
        for path, status, words in cases:
            with pytest.raises(HandshakeError) as refused:
                await socket(server, path).connect()
            assert refused.value.status == status, path
            assert words in refused.value.body
            assert refused.value.headers.get("x-why") == ("token" if status == 401 else None)
        async with raw_client(server.port) as peer:
            peer.send(upgrade("/echo", sec_websocket_version="12"))
            assert (await peer.answer()).status == 426
        assert server.stats()["refused"] == 4


async def test_an_origin_is_the_applications_to_judge() -> None:
    async with (
        serving(sockets()) as (server, _),
        socket(server, "/echo").origin("https://elsewhere.example").connect() as connection,
    ):
        assert connection.is_open


async def test_the_end_of_the_application_is_the_connections() -> None:
    async with serving(sockets()) as (server, _):
        connection = await socket(server, "/returns").connect()
        with pytest.raises(ConnectionClosedOK):
            await soon(connection.receive())
        with logged() as records:
            connection = await socket(server, "/raises").connect()
            assert (await soon(connection.wait_closed())).code == 1011
            await eventually(lambda: records)
        assert "raised" in records[0].getMessage()


async def test_send_waits_for_a_client_that_does_not_read() -> None:
    app = sockets()
    async with serving(app) as (server, _), raw_client(server.port, limit=1000) as peer:
        peer.send(upgrade("/floods"))
        await peer.head()
        await eventually(lambda: getattr(app.state, "sent", 0) > 10)
        before = -1
        while before != app.state.sent:
            before = app.state.sent
            await asyncio.sleep(0.02)
        peer.writer.transport.abort()
        await eventually(lambda: hasattr(app.state, "left"))


async def test_reading_pauses_while_the_application_does_not_receive() -> None:
    go = asyncio.Event()
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await go.wait()
        while (event := await receive())["type"] == "websocket.receive":
            got.append(event["text"])

    builder = http_server().asgi(app).max_queue(4)
    async with builder.listen("127.0.0.1", 0) as server:
        async with raw_client(server.port) as peer:
            peer.send(upgrade("/"), *[frame(TEXT, str(number)) for number in range(10)])
            await peer.head()
            [connection] = server.connections
            assert len(connection._inbox) <= 4
            go.set()
            peer.send(close_frame())
            assert (await peer.frame())[0] == 0x80 | CLOSE
        await eventually(lambda: len(got) == 10)


async def test_frames_that_come_before_the_decision_are_received_behind_it() -> None:
    go = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await go.wait()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.connect"
        for _ in range(2):
            await send({"type": "websocket.send", "text": (await receive())["text"]})

    async with serving(app) as (server, _), raw_client(server.port) as peer:
        peer.send(upgrade("/"), frame(TEXT, "a"))
        await asyncio.sleep(0.01)
        peer.send(frame(TEXT, "b"))
        await asyncio.sleep(0.01)
        go.set()
        await peer.head()
        assert [await peer.frame() for _ in range(3)] == [(0x81, b"a"), (0x81, b"b"), (0x88, b"\x03\xe8")]


async def test_an_http_connection_may_turn_to_a_websocket() -> None:
    async with serving(sockets()) as (server, _), raw_client(server.port) as peer:
        peer.send(request(path="/none"), upgrade("/echo"), frame(TEXT, "x"))
        assert (await answer(peer)).status == 404
        assert (await peer.head()).status == 101
        assert await peer.frame() == (0x81, b"x")


async def test_what_the_application_does_at_the_servers_end_has_its_grace() -> None:
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while (await receive())["type"] != "websocket.disconnect":
                pass
            said.append("disconnect")
            await asyncio.sleep(0.01 if scope["path"] == "/short" else 60)
            said.append("end")
        except asyncio.CancelledError:
            said.append("cancelled")
            raise

    for path, grace, rest in (("/short", 5, "end"), ("/long", 0.02, "cancelled")):
        async with http_server().asgi(app).listen("127.0.0.1", 0) as server:
            connection = await socket(server, path).connect()
            await server.close(grace=grace)
            assert said == ["disconnect", rest]
            assert (await connection.wait_closed()).code == 1001
            said.clear()
