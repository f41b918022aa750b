"""`RequestBody` and the framing of requests, by bytes alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firefly_ws.http.body import RequestBody, body_length, expects_100
from firefly_ws.http.exchange import check_target, goes_on
from firefly_ws.http.head import BadRequest
from firefly_ws.http.headers import Headers
from firefly_ws.http.request import Request

CHUNKS = b"3;name=value\r\nabc\r\n0004\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n"


def request(*fields: tuple[str, str], version: str = "1.1", method: str = "POST", target: str = "/") -> Request:
    return Request(method, target, Headers(fields), version)


async def read(body: RequestBody) -> bytes:
    return b"".join([piece async for piece in body.pieces()])


@pytest.mark.parametrize(("length", "wire", "data"), [(None, CHUNKS, b"abcdefg"), (7, b"abcdefg", b"abcdefg")])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n"])
async def test_a_body_ends_where_it_ends_however_it_is_cut(
    length: int | None, wire: bytes, data: bytes, step: int, rest: bytes
) -> None:
    body = RequestBody(length, None)
    left = b""
    wire += rest
    for at in range(0, len(wire), step):
        part = wire[at : at + step]
        left += part if body.complete else body.feed(part)
    assert (body.complete, left, body.received, body.left) == (True, rest, len(data), 0)
    assert await read(body) == data


async def test_a_reader_gets_what_came_before_the_error_and_then_the_error() -> None:
    body = RequestBody(None, 5)
    body.feed(b"3\r\nabc\r\n")
    with pytest.raises(BadRequest, match="max_body_size=5") as raised:
        body.feed(b"3\r\ndef\r\n")
    assert raised.value.status == 413
    pieces = aiter(body.pieces())
    assert await anext(pieces) == b"abc"
    with pytest.raises(BadRequest, match="413"):
        await anext(pieces)


async def test_a_reader_waits_asks_once_and_tells_when_it_has_taken() -> None:
    said: list[str] = []
    body = RequestBody(4, None, lambda: said.append("wanted"), lambda: said.append("taken"))
    assert not body.is_asked_for
    reading = asyncio.ensure_future(read(body))
    await asyncio.sleep(0)
    assert (body.is_asked_for, body.is_awaited, said) == (True, True, ["wanted"])
    with pytest.raises(RuntimeError, match="being read already"):
        await read(body)
    body.feed(b"four")
    assert await reading == b"four"
    assert said == ["wanted", "taken"]


async def test_a_discarded_body_keeps_nothing_and_counts() -> None:
    body = RequestBody(6, None)
    body.feed(b"one")
    assert body.waiting == 3
    body.discard()
    body.feed(b"two")
    assert (body.waiting, body.received, body.complete) == (0, 6, True)


def test_a_length_beyond_the_limit_is_refused_before_a_byte_has_come() -> None:
    with pytest.raises(BadRequest, match="413"):
        RequestBody(6, 5)
    assert RequestBody(5, 5).left == 5


@pytest.mark.parametrize(
    ("fields", "version", "expected"),
    [
        ([], "1.1", 0),
        ([("Content-Length", "12")], "1.1", 12),
        ([("Content-Length", "12")], "1.0", 12),
        ([("Transfer-Encoding", "Chunked")], "1.1", None),
        ([("Content-Length", "1"), ("Content-Length", "1")], "1.1", 400),
        ([("Content-Length", "1_0")], "1.1", 400),
        ([("Content-Length", "١")], "1.1", 400),
        ([("Content-Length", "1"), ("Transfer-Encoding", "chunked")], "1.1", 400),
        ([("Transfer-Encoding", "chunked")], "1.0", 400),
        ([("Transfer-Encoding", "chunked, chunked")], "1.1", 400),
        ([("Transfer-Encoding", "gzip, chunked")], "1.1", 501),
        ([("Transfer-Encoding", "gzip")], "1.1", 400),
    ],
)
def test_how_long_a_body_is(fields: Any, version: str, expected: int | None) -> None:
    if any(not value.isascii() for _, value in fields):
        fields = [(name.encode(), value.encode()) for name, value in fields]
    if expected is not None and expected >= 400:
        with pytest.raises(BadRequest) as raised:
            body_length(request(*fields, version=version))
        assert raised.value.status == expected
    else:
        assert body_length(request(*fields, version=version)) == expected


def test_only_100_continue_may_be_expected() -> None:
    assert expects_100(request(("Expect", "100-Continue")))
    assert not expects_100(request())
    with pytest.raises(BadRequest, match="417"):
        expects_100(request(("Expect", "200-ok")))


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [("1.1", None, True), ("1.1", "close", False), ("1.1", "a, CLOSE", False), ("1.1", "Upgrade", True),
     ("1.0", None, False), ("1.0", "keep-alive", True), ("1.0", "keep-alive, close", False)],
)  # fmt: skip
def test_whether_a_client_goes_on(version: str, connection: str | None, stays: bool) -> None:
    assert goes_on(request(version=version), connection) is stays


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("OPTIONS", "*", 0), ("GET", "*", 400), ("GET", "http://a/b", 0), ("GET", "HTTPS://a", 0),
     ("GET", "http:///b", 400), ("GET", "ftp://a/b", 400), ("CONNECT", "a:80", 501), ("GET", "a/b", 400)],
)  # fmt: skip
def test_targets_other_than_a_path(method: str, target: str, status: int) -> None:
    if status:
        with pytest.raises(BadRequest) as raised:
            check_target(request(method=method, target=target))
        assert raised.value.status == status
    else:
        check_target(request(method=method, target=target))
