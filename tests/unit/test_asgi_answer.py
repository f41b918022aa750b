"""An application's answer: events in, bytes out."""

from __future__ import annotations

from typing import Any

import pytest

from firefly_ws.asgi.answer import Answer


def start(status: Any = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [(b"date", b"now"), *headers]}


def body(data: Any = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def told(*events: dict[str, Any], method: str = "GET", version: str = "1.1", option: str = "") -> bytes:
    answer = Answer(method, version)
    data = b"".join(answer.take(event, lambda closes: "close" if closes else option) for event in events)
    assert answer.complete
    return data


HEAD = b"HTTP/1.1 200 OK\r\ndate: now\r\n"


def test_a_whole_body_gets_its_length_and_a_body_in_pieces_chunks() -> None:
    assert told(start(), body(b"four")) == HEAD + b"content-length: 4\r\n\r\nfour"
    assert told(start(), body(b"fo", True), body(b"", True), body(b"ur")) == (
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n"
    )
    assert told(start(200, (b"content-length", b"4")), body(b"fo", True), body(memoryview(b"ur"))) == (
        HEAD + b"content-length: 4\r\n\r\nfour"
    )
    assert told(start(), body()) == HEAD + b"content-length: 0\r\n\r\n"


def test_nothing_leaves_before_the_body_begins() -> None:
    answer = Answer("GET")
    assert answer.take(start(201), lambda closes: "") == b""
    assert (answer.status, answer.has_left) == (201, False)
    assert answer.take({"type": "http.response.body"}, lambda closes: "").startswith(b"HTTP/1.1 201 Created\r\n")
    assert answer.has_left


def test_http_1_0_is_framed_by_the_end_of_the_connection() -> None:
    assert told(start(), body(b"fo", True), body(b"ur"), version="1.0") == HEAD + b"connection: close\r\n\r\nfour"
    assert told(start(), body(b"four"), version="1.0", option="keep-alive") == (
        HEAD + b"content-length: 4\r\nconnection: keep-alive\r\n\r\nfour"
    )


def test_head_204_and_304_have_no_body() -> None:
    assert told(start(200, (b"content-length", b"9")), body(b"ignored!!"), method="HEAD") == (
        HEAD + b"content-length: 9\r\n\r\n"
    )
    assert told(start(), body(b"", True), body(), method="HEAD") == HEAD + b"\r\n"
    assert told(start(204, (b"content-length", b"0")), body()) == b"HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n"
    assert told(start(304, (b"content-length", b"7")), body(b"ignored")) == (
        b"HTTP/1.1 304 Not Modified\r\ndate: now\r\ncontent-length: 7\r\n\r\n"
    )


def test_fields_of_the_application_stay_but_for_those_of_framing() -> None:
    got = told(
        start(299, (b"X-Own", b"\xe4"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"Connection", b"Close"),
              (b"transfer-encoding", b"chunked")),
        body(b"x"),
    )  # fmt: skip
    assert got == (
        b"HTTP/1.1 299 Status\r\ndate: now\r\nX-Own: \xe4\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
        b"content-length: 1\r\nconnection: close\r\n\r\nx"
    )
    answer = Answer("GET")
    answer.take({"type": "http.response.start", "status": 200}, lambda closes: "")
    assert b"\r\ndate: " in answer.take(body(), lambda closes: "")


@pytest.mark.parametrize(
    ("events", "error", "words"),
    [
        ([body()], RuntimeError, "before 'http.response.start'"),
        ([start(), start()], RuntimeError, "started already, with status 200"),
        ([start(), body(), body()], RuntimeError, "behind the end of the answer"),
        ([{"type": "http.response.trailers"}], RuntimeError, "expected 'http.response.start'"),
        ([{"type": "websocket.send"}], RuntimeError, "expected"),
        ([{}], TypeError, "a dict with a 'type'"),
        (["start"], TypeError, "a dict with a 'type'"),
        ([start("200")], TypeError, "status='200' must be an int"),
        ([start(True)], TypeError, "status=True must be an int"),
        ([start(101)], ValueError, "status=101 must be from 200 to 599"),
        ([start(200, ("x", "y"))], TypeError, "must be a pair"),
        ([start(200, (b"x y", b"y"))], ValueError, "must be a token"),
        ([start(200, (b"x", b"y\r\nz: 1"))], ValueError, "CR, LF"),
        ([start(200, (b"content-length", b"-1"))], ValueError, "content-length b'-1' must be one number"),
        ([start(200, (b"content-length", b"1"), (b"content-length", b"1"))], ValueError, "must be one number"),
        ([start(200, (b"transfer-encoding", b"gzip"))], ValueError, "the server frames the answer"),
        ([start(), body("text")], TypeError, "must be bytes, not str"),
        ([start(200, (b"content-length", b"1")), body(b"22")], RuntimeError, "longer than its content-length=1"),
        ([start(200, (b"content-length", b"3")), body(b"22")], RuntimeError, "ends after 2 bytes"),
        ([start(200, (b"content-length", b"3")), body(b"2", True), body()], RuntimeError, "ends after 1 bytes"),
    ],
    ids=str,
)
def test_what_breaks_the_protocol_raises_from_send(events: list[Any], error: type[Exception], words: str) -> None:
    answer = Answer("GET")
    for event in events[:-1]:
        answer.take(event, lambda closes: "")
    with pytest.raises(error, match=words):
        answer.take(events[-1], lambda closes: "")
    assert answer.has_left == (len(events) == 3)
