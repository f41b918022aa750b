"""Bodies over HTTP: what is read of a request, what is streamed as an answer, and neither faster than the other end."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_support import answer, request, serving
from support import (
    Inbox,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
)

from firefly_ws import HttpServer, Request, Response
from firefly_ws.http import BadRequest

CHUNKED = b"3;name=value\r\nabc\r\n0004\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n"


async def body(request: Request) -> bytes:
    return await request.body()


async def pieces(request: Request) -> bytes:
    return b"".join([piece async for piece in request.stream()])


@pytest.mark.parametrize("handler", [body, pieces])
@pytest.mark.parametrize("bytewise", [False, True])
async def test_a_body_comes_whole_however_it_is_cut(handler: Any, bytewise: bool) -> None:  # F11
    async with serving(lambda app: app.post("/", handler)) as (_, peer):
        for data, expected in (
            (request("POST", body=b"sized"), b"sized"),
            (request("POST", body=CHUNKED, transfer_encoding="chunked"), b"abcdefg"),
            (request("POST", content_length="0"), b""),
            (request("POST"), b""),
        ):
            await peer.send_bytewise(data) if bytewise else peer.send(data)
            assert (await answer(peer)).body == expected


async def test_a_body_is_read_twice_by_body_and_once_by_stream() -> None:
    async def handler(request: Request) -> list[Any]:
        if request.query:
            await pieces(request)
            with pytest.raises(RuntimeError, match=r"stream\(\)"):
                await request.body()
            return []
        return [await request.json(), await request.json(), (await pieces(request)).decode()]

    async with serving(lambda app: app.post("/", handler)) as (_, peer):
        peer.send(request("POST", body=b'{"a":1}'), request("POST", "/?streamed=1", body=b"x"))
        assert (await answer(peer)).body == b'[{"a":1},{"a":1},"{\\"a\\":1}"]'
        assert (await answer(peer)).body == b"[]"


async def test_a_client_that_expects_100_gets_it_when_the_handler_reads() -> None:
    async with serving(lambda app: app.post("/", body).post("/deaf", lambda _: Response(403))) as (_, peer):
        head = request("POST", content_length="4", expect="100-continue")
        peer.send(head)
        assert (await peer.head()).status == 100
        peer.send(b"four")
        assert (await answer(peer)).body == b"four"
        peer.send(head, b"five"[:4])  # a client need not wait
        assert (await answer(peer)).body == b"five"
        peer.send(request("POST", "/deaf", content_length="4", expect="100-continue"))
        got = await peer.answer()
        assert (got.status, got.headers["connection"]) == (403, "close")


async def test_another_expectation_gets_417() -> None:
    async with serving(lambda app: app.post("/", body)) as (_, peer):
        peer.send(request("POST", body=b"x", expect="tea"))
        assert (await peer.answer()).status == 417


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_nobody_reads_is_read_over(chunked: bool) -> None:
    async with serving(lambda app: app.post("/", lambda _: "unread")) as (_, peer):
        one = request("POST", body=b"x" * 999)
        if chunked:
            one = request("POST", body=CHUNKED, transfer_encoding="chunked")
        for _ in range(2):
            peer.send(one[:-5])
            assert (await answer(peer)).body == b"unread"
            peer.send(one[-5:])


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_nobody_reads_ends_the_connection_behind_the_answer(chunked: bool) -> None:
    async with serving(lambda app: app.post("/", lambda _: "unread")) as (_, peer):
        if chunked:
            peer.send(request("POST", transfer_encoding="chunked"), b"fffff\r\n", b"x" * 0x30000)
        else:
            peer.send(request("POST", content_length="1000000"), b"x" * 1000)
        assert (await answer(peer)).body == b"unread"
        assert await peer.rest() == b""


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("catches", [False, True])
async def test_a_body_beyond_the_limit_gets_413(chunked: bool, catches: bool) -> None:
    async def handler(request: Request) -> str:
        try:
            await request.body()
        except BadRequest as error:
            if not catches:
                raise
            return f"caught {error.status}"
        return "read"

    def change(app: HttpServer) -> None:
        app.max_body_size(10).post("/", handler).post("/more", handler, max_body_size=20)

    async with serving(change) as (_, peer):
        for path, size, fits in (("/", 10, True), ("/more", 20, True), ("/", 11, False)):
            data = b"x" * size
            if chunked:
                peer.send(request("POST", path, b"%x\r\n%b\r\n0\r\n\r\n" % (size, data), transfer_encoding="chunked"))
            else:
                peer.send(request("POST", path, data))
            got = await answer(peer) if fits else await peer.answer()
            assert (got.status, got.body == b"read") == (200 if fits or (chunked and catches) else 413, fits)
            if got.status == 413:
                assert b"max_body_size=10" in got.body


async def test_reading_pauses_while_nobody_takes_the_body() -> None:
    go = asyncio.Event()

    async def handler(request: Request) -> str:
        await go.wait()
        return f"{len(await request.body())}"

    size = 30_000_000
    async with serving(lambda app: app.post("/", handler, max_body_size=None)) as (_, peer):
        peer.send(request("POST", content_length=f"{size}"), bytes(size))
        await asyncio.sleep(0.1)
        waiting = peer.writer.transport.get_write_buffer_size()
        assert waiting > size / 3
        go.set()
        assert (await answer(peer)).body == b"%d" % size


async def test_a_client_that_goes_away_in_its_body_ends_the_handler_quietly() -> None:
    ended = Inbox()

    async def handler(request: Request) -> None:
        try:
            await request.body()
        except ConnectionError as error:
            ended(error)
            raise

    async with serving(lambda app: app.post("/", handler)) as (server, _):
        with logged() as records:
            async with raw_client(server.port) as peer:
                peer.send(request("POST", content_length="10"), b"half")
                await asyncio.sleep(0.02)
            assert isinstance(await ended.next(), ConnectionError)
        assert not records


# --- streams


def plain() -> Iterator[bytes | str]:
    yield "a"
    yield b""
    yield "ä"


async def asynchronous() -> AsyncIterator[bytes | str]:
    for piece in plain():
        await asyncio.sleep(0)
        yield piece


@pytest.mark.parametrize("make", [plain, asynchronous])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_stream_is_sent_in_chunks_or_to_the_end_of_the_connection(make: Any, version: str) -> None:  # F11
    async with serving(lambda app: app.get("/", lambda _: make())) as (_, peer):
        peer.send(request(version=version))
        got = await answer(peer)
        assert got.body == "aä".encode()
        assert ("transfer-encoding" in got.headers) == (version == "1.1")
        if version == "1.1":
            peer.send(request("HEAD"), request())
            assert (await answer(peer, "HEAD")).body == b""
            assert (await answer(peer)).body == "aä".encode()


async def test_a_stream_with_a_length_is_sent_as_it_is() -> None:
    async with serving(lambda app: app.get("/", lambda _: Response(200, plain(), content_length=3))) as (_, peer):
        peer.send(request(), request())
        for _ in range(2):
            got = await answer(peer)
            assert (got.headers["content-length"], got.body) == ("3", "aä".encode())


@pytest.mark.parametrize("length", [2, 4, None])
async def test_a_stream_that_fails_in_its_middle_ends_the_connection(length: int | None) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise KeyError("secret")

    body: Any = failing() if length is None else plain()
    async with serving(lambda app: app.get("/", lambda _: Response(200, body, content_length=length))) as (_, peer):
        with logged() as records:
            peer.send(request())
            assert (await peer.head()).status == 200
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await soon(peer.reader.readuntil(b"0\r\n\r\n"))
            await eventually(lambda: records)
        assert "failed in its middle" in records[0].getMessage()


async def test_a_stream_goes_no_faster_than_its_reader_and_ends_with_it() -> None:
    made = 0
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal made
        try:
            while True:
                made += 1
                yield bytes(100_000)
        finally:
            closed.set()

    async with serving(lambda app: app.get("/", lambda _: endless())) as (server, _):
        async with raw_client(server.port, limit=1000) as peer:
            peer.send(request())
            await eventually(lambda: made)
            await asyncio.sleep(0.1)
            before = made
            assert before < 300
            await asyncio.sleep(0.1)
            assert made - before <= 1
        await soon(closed.wait())


async def test_both_bodies_at_the_same_time() -> None:
    async def double(request: Request) -> AsyncIterator[bytes]:
        async for piece in request.stream():
            yield piece * 2

    serves = serving(lambda app: app.post("/", double, max_body_size=None))
    async with serves as (server, _), httpx.AsyncClient() as client:
        got = await client.post(f"http://127.0.0.1:{server.port}/", content=b"ab" * 500_000)
        assert len(got.content) == 2_000_000


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
async def test_curl_uploads_and_downloads(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8000
    (tmp_path / "data").write_bytes(data)
    async with serving(lambda app: app.put("/data", body, max_body_size=None)) as (server, _):
        url = f"http://127.0.0.1:{server.port}/data"
        for options in ((), ("-H", "Transfer-Encoding: chunked")):
            got = await asyncio.to_thread(
                subprocess.run, ["curl", "-sS", *options, "-T", tmp_path / "data", url], capture_output=True
            )
            assert got.returncode == 0, got.stderr
            assert got.stdout == data
