"""What no honest client sends, over HTTP: the right status or the end, one line in the log, and nobody else harmed."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from every import for_each
from http_support import answer, request, serving
from support import (
    Inbox,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
)

from firefly_ws import HttpConfig, HttpServer, Request

HOST = b"Host: example.com\r\n"
SECRET = b"GET /secret HTTP/1.1\r\n" + HOST + b"\r\n"


def app_of(seen: Inbox) -> Any:
    async def post(request: Request) -> bytes:
        return await request.body()

    def change(app: HttpServer) -> None:
        app.get("/", lambda _: "fine").post("/", post).get("/secret", lambda request: seen(request) or "secret")

    return change


def post(*lines: bytes, body: bytes = b"", first: bytes = b"POST / HTTP/1.1\r\n") -> bytes:
    return first + HOST + b"".join(lines) + b"\r\n" + body


SMUGGLING = {
    "two lengths": (post(b"Content-Length: 3\r\n", b"Content-Length: 30\r\n", body=b"abc"), 400),
    "two equal lengths": (post(b"Content-Length: 3\r\n", b"Content-Length: 3\r\n", body=b"abc"), 400),
    "a list of lengths": (post(b"Content-Length: 3, 3\r\n", body=b"abc"), 400),
    "a signed length": (post(b"Content-Length: +3\r\n", body=b"abc"), 400),
    "a negative length": (post(b"Content-Length: -3\r\n", body=b"abc"), 400),
    "a hexadecimal length": (post(b"Content-Length: 0x3\r\n", body=b"abc"), 400),
    "an empty length": (post(b"Content-Length:\r\n", body=b"abc"), 400),
    "a length beyond all numbers": (post(b"Content-Length: 99999999999999999999999\r\n"), 400),
    "length with chunked": (
        post(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"),
        400,
    ),
    "chunked with length": (
        post(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", body=b"0\r\n\r\n"),
        400,
    ),
    "chunked in HTTP/1.0": (
        post(b"Transfer-Encoding: chunked\r\n", first=b"POST / HTTP/1.0\r\n", body=b"0\r\n\r\n"),
        400,
    ),
    "chunked twice": (
        post(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"),
        400,
    ),
    "chunked not last": (post(b"Transfer-Encoding: chunked, gzip\r\n", body=b"0\r\n\r\n"), 400),
    "another coding first": (post(b"Transfer-Encoding: gzip, chunked\r\n", body=b"0\r\n\r\n"), 501),
    "identity": (post(b"Transfer-Encoding: identity\r\n", body=b"0\r\n\r\n"), 400),
    "a space before the colon": (post(b"Transfer-Encoding : chunked\r\n", body=b"0\r\n\r\n"), 400),
    "vertical tab": (post(b"Transfer-Encoding: \x0bchunked\r\n", body=b"0\r\n\r\n"), 400),
    "xchunked": (post(b"Transfer-Encoding: xchunked\r\n", body=b"0\r\n\r\n"), 400),
    "folded": (post(b"Transfer-Encoding:\r\n chunked\r\n", body=b"0\r\n\r\n"), 400),
    "a bare line feed": (b"POST / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "a bare line feed in a field": (post(b"X: y\nTransfer-Encoding: chunked\r\n"), 400),
    "a bare carriage return": (post(b"X: y\rTransfer-Encoding: chunked\r\n"), 400),
    "a bare carriage return before the request": (b"\r" + request(), 400),
    "a bare line feed before the request": (b"\n" + request(), 400),
    "another behind an empty line": (b"\r\n\r\r\n" + request(), 400),
    "NUL": (post(b"X: a\x00b\r\n"), 400),
    "NUL in a name": (post(b"X\x00: ab\r\n"), 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (post(HOST), 400),
    "a host of two": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "another scheme": (request(path="ftp://example.com/"), 400),
    "no path": (request(path="secret"), 400),
    "an asterisk": (request(path="*"), 400),
    "a target that names a user": (request(path="http://trusted.example:80@evil.example/"), 400),
    "CONNECT, which names no resource a 405 could speak of": (request("CONNECT", "example.com:443"), 501),
    "a fragment": (request(path="/#secret"), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (request(version="1.2"), 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400),
}


@for_each("what", SMUGGLING)
@for_each("first", [True, False])
async def test_what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_served(what: str, first: bool) -> None:
    seen = Inbox()
    data, status = SMUGGLING[what]
    async with serving(app_of(seen)) as (server, peer):
        if not first:
            peer.send(request())
            assert (await answer(peer)).body == b"fine"
        peer.send(data, SECRET)
        got = await peer.answer()
        assert (got.status, got.headers["connection"]) == (status, "close")
        assert len(seen) == 0
        async with raw_client(server.port) as other:
            other.send(request())
            assert (await answer(other)).body == b"fine"


@for_each(
    "body",
    [
        b"3\nabc\r\n0\r\n\r\n", b"3 x\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
        b"-1\r\nabc\r\n0\r\n\r\n", b"\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n", b"3;a=\rb\r\nabc\r\n0\r\n\r\n", b"f" * 17 + b"\r\n", b"0\r\nno trailer\r\n\r\n",
        b"0\r\nX: a\nY: b\r\n\r\n", b"3;" + b"x" * 5000, b"3" + b" " * 5000, b"0\r\n" + b"X: y\r\n" * 5000,
        b"1;" + b"x" * 4000 + b"\r\na\r\n" + b"1;" + b"x" * 4000 + b"\r\na\r\n" * 5,
    ],
)  # fmt: skip
async def test_malformed_chunks_get_400(body: bytes) -> None:
    seen = Inbox()
    async with serving(app_of(seen)) as (_, peer):
        peer.send(request("POST", body=body, transfer_encoding="chunked"), SECRET)
        got = await peer.answer()
        assert got.status == 400
        assert len(seen) == 0


async def test_a_head_beyond_a_limit_gets_431_on_a_kept_connection() -> None:
    for more in ({f"x-{number}": "y" for number in range(130)}, {"x": "y" * 17000}):
        async with serving(app_of(Inbox())) as (_, peer):
            peer.send(request())
            await answer(peer)
            peer.send(request(**more))
            assert (await peer.answer()).status == 431


async def test_a_million_headers_are_refused_long_before_their_end() -> None:
    async with serving(app_of(Inbox())) as (_, peer):
        peer.send(request(), request()[:-2], b"X: y\r\n" * 1_000_000)
        assert (await answer(peer)).body == b"fine"
        got = await peer.head()
        assert got.status == 431


async def test_a_head_that_dribbles_on_a_kept_connection_gets_408() -> None:
    async with serving(app_of(Inbox()), HttpConfig(open_timeout=0.1)) as (_, peer):
        peer.send(request())
        await answer(peer)
        await asyncio.sleep(0.15)  # idle is no head
        peer.send(b"GET / HT")
        assert (await peer.answer()).status == 408


@pytest.mark.parametrize("read", [True, False])
async def test_a_body_that_dribbles_gets_408(read: bool) -> None:
    async def handler(request: Request) -> str:
        if read:
            await request.body()
        return "unread"

    async with serving(lambda app: app.post("/", handler).timeout(0.1)) as (_, peer):
        peer.send(request("POST", content_length="1000"), b"x")
        got = await answer(peer)
        assert got.status == (408 if read else 200)
        assert await peer.rest() == b""


async def test_a_body_that_comes_fast_enough_may_take_longer_than_timeout() -> None:
    async def handler(request: Request) -> str:
        return f"{len(await request.body())}"

    async with serving(lambda app: app.post("/", handler).timeout(0.1)) as (_, peer):
        peer.send(request("POST", content_length="4000"))
        for _ in range(20):
            peer.send(b"x" * 200)
            await asyncio.sleep(0.02)
        assert (await answer(peer)).body == b"4000"


async def test_a_handler_that_never_answers_is_cancelled_with_503_and_a_warning() -> None:
    ended = Inbox()

    async def never(request: Request) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended("cancelled")

    async with serving(lambda app: app.get("/", never).get("/fine", lambda _: "fine").timeout(0.1)) as (server, peer):
        with logged() as records:
            peer.send(request(), request(path="/fine"))
            async with raw_client(server.port) as other:
                other.send(request(path="/fine"))
                assert (await answer(other)).body == b"fine"
            got = await peer.answer()
            assert (got.status, got.headers["connection"]) == (503, "close")
            assert await ended.next() == "cancelled"
        (record,) = records
        assert record.levelno == logging.WARNING
        assert ".timeout(seconds)" in record.getMessage()


async def test_a_client_that_reads_nothing_of_its_answer_is_dropped() -> None:
    closed = asyncio.Event()

    async def endless(request: Request) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(100_000)
        finally:
            closed.set()

    async with serving(lambda app: app.get("/", endless).get("/big", lambda _: bytes(20_000_000)).timeout(0.1)) as (
        server, _,
    ):  # fmt: skip
        for path in ("/", "/big"):
            async with raw_client(server.port, limit=1000) as peer:
                peer.send(request(path=path))
                await eventually(lambda: len(server._http) == 0 if path == "/big" else closed.is_set())  # noqa: B023


async def test_a_reset_cancels_the_handler_and_a_mere_end_waits_for_its_answer() -> None:
    ended = Inbox()

    async def never(request: Request) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended("cancelled")

    async with serving(lambda app: app.get("/", never)) as (server, _):
        with logged() as records:
            for reset in (True, False):
                async with raw_client(server.port) as peer:
                    peer.send(request())
                    await eventually(lambda: server._http.is_busy)
                    if reset:
                        sock = peer.writer.get_extra_info("socket")
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.writer.transport.abort()
                if not reset:
                    assert len(ended) == 0
                    await server.close(grace=0.02)
                assert await ended.next() == "cancelled"
        assert not records


async def test_what_a_client_sends_ahead_is_not_kept_in_memory() -> None:
    go = asyncio.Event()

    async def slow(request: Request) -> str:
        await go.wait()
        return "slow"

    async with serving(lambda app: app.get("/slow", slow).get("/", lambda _: "x")) as (_, peer):
        number = 200_000
        peer.send(request(path="/slow"), request() * number)
        await asyncio.sleep(0.1)
        assert peer.writer.transport.get_write_buffer_size() > 1_000_000
        go.set()
        assert (await answer(peer)).body == b"slow"
        for _ in range(10):
            assert (await answer(peer)).body == b"x"
        peer.writer.transport.abort()
