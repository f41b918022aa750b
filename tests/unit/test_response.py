"""`Response` and its bytes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from firefly_ws.http.response import Response, http_date


def lines(response: Response, method: str = "GET") -> tuple[list[str], bytes]:
    head, _, body = response.encode(method).partition(b"\r\n\r\n")
    return [line for line in head.decode("latin-1").split("\r\n") if not line.startswith("Date: ")], body


def test_text_is_sent_as_utf_8() -> None:
    assert lines(Response(404, "nö\n")) == (
        [
            "HTTP/1.1 404 Not Found",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Length: 4",
            "Connection: close",
        ],
        "nö\n".encode(),
    )


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        (b"x", b"x", "application/octet-stream"),
        (bytearray(b"x"), b"x", "application/octet-stream"),
        ({"a": "ö"}, '{"a":"ö"}'.encode(), "application/json"),
        ([1, 2], b"[1,2]", "application/json"),
    ],
)
def test_the_content_type_fits_the_body(body: Any, sent: bytes, kind: str) -> None:
    head, got = lines(Response(body=body))
    assert got == sent
    assert f"Content-Type: {kind}" in head
    assert f"Content-Length: {len(sent)}" in head


def test_an_empty_body_has_a_length_and_no_type() -> None:
    assert lines(Response()) == (["HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close"], b"")


def test_a_content_type_may_be_given_either_way() -> None:
    for response in (Response(200, "x", content_type="text/html"), Response(200, "x", {"content-type": "text/html"})):
        head, _ = lines(response)
        assert [line for line in head if line.lower().startswith("content-type")] == ["Content-Type: text/html"]


def test_an_answer_to_head_has_the_length_and_not_the_body() -> None:
    head, body = lines(Response(200, "four"), "HEAD")
    assert "Content-Length: 4" in head
    assert body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_sends_none(status: int) -> None:
    head, body = lines(Response(status, "four"))
    assert not any(line.startswith("Content-Length") for line in head)
    assert body == b""


def test_a_connection_option_of_the_users_is_kept_beside_close() -> None:
    head, _ = lines(Response(426, b"", [("Upgrade", "websocket"), ("Connection", "Upgrade")]))
    assert "Upgrade: websocket" in head
    assert "Connection: Upgrade, close" in head


def test_an_unnamed_status_still_has_a_status_line() -> None:
    assert lines(Response(599))[0][0] == "HTTP/1.1 599 Status"
    assert lines(Response(431))[0][0] == "HTTP/1.1 431 Request Header Fields Too Large"


def test_the_date_is_formatted_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [784111777.9]
    monkeypatch.setattr("firefly_ws.http.response.time.time", lambda: now[0])
    first = http_date()
    assert first == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert http_date() is first
    now[0] += 1
    assert http_date() == b"Sun, 06 Nov 1994 08:49:38 GMT"


def test_every_answer_has_a_date() -> None:
    assert re.search(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", Response().encode())


@pytest.mark.parametrize("status", [101, 199, 600, 0, -1])
def test_a_status_out_of_range_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match=f"status={status} must be from 200 to 599"):
        Response(status)


@pytest.mark.parametrize("status", ["200", 200.0, True, None])
def test_a_status_of_another_type_is_refused(status: Any) -> None:
    with pytest.raises(TypeError, match="status="):
        Response(status)


def test_a_body_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="body=5 must be"):
        Response(200, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Date"])
def test_framing_fields_cannot_be_given(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Response(200, "x", {name: "1"})


def test_a_line_break_in_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="X-Bad"):
        Response(200, "x", {"X-Bad": "a\r\nSet-Cookie: b"})
    with pytest.raises(ValueError, match="Content-Type"):
        Response(200, "x", content_type="a\r\nb")


def test_two_content_types_are_refused() -> None:
    with pytest.raises(ValueError, match="both give a Content-Type"):
        Response(200, "x", {"Content-Type": "a/b"}, content_type="c/d")


def test_the_repr_tells_status_and_size() -> None:
    assert repr(Response(404, "abc")) == "<Response 404 Not Found, 3 bytes>"


def test_a_redirect_names_the_place_and_keeps_what_is_encoded() -> None:
    assert Response.redirect("/a b?c=%20#d").headers["location"] == "/a%20b?c=%20#d"
    assert Response.redirect("/x", 308).status == 308
    assert "\r" not in Response.redirect("/x\r\nSet-Cookie: a=b").headers["location"]
    with pytest.raises(ValueError, match="status=200"):
        Response.redirect("/", 200)


def test_cookies_are_lines_of_their_own() -> None:
    response = (
        Response()
        .cookie("a", "b")
        .cookie("c", "", max_age=0, path=None, domain="x.example", secure=True, http_only=False, same_site="Strict")
    )
    head, _ = lines(response)
    assert [line for line in head if line.startswith("Set-Cookie")] == [
        "Set-Cookie: a=b; Path=/; SameSite=Lax; HttpOnly",
        "Set-Cookie: c=; Max-Age=0; Domain=x.example; SameSite=Strict; Secure",
    ]


@pytest.mark.parametrize(
    ("name", "value", "more"),
    [("a b", "c", {}), ("a", "b;c", {}), ("a", "b\r\nc", {}), ("a", "ä", {}), ("a", "b", {"path": "/;x"}),
     ("a", "b", {"domain": "x\r\n"}), ("a", "b", {"same_site": "lax"})],
)  # fmt: skip
def test_what_cannot_stand_in_a_cookie_is_refused(name: str, value: str, more: Any) -> None:
    with pytest.raises(ValueError, match="cookie"):
        Response().cookie(name, value, **more)


def test_a_stream_says_how_it_is_framed() -> None:
    assert "Content-Length: 7" in lines(Response(200, iter(()), content_length=7))[0]
    head = Response(200, iter(())).encode(connection="", chunked=True)
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    with pytest.raises(ValueError, match="content_length=3"):
        Response(200, b"abc", content_length=3)
    with pytest.raises(ValueError, match="content_length=-1"):
        Response(200, iter(()), content_length=-1)
