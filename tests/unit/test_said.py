"""What a refusal says, in one line: quoted where it helps, and nothing that a log must not have."""

from __future__ import annotations

import base64

from firefly_ws.http.headers import Headers
from firefly_ws.http.said import answered, one_line, quoted, secrets_of

PAGE = (
    b"<html>\r\n<head><title>403 Forbidden</title><style>p { color: red }</style></head>\r\n"
    b"<body><script>if (1 < 2) alert('x')</script><!-- hidden --><h1>No&nbsp;way</h1><hr>nginx</body></html>"
)


def said(body: bytes, kind: str = "", secrets: list[str] | None = None, **fields: str) -> str:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    if kind:
        headers["Content-Type"] = kind
    return quoted(Headers(headers), body, secrets or [])


def test_text_is_quoted_in_one_short_line_that_no_terminal_obeys() -> None:
    for body, kind, expected in (
        (b"token expired\n", "text/plain", ": 'token expired'"),
        (b"token expired", "", ": 'token expired'"),
        (b'{"error":\r\n "no"}', "application/json", """: '{"error": "no"}'"""),
        (b'{"title": "no"}', "application/problem+json; charset=utf-8", """: '{"title": "no"}'"""),
        (b"<e>no</e>", "application/xml", ": '<e>no</e>'"),
        (b"a\x1b[31mb\x07\x00c\xe2\x80\xaed", "text/plain", ": 'a [31mb c d'"),
        ("für dich".encode("latin-1"), "text/plain; charset=ISO-8859-1", ": 'für dich'"),
        ("für dich".encode(), "text/plain; charset=zlib", ": 'für dich'"),
        ("für dich".encode("latin-1"), "text/plain", ": 'f\ufffdr dich'"),
        (b"it's \\", "text/plain", ''': "it's \\\\"'''),
        (b"x" * 200, "text/plain", f": '{'x' * 200}'"),
        (b"x" * 201, "text/plain", f": '{'x' * 199}…'"),
        (b"x" * 65536, "text/plain", f": '{'x' * 199}…'"),
    ):
        assert said(body, kind) == expected, (body[:50], kind)


def test_a_page_is_quoted_as_a_browser_shows_it() -> None:
    assert said(PAGE, "text/html") == ": 'No way nginx'"
    assert said(PAGE) == ": 'No way nginx'"
    assert said(b"<!DOCTYPE html><html><head><title>Just a title</title></head></html>") == ": 'Just a title'"
    assert said(b"<html><body>cut <b", "text/html") == ": 'cut'"
    assert said(b"<html><script>never ended " + b"<script>" * 500, "text/html") == ""
    assert said(b"<" * 4096, "text/html") == ""


def test_what_is_no_text_is_not_quoted() -> None:
    for body, kind, fields in (
        (b"", "text/plain", {}),
        (b" \r\n", "text/plain", {}),
        (bytes(range(256)), "", {}),
        (b"GIF89a", "image/gif", {}),
        (b"abc", "application/octet-stream", {}),
        (b"\x1f\x8b\x08", "text/plain", {"Content_Encoding": "gzip"}),
    ):
        assert said(body, kind, **fields) == "", (body, kind)  # type: ignore[arg-type]
    assert said(b"abc", "text/plain", Content_Encoding="identity") == ": 'abc'"


def test_what_the_request_had_to_hide_is_not_quoted_back() -> None:
    basic = base64.b64encode(b"ada:hunter2").decode()
    secrets = secrets_of([
        ("Authorization", f"Basic {basic}"), ("cookie", "sid=S3cret; theme=dark; lang=en; empty="), ("X", "other"),
    ])  # fmt: skip
    assert sorted(secrets) == sorted([basic, "hunter2", "S3cret", "dark"])
    body = f"ada/hunter2 with {basic} and sid=S3cret; lang=en is nobody, other".encode()
    assert said(body, "text/plain", secrets) == ": 'ada/*** with *** and sid=***; lang=en is nobody, other'"
    assert secrets_of([("authorization", "Bearer abc.def")]) == ["abc.def"]
    assert secrets_of([("Proxy-Authorization", "opaque")]) == ["opaque"]
    assert secrets_of([("Authorization", "Basic ?"), ("Authorization", "")]) == ["?"]
    assert secrets_of([("Authorization", "Basic /w==")]) == ["/w=="]  # no UTF-8


def test_a_longer_secret_goes_before_one_that_is_a_part_of_it() -> None:
    assert said(b"ab abcd", "text/plain", ["ab", "abcd"]) == ": '*** ***'"


def test_a_secret_that_is_cut_off_is_hidden_before() -> None:
    assert "tok" not in said(b"x" * 196 + b"token", "text/plain", ["token"])


def test_a_status_has_its_reason_if_there_is_one() -> None:
    assert answered(404, "Not Found") == "404 Not Found"
    assert answered(404, "") == "404"
    assert answered(404, "\x1b[31mred\x07 ") == "404 [31mred"
    assert answered(404, "x" * 500) == f"404 {'x' * 99}…"
    assert one_line(" a \t b\r\nc ", 5) == "a b c"
