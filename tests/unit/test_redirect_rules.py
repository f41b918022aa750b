"""Where a redirect leads, and what goes along."""

from __future__ import annotations

import pytest

from firefly_ws import HandshakeError
from firefly_ws.redirects import follow, is_redirect, without_credentials
from firefly_ws.url import WebSocketURL, parse


def led(url: str, location: str) -> WebSocketURL:
    return follow(parse(url), HandshakeError(302, {"location": location}))


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("ws://h/a", "/\u00c3\u00bc", "ws://h/%C3%BC"),
        ("ws://h/a", "/\u00fc", "ws://h/%C3%BC"),
        ("ws://h/a/b?x=1", "/c", "ws://h/c"),
        ("ws://h/a/b", "c?y=2", "ws://h/a/c?y=2"),
        ("ws://h:8080/a", "?y", "ws://h:8080/a?y"),
        ("ws://h/a", "//other:99/x", "ws://other:99/x"),
        ("wss://h/a", "//other/x", "wss://other/x"),
        ("ws://h/a", "wss://h/a", "wss://h/a"),
        ("ws://h/a", "https://h/a", "wss://h/a"),
        ("ws://h/a", "HTTP://H:81/a", "ws://h:81/a"),
        ("wss://h/a", "https://other/", "wss://other/"),
        ("ws://h/a", "/b#part", "ws://h/b"),
        ("ws://h/a", "ws://ada:pw@h/b", "ws://h/b"),
        ("ws://[::1]:80/a", "/b c", "ws://[::1]/b%20c"),
    ],
)
def test_a_location_is_relative_or_not_and_may_speak_of_http(url: str, location: str, expected: str) -> None:
    found = led(url, location)
    assert str(found) == expected
    assert found.userinfo is None


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("ws://h/", "which would give up TLS"),
        ("http://h/", "which would give up TLS"),
        ("ftp://h/", "cannot be followed: .*must begin with ws://"),
        ("https:///x", "cannot be followed: .*has no host"),
        ("wss://h:99999/", "cannot be followed"),
    ],
)
def test_what_cannot_be_followed_says_why_and_keeps_the_answer(location: str, said: str) -> None:
    answer = HandshakeError(307, {"location": location}, b"there")
    with pytest.raises(HandshakeError, match=said) as raised:
        follow(parse("wss://h/a"), answer)
    error = raised.value
    assert (error.status, error.headers, error.body) == (307, answer.headers, b"there")
    assert "wss://h/a answered 307 with the Location" in str(error)


def test_a_redirect_has_a_status_of_five_and_a_location() -> None:
    found = {status for status in range(100, 600) if is_redirect(HandshakeError(status, {"location": "/"}))}
    assert found == {301, 302, 303, 307, 308}
    assert not is_redirect(HandshakeError(302))


HEADERS = (("Authorization", "Bearer x"), ("X-One", "1"), ("cookie", "a=b"), ("Proxy-Authorization", "y"))


@pytest.mark.parametrize("new", ["wss://h/", "wss://h:80/", "ws://h:81/", "ws://other/", "ws://www.h/"])
def test_another_origin_gets_no_credentials(new: str) -> None:
    assert without_credentials(HEADERS, parse("ws://h/"), parse(new)) == (("X-One", "1"),)


def test_the_same_origin_gets_everything() -> None:
    assert without_credentials(HEADERS, parse("ws://h/a"), parse("ws://H:80/b?c")) == HEADERS
