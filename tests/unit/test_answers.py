"""Error pages, what handlers return, and streams as sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from firefly_ws import Response
from firefly_ws.http.answers import as_response, error_page, prefers
from firefly_ws.http.headers import Headers
from firefly_ws.http.pieces import closed, framed
from firefly_ws.http.request import Request


def request(accept: str) -> Request:
    return Request("GET", "/", Headers([("Accept", accept)]))


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "a/x"), ("*/*", "a/x"), ("b/y", "b/y"), ("b/*", "b/y"), ("a/x;q=0.5, b/y", "b/y"), ("c/z", "a/x"),
        ("b/y;q=0", "a/x"), ("b/y;q=x", "a/x"), ("*/*;q=0.1, B/Y; level=1", "b/y"), ("a/x;q=0, */*", "b/y"),
    ],
)  # fmt: skip
def test_what_a_client_prefers(accept: str, chosen: str) -> None:
    assert prefers(request(accept), "a/x", "b/y") == chosen


def test_an_error_page_escapes_what_it_shows_and_keeps_its_headers() -> None:
    page = error_page(request("text/html"), 405, "<script>", [("Allow", "GET")])
    assert b"&lt;script&gt;" in page.body
    assert b"<script>" not in page.body
    assert page.headers["allow"] == "GET"
    assert error_page(None, 400, "why").body == b"why\n"


@pytest.mark.parametrize("value", [None, 5, object(), 1.5])
def test_what_is_no_answer_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="a handler returns"):
        as_response(value)


def test_a_status_given_holds_for_what_has_none_of_its_own() -> None:
    assert as_response("x", 404).status == 404
    assert as_response(Response(201), 404).status == 201


async def sent(stream: Any, chunked: bool = True, length: int | None = None) -> bytes:
    async with aclosing(framed(stream, chunked, length)) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_a_stream_in_chunks_has_no_empty_one_before_its_end() -> None:
    async def stream() -> AsyncIterator[Any]:
        for piece in ("ä", b"", "", bytearray(b"0123456789abcdef")):
            yield piece

    assert await sent(stream()) == b"2\r\n\xc3\xa4\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    assert await sent(["a", b"b"], chunked=False, length=2) == b"ab"


async def test_a_stream_of_another_length_or_of_others_is_refused() -> None:
    for length in (1, 3):
        with pytest.raises(ValueError, match="content_length"):
            await sent(["a", "b"], chunked=False, length=length)
    with pytest.raises(TypeError, match="not 5"):
        await sent([5])


async def test_a_generator_left_in_its_middle_is_closed() -> None:
    ended = []

    def plain() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            ended.append("plain")

    stream = plain()
    next(stream)
    await closed(stream)
    await closed(["no generator"])
    assert ended == ["plain"]


def test_a_status_beside_a_body_is_told_where_it_goes() -> None:
    with pytest.raises(TypeError, match=r"a handler returned \('x', 404\); a status goes into the Response"):
        as_response(("x", 404))
    assert as_response(("x", b"y")).status == 200
