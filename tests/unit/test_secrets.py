"""What nobody may read in a log: passwords, tokens and cookies are in no error's text and in no repr."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from every import for_each

from firefly_ws import Response, http_client
from firefly_ws.errors import HandshakeError
from firefly_ws.http.headers import Headers
from firefly_ws.proxy import parse as parse_proxy
from firefly_ws.redirects import follow
from firefly_ws.url import parse, without_user

SECRET = "Pa55wOrd"


def builder() -> Any:
    return http_client().ws("example.com", 80, "/")


CALLS: dict[str, Callable[[], object]] = {
    "another scheme": lambda: parse(f"http://ada:{SECRET}@example.com/"),
    "no scheme": lambda: parse(f"//ada:{SECRET}@example.com/"),
    "a fragment": lambda: parse(f"ws://ada:{SECRET}@example.com/#x"),
    "a # in the password": lambda: parse(f"ws://ada:{SECRET}#x@example.com/"),
    "a / in the password": lambda: parse(f"ws://ada:{SECRET}/x@example.com/"),
    "a ? in the password": lambda: parse(f"ws://ada:{SECRET}?x@example.com/"),
    "a [ in the password": lambda: parse(f"ws://ada:{SECRET}[x@example.com/"),
    "another character's look": lambda: parse(f"ws://ada:{SECRET}@example\u2100.com/"),
    "a control character": lambda: parse(f"ws://ada:{SECRET}\n@example.com/"),
    "no host": lambda: parse(f"ws://ada:{SECRET}@/"),
    "a bad host": lambda: parse(f"ws://ada:{SECRET}@a<b/"),
    "a bad port": lambda: parse(f"ws://ada:{SECRET}@example.com:0/"),
    "no port": lambda: parse(f"ws://ada:{SECRET}@example.com:x/"),
    "no TLS": lambda: http_client().wss(f"ws://ada:{SECRET}@example.com/"),
    "a host with a user": lambda: http_client().wss(f"ada:{SECRET}@example.com", 443, "/"),
    "a proxy without a port": lambda: parse_proxy(f"http://ada:{SECRET}/x@example.com:3128"),
    "a proxy with a path": lambda: parse_proxy(f"http://ada:{SECRET}@example.com/x"),
    "a token with a line break": lambda: builder().bearer(f"{SECRET}\n"),
    "a token as bytes": lambda: builder().bearer(SECRET.encode()),
    "a password as bytes": lambda: builder().basic_auth("ada", SECRET.encode()),
    "user and password in one": lambda: builder().basic_auth(f"ada:{SECRET}", ""),
    "a header with a line break": lambda: builder().header("authorization", f"Bearer {SECRET}\r\nX: 1"),
    "a header as bytes": lambda: builder().header("Authorization", f"Bearer {SECRET}".encode()),
    "a header beyond latin-1": lambda: builder().header("Cookie", f"a={SECRET}\u20ac"),
    "headers as one text": lambda: builder().headers(f"Authorization: Bearer {SECRET}"),
    "headers that are no pairs": lambda: builder().headers([("Cookie", f"a={SECRET}", "b")]),
    "two lines of cookies": lambda: builder().header("Cookie", "a=b").header("Cookie", f"a={SECRET}"),
    "a cookie with a blank": lambda: builder().cookies({"a": f"{SECRET} x"}),
    "a cookie as bytes": lambda: builder().cookies({"a": SECRET.encode()}),
    "cookies as one text": lambda: builder().cookies(f"a={SECRET}"),
    "a server's cookie with a blank": lambda: Response.text(200, "").cookie("a", f"{SECRET} x"),
    "a server's cookie as bytes": lambda: Response.text(200, "").cookie("a", SECRET.encode()),  # type: ignore[arg-type]
    "a server's cookie by hand": lambda: Response.text(200, "", {"Set-Cookie": f"a={SECRET}\n"}),
    "a redirect that cannot be followed": lambda: follow(
        parse("wss://example.com/"), HandshakeError(302, Headers({"Location": f"ws://ada:{SECRET}@example.com/"}))
    ),
}


@for_each("what", CALLS)
def test_no_error_shows_a_password_a_token_or_a_cookie(what: str) -> None:
    with pytest.raises((ValueError, TypeError, HandshakeError)) as raised:
        CALLS[what]()
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_no_repr_shows_them_either() -> None:
    fields = {"Authorization": SECRET, "cookie": SECRET, "Set-Cookie": SECRET, "Proxy-Authorization": SECRET, "A": "b"}
    headers = Headers(fields)
    assert SECRET not in repr(headers)
    assert "('A', 'b')" in repr(headers)
    assert headers["cookie"] == SECRET
    for url in (parse(f"ws://ada:{SECRET}@example.com/"), parse_proxy(f"http://ada:{SECRET}@example.com:3128")):
        assert url.userinfo == ("ada", SECRET)
        assert SECRET not in f"{url} {url!r}"
    made = builder().bearer(SECRET).cookies({"a": SECRET}).proxy(f"http://ada:{SECRET}@example.com:3128")
    assert SECRET not in repr(made)
    assert SECRET not in repr(made._target())


def test_a_url_without_a_user_is_shown_as_it_is() -> None:
    assert without_user("ws://example.com/a?b") == "ws://example.com/a?b"
    assert without_user("ws://a:b@c@example.com/") == "ws://***@example.com/"
