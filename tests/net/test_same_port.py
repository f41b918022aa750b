"""HTTP and websockets at once on one port, by httpx and by bytes: nobody gets another's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from http_support import answer, request
from support import TEXT, echo, frame, nothing_leaks, raw_client, soon, upgrade  # noqa: F401

from firefly_ws import HttpServer, Request, http_client, http_server

EACH = 100  # of ten connections of either kind


def both() -> HttpServer:
    app = http_server()
    app.get("/plain/{id}", lambda request: request.path_params["id"])
    app.get("/later/{id}", later)
    app.websocket("/chat").on_message(echo)
    return app


async def later(request: Request) -> dict[str, str]:
    await asyncio.sleep(0)
    return {"id": request.path_params["id"]}


async def test_a_thousand_echoes_in_flight_and_a_thousand_gets_each_get_their_own() -> None:  # F11, W1
    async with both().listen("127.0.0.1", 0) as server:

        async def talk(which: int) -> None:
            client = http_client().websocket(f"ws://127.0.0.1:{server.port}/chat").max_queue(EACH)
            async with client.connect() as connection:
                sent = [f"{which}: {number}" for number in range(EACH)]
                for text in sent:
                    connection.send(text)
                assert [await connection.receive() for _ in sent] == sent

        async def ask(which: int) -> None:
            async with raw_client(server.port) as peer:
                paths = [f"/{('plain', 'later')[number % 2]}/{which}-{number}" for number in range(EACH)]
                peer.send(*(request(path=path) for path in paths))
                for number, path in enumerate(paths):
                    got = await answer(peer)
                    own = path.rpartition("/")[2]
                    assert (got.status, got.body.decode()) == (200, own if number % 2 == 0 else f'{{"id":"{own}"}}')

        async with asyncio.timeout(20):
            await asyncio.gather(*(job(which) for which in range(10) for job in (talk, ask)))
        assert server.stats()["handshaking"] == 0


async def test_one_connection_asks_and_then_becomes_a_websocket_with_nothing_lost_between() -> None:  # F11, W1
    async with both().listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(request(path="/later/1"), request(path="/plain/2"), upgrade("/chat"), frame(TEXT, "three"))
        assert [(await answer(peer)).body for _ in range(2)] == [b'{"id":"1"}', b"2"]
        assert (await peer.head()).status == 101
        assert await peer.frame() == (0x81, b"three")


async def test_a_plain_get_of_a_websocket_gets_426_at_once_however_busy_it_is() -> None:  # W1
    async with (
        both().listen("127.0.0.1", 0) as server,
        http_client().websocket(f"ws://127.0.0.1:{server.port}/chat").connect() as connection,
        raw_client(server.port) as peer,
    ):
        for _ in range(100):
            connection.send("x" * 1000)
        peer.send(request(path="/chat"))
        got = await answer(peer)
        assert (got.status, got.headers["upgrade"]) == (426, "websocket")
        assert "upgrade" in got.headers["connection"].lower()
        assert got.body


# --- httpx


async def test_httpx_uses_its_connections_again_and_asks_many_at_once() -> None:  # F11, W1
    async with both().listen("127.0.0.1", 0) as server:
        limits = httpx.Limits(max_connections=10)
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=base, limits=limits, trust_env=False) as client:
            answers = await soon(asyncio.gather(*(client.get(f"/later/{number}") for number in range(40))))
            assert [one.json()["id"] for one in answers] == [str(number) for number in range(40)]
            ports = {one.extensions["network_stream"].get_extra_info("client_addr")[1] for one in answers}
            assert len(ports) <= 10
            async with http_client().websocket(f"ws://127.0.0.1:{server.port}/chat").connect() as connection:
                connection.send("beside")
                assert (await client.get("/plain/1")).text == "1"
                assert await soon(connection.receive()) == "beside"


async def test_httpx_streams_both_ways_and_may_leave_in_the_middle() -> None:  # F11
    left = asyncio.Event()

    async def upper(request: Request) -> AsyncIterator[bytes]:
        async for piece in request.stream():
            yield piece.upper()

    async def endless(request: Request) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            left.set()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(50):
            yield f"piece {number},".encode()
            await asyncio.sleep(0)

    app: Any = http_server().post("/upper", upper).get("/endless", endless)
    async with app.listen("127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            got = await soon(client.post("/upper", content=pieces()))
            assert got.text == "".join(f"PIECE {number}," for number in range(50))
            async with client.stream("GET", "/endless") as stream:
                async for data in stream.aiter_bytes():
                    assert data.strip(b"x") == b""
                    break
            await soon(left.wait())
            assert (await client.post("/upper", content=b"again")).text == "AGAIN"
