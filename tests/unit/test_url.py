"""Addresses of websockets."""

from __future__ import annotations

import pytest

from firefly_ws.url import parse


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "target", "header"),
    [
        ("ws://a", False, "a", 80, "/", "a"),
        ("wss://a", True, "a", 443, "/", "a"),
        ("WSS://Example.COM/Chat", True, "example.com", 443, "/Chat", "example.com"),
        ("ws://a:80/", False, "a", 80, "/", "a"),
        ("ws://a:443/", False, "a", 443, "/", "a:443"),
        ("wss://a:80/x", True, "a", 80, "/x", "a:80"),
        ("ws://a:8080?x=1", False, "a", 8080, "/?x=1", "a:8080"),
        ("ws://a/b?c=d?e", False, "a", 80, "/b?c=d?e", "a"),
        ("ws://127.0.0.1:9/x", False, "127.0.0.1", 9, "/x", "127.0.0.1:9"),
        ("ws://[::1]/", False, "::1", 80, "/", "[::1]"),
        ("ws://[2001:DB8::1]:81/", False, "2001:db8::1", 81, "/", "[2001:db8::1]:81"),
        ("ws://[fe80::1%25eth0]/", False, "fe80::1%eth0", 80, "/", "[fe80::1]"),
        ("ws://bücher.example/", False, "xn--bcher-kva.example", 80, "/", "xn--bcher-kva.example"),
        ("ws://a/ü/%C3%BC b?q=ö&r=%20", False, "a", 80, "/%C3%BC/%C3%BC%20b?q=%C3%B6&r=%20", "a"),
        ("ws://a_b/", False, "a_b", 80, "/", "a_b"),
        ("ws://a:/", False, "a", 80, "/", "a"),
        ("ws://a.:81/", False, "a.", 81, "/", "a.:81"),
        ("ws://@a/", False, "a", 80, "/", "a"),
        ("ws://:@a/", False, "a", 80, "/", "a"),
        ("ws://[::1]:81", False, "::1", 81, "/", "[::1]:81"),
        ("ws://a/100%?b=%zz&c=%4", False, "a", 80, "/100%25?b=%25zz&c=%254", "a"),
        ("ws://a/b\\c", False, "a", 80, "/b%5Cc", "a"),
        ("ws://" + "a" * 63 + "/", False, "a" * 63, 80, "/", "a" * 63),
    ],
)
def test_a_url_is_taken_apart(url: str, secure: bool, host: str, port: int, target: str, header: str) -> None:  # F6
    parsed = parse(url)
    assert (parsed.secure, parsed.host, parsed.port, parsed.target) == (secure, host, port, target)
    assert parsed.host_header == header
    assert parsed.userinfo is None


def test_the_user_is_decoded_and_not_shown() -> None:
    parsed = parse("ws://us%40er:p%3Ass@a:81/x")
    assert parsed.userinfo == ("us@er", "p:ss")
    assert str(parsed) == "ws://a:81/x"
    assert parse("ws://user@a/").userinfo == ("user", "")


def test_a_user_that_no_browser_sees_or_nobody_can_decode_is_refused() -> None:
    # To a browser the first is host a; the second was sent with U+FFFD in the place of what was meant.
    for url, why in (("ws://a\\@b/", "no backslash"), ("ws://u:%ff@a/", "user and password must be UTF-8")):
        with pytest.raises(ValueError, match=why) as caught:
            parse(url)
        assert "%ff" not in str(caught.value)


def test_a_zone_is_part_of_the_address_and_not_of_the_host_header() -> None:
    parsed = parse("ws://[fe80::1%25eth0]:81/x")
    assert (str(parsed), parsed.host_header) == ("ws://[fe80::1%25eth0]:81/x", "[fe80::1]:81")
    assert parse(str(parsed)) == parsed


def test_two_urls_are_one_address_whoever_asks() -> None:
    assert parse("ws://u:p@a/") == parse("ws://a:80/")


def test_the_authority_always_has_a_port() -> None:
    assert parse("wss://a/").authority == "a:443"
    assert parse("ws://[::1]/").authority == "[::1]:80"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://a/", "must begin with ws:// or wss://"),
        ("a/b", "must begin with ws:// or wss://"),
        ("ws:/a", "must begin with ws:// or wss://"),
        ("", "must begin with ws:// or wss://"),
        ("ws://a/#top", "fragment"),
        ("ws://a/#", "fragment"),
        ("ws://", "no host"),
        ("ws:///path", "no host"),
        ("ws://:80/", "no host"),
        ("ws://a:0/", "port 0 must be from 1 to 65535"),
        ("ws://a:65536/", "its port must be from 1 to 65535"),
        ("ws://a\\b/", "no backslash before its path"),
        ("ws://a\\:80/", "no backslash before its path"),
        ("ws://[::1]x/", r"behind the \] .* a port alone"),
        ("ws://a..b/", "no valid host name"),
        ("ws://fa\u00df.example/", "IDNA 2003 and 2008 encode differently"),
        ("ws://a\u200cb.example/", "IDNA 2003 and 2008 encode differently"),
        ("ws://.a/", "no valid host name"),
        ("ws://./", "no valid host name"),
        ("ws://" + "a" * 64 + "/", "no valid host name"),
        ("ws://" + "a." * 128 + "/", "no valid host name"),
        ("ws://a:x/", "malformed"),
        ("ws://[::1/", "malformed"),
        ("ws://[::g]/", r"malformed|IPv6"),
        ("ws://[v1.a:b]/", "no IPv6 address"),
        ("ws://[fe80::1%25a b]/", "no IPv6 address"),
        ("ws://[fe80::1%ü]/", "no IPv6 address"),
        ("ws://a b/", "no valid host name"),
        ("ws://a%0d%0ab/", "no valid host name"),
        ("ws://a<b/", "no valid host name"),
        ("ws://" + "ü" * 80 + "/", "no valid host name"),
        ("ws://a/\r\nX: 1", "control characters"),
        ("ws://a/\tb", "control characters"),
    ],
)
def test_a_bad_url_is_named_with_its_fault(url: str, why: str) -> None:  # F6
    with pytest.raises(ValueError, match=why) as caught:
        parse(url)
    assert repr(url) in str(caught.value)


def test_a_url_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a str"):
        parse(b"ws://a")  # type: ignore[arg-type]


def test_the_target_never_leaves_ascii_or_the_line() -> None:
    target = parse("ws://a/x y\u2028é?ü ü").target
    assert target.isascii()
    assert not any(sign.isspace() for sign in target)
