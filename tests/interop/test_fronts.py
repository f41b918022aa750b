"""nginx and HAProxy between our client and our server, as docs/howto configures them: TLS ends at the proxy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fronts import NAMES, Front, front, installed
from support import Inbox, echo, eventually, nothing_leaks, soon  # noqa: F401

from firefly_ws import (
    CloseFrame,
    CloseReason,
    ContinuationFrame,
    HandshakeError,
    Request,
    Server,
    TextFrame,
    WebSocketClient,
    http_client,
    http_server,
)

pytestmark = pytest.mark.peers


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each proxy, where it is installed."""
    found: str = request.param
    if installed(found) is None:
        pytest.skip(f"{found} is not installed")
    return found


@asynccontextmanager
async def behind(name: str, directory: Path, app: Any, patience: str = "60s") -> AsyncIterator[tuple[Server, Front]]:
    async with app.listen("127.0.0.1", 0) as server, front(name, directory, server.port, patience) as proxy:
        yield server, proxy


def client(proxy: Front, path: str = "/") -> WebSocketClient:
    return http_client().websocket(f"{proxy.wss}{path}").ssl(proxy.context)


async def test_text_binary_and_a_mebibyte_come_back(name: str, tmp_path: Path) -> None:  # K3
    app = http_server().websocket("/").max_message_size(2**21).on_message(echo)
    async with (
        behind(name, tmp_path, app) as (_, proxy),
        client(proxy).extensions(["permessage-deflate"]).max_message_size(2**21).connect() as connection,
    ):
        assert [one.name for one in connection.extensions] == ["permessage-deflate"]
        for message in ["", "ä€😀", b"\x00\xff", "a" * 2**20, os.urandom(2**20)]:
            connection.send(message)
            assert await soon(connection.receive()) == message


async def test_fragments_pass_as_they_are(name: str, tmp_path: Path) -> None:
    came = Inbox()
    app = http_server().websocket("/").on_frame(came).on_message(echo)
    parts = [TextFrame("one ", fin=False), ContinuationFrame("two ", fin=False), ContinuationFrame("three")]
    async with behind(name, tmp_path, app) as (_, proxy), client(proxy).raw().connect() as connection:
        for part in parts:
            connection.send_frame(part)
        assert await soon(connection.receive_frame()) == TextFrame("one two three")
        assert await came.take(3) == parts
        connection.send_frame(CloseFrame(1000))
        assert await soon(connection.receive_frame()) == CloseFrame(1000)


async def test_close_codes_pass_both_ways(name: str, tmp_path: Path) -> None:
    reasons = Inbox()

    def answer(text: str, connection: Any) -> None:
        connection.close(4002, "ours")

    app = http_server().websocket("/").on_text(answer).on_close(lambda connection, reason: reasons(reason))
    async with behind(name, tmp_path, app) as (_, proxy):
        connection = await client(proxy).connect()
        await soon(connection.close(4001, "theirs"))
        assert await reasons.next() == CloseReason(4001, "theirs")
        connection = await client(proxy).connect()
        connection.send("end it")
        assert await soon(connection.wait_closed()) == CloseReason(4002, "ours")


async def test_a_ping_keeps_a_quiet_connection_open_beyond_the_proxys_patience(name: str, tmp_path: Path) -> None:
    pings = Inbox()
    app = http_server().websocket("/kept").ping_interval(0.3).on_message(echo).websocket("/cut").on_message(echo)
    async with behind(name, tmp_path, app, patience="1s") as (_, proxy):
        kept = await client(proxy, "/kept").on_ping(lambda payload, connection: pings(payload)).connect()
        cut = await client(proxy, "/cut").connect()
        assert (await soon(cut.wait_closed())).code == 1006
        await pings.take(6)  # 1.8 s
        kept.send("still there?")
        assert await soon(kept.receive()) == "still there?"
        await kept.close()


async def test_http_is_on_the_same_port_and_is_told_who_asks(name: str, tmp_path: Path) -> None:  # F11, W1
    async def upload(request: Request) -> str:
        return str(len(await request.body()))

    app = (
        http_server()
        .get("/who", lambda request: {key: request.headers.get(key) for key in ("host", "x-forwarded-for")})
        .get("/how", lambda request: request.headers["x-forwarded-proto"])
        .post("/upload", upload)
        .websocket("/chat")
        .on_message(echo)
    )
    async with behind(name, tmp_path, app) as (_, proxy):
        lies = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "gopher"}
        async with httpx.AsyncClient(base_url=proxy.https, verify=proxy.context, trust_env=False) as http:
            said = (await http.get("/who", headers=lies)).json()
            assert said == {"host": f"localhost:{proxy.port}", "x-forwarded-for": "127.0.0.1"}
            assert (await http.get("/how", headers=lies)).text == "https"
            assert (await http.post("/upload", content=bytes(100_000))).text == "100000"
            plain = await http.get("/chat")
            assert plain.status_code == 426
            assert (await http.get("/nowhere")).status_code == 404
        async with client(proxy, "/chat").connect() as connection:
            connection.send("hello")
            assert await soon(connection.receive()) == "hello"


async def test_an_answer_in_pieces_arrives_in_pieces(name: str, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def ticks(request: Request) -> AsyncIterator[str]:
        yield "one"
        await go_on.wait()
        yield "two"

    async with (
        behind(name, tmp_path, http_server().get("/", ticks)) as (_, proxy),
        httpx.AsyncClient(base_url=proxy.https, verify=proxy.context, trust_env=False) as http,
        http.stream("GET", "/") as answer,
    ):
        pieces = answer.aiter_text()
        assert await soon(anext(pieces)) == "one"
        go_on.set()
        assert await soon(anext(pieces)) == "two"


async def test_the_check_of_origin_holds_behind_the_proxy(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path, http_server().websocket("/").on_message(echo)) as (_, proxy):
        async with client(proxy).origin(proxy.https).connect() as connection:
            connection.send("same")
            assert await soon(connection.receive()) == "same"
        for origin in ("https://elsewhere.example", f"https://localhost:{proxy.port + 1}", "null"):
            with pytest.raises(HandshakeError) as refused:
                await client(proxy).origin(origin).connect()
            assert refused.value.status == 403, origin


async def test_a_hundred_connections_each_get_their_own(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path, http_server().websocket("/").on_message(echo)) as (server, proxy):

        async def one(number: int) -> str:
            async with client(proxy).connect() as connection:
                for turn in range(5):
                    connection.send(f"{number}: {turn}")
                    assert await connection.receive() == f"{number}: {turn}"
                together.append(number)
                await eventually(lambda: len(together) == 100)
                return connection.state.name

        together: list[int] = []
        async with asyncio.timeout(30):
            assert await asyncio.gather(*map(one, range(100))) == ["OPEN"] * 100
        await eventually(lambda: not server.connections)


async def test_a_server_that_goes_says_so_through_the_proxy(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path, http_server().websocket("/").on_message(echo)) as (server, proxy):
        connection = await client(proxy).connect()
        await server.close()
        assert (await soon(connection.wait_closed())).code == 1001
        with pytest.raises(HandshakeError) as refused:
            await client(proxy).connect()
        assert refused.value.status in (502, 503)
