"""Addresses of proxies: what is taken, what is refused without showing a password, and what the environment says."""

from __future__ import annotations

import pytest

from firefly_ws import proxy as module
from firefly_ws.proxy import ProxyURL, from_environment, parse
from firefly_ws.url import parse as websocket_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy", ProxyURL("http", "proxy", 80)),
        ("http://Proxy:3128/", ProxyURL("http", "proxy", 3128)),
        ("https://proxy", ProxyURL("https", "proxy", 443)),
        ("HTTP://proxy:1", ProxyURL("http", "proxy", 1)),
        ("socks4://10.0.0.1", ProxyURL("socks4", "10.0.0.1", 1080)),
        ("socks4a://ada@proxy", ProxyURL("socks4a", "proxy", 1080, ("ada", ""))),
        ("socks5://[::1]:9050", ProxyURL("socks5", "::1", 9050)),
        ("socks5h://ada:pw@proxy:9050", ProxyURL("socks5h", "proxy", 9050, ("ada", "pw"))),
        ("http://ada:p%40ss%3A@proxy", ProxyURL("http", "proxy", 80, ("ada", "p@ss:"))),
        ("http://bücher.example", ProxyURL("http", "xn--bcher-kva.example", 80)),
    ],
)
def test_a_proxys_address_is_taken_apart(url: str, expected: ProxyURL) -> None:
    assert parse(url) == expected


def test_only_socks4_and_socks5_have_names_looked_up_here() -> None:
    local = {scheme for scheme in ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
             if not parse(f"{scheme}://proxy").resolves}  # fmt: skip
    assert local == {"socks4", "socks5"}


def test_an_address_is_shown_without_user_and_password() -> None:
    assert str(parse("socks5://ada:secret@[::1]:9050")) == "socks5://[::1]:9050"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("proxy:3128", "must begin with one of http://, https://, socks4://, socks4a://, socks5://, socks5h://"),
        ("ftp://proxy", "must begin with one of"),
        ("http:proxy", "must begin with one of"),
        ("", "must begin with one of"),
        ("http://", "has no host"),
        ("http://ada:secret@", "has no host"),
        ("http://proxy:0", "port 0 must be from 1 to 65535"),
        ("http://ada:secret@proxy:65536", "is malformed: its port must be from 1 to 65535"),
        ("http://ada:secret@pro xy", "must not contain blanks"),
        ("http://ada:secret@proxy/path", "has no path, query or fragment"),
        ("http://proxy?x", "has no path, query or fragment"),
        ("http://proxy#x", "has no path, query or fragment"),
        ("http://[::g]", "is malformed"),
        ("http://a%20b", "is no valid host name"),
        ("http://a%3Ab:secret@proxy", r"the user may have no ':' \(RFC 7617"),
        ("socks4://ada:secret@proxy", "SOCKS 4 knows a user and no password"),
        ("socks4://%C3%A4@proxy", "the user must be ASCII"),
        ("socks4://a%00b@proxy", "the user must be ASCII"),
        ("socks5://ada@proxy", "1 to 255 bytes of ASCII each"),
        (f"socks5://ada:{'x' * 256}@proxy", "1 to 255 bytes of ASCII each"),
        ("socks5://ada:%C3%A4@proxy", "1 to 255 bytes of ASCII each"),
    ],
)
def test_a_bad_address_is_refused_and_its_password_not_shown(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        parse(url)
    assert "secret" not in str(raised.value)


def test_an_address_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="proxy=5 must be a str, as 'http://host:port'"):
        parse(5)  # type: ignore[arg-type]


def test_socks_without_python_socks_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    parse("http://proxy")
    with pytest.raises(ImportError, match=r"'socks5://\*\*\*@proxy'.*pip install 'firefly-ws\[proxy\]'"):
        parse("socks5://ada:secret@proxy")


def found(url: str, **environ: str) -> str | None:
    proxy = from_environment(websocket_url(url), environ)
    return None if proxy is None else str(proxy)


def test_ws_goes_by_http_proxy_and_wss_by_https_proxy() -> None:
    environ = {"HTTP_PROXY": "http://a", "HTTPS_PROXY": "http://b", "ALL_PROXY": "socks5://c"}
    assert found("ws://h", **environ) == "http://a:80"
    assert found("wss://h", **environ) == "http://b:80"
    assert found("ws://h", ALL_PROXY="socks5://c") == "socks5://c:1080"
    assert found("wss://h", HTTP_PROXY="http://a") is None
    assert found("ws://h") is None


def test_a_name_in_lower_case_wins_and_an_empty_value_is_none() -> None:
    assert found("ws://h", http_proxy="http://low", HTTP_PROXY="http://up") == "http://low:80"
    assert found("ws://h", http_proxy="", HTTP_PROXY="http://up") is None
    assert found("ws://h", http_proxy=" ", all_proxy="http://all") == "http://all:80"


def test_an_address_without_a_scheme_is_an_http_proxys() -> None:
    assert found("ws://h", http_proxy="proxy:3128") == "http://proxy:3128"


def test_a_cgi_programs_http_proxy_is_its_clients_header() -> None:
    assert found("ws://h", HTTP_PROXY="http://evil", REQUEST_METHOD="GET") is None
    assert found("ws://h", http_proxy="http://fine", REQUEST_METHOD="GET") == "http://fine:80"


def test_a_bad_value_names_its_variable() -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY: proxy 'ftp://x' must begin with"):
        found("wss://h", HTTPS_PROXY="ftp://x")


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("ws://h", "*", True),
        ("ws://example.com", "example.com", True),
        ("ws://example.com", "EXAMPLE.com", True),
        ("ws://example.com", "a, example.com ,b", True),
        ("ws://chat.example.com", "example.com", True),
        ("ws://chat.example.com", ".example.com", True),
        ("ws://chat.example.com", "*.example.com", True),
        ("ws://example.com.", "example.com", True),
        ("ws://chat.example.com", "example.com.", True),
        ("ws://badexample.com", "example.com", False),
        ("ws://example.com:8080", "example.com:8080", True),
        ("ws://example.com:8081", "example.com:8080", False),
        ("wss://example.com", "example.com:443", True),
        ("ws://10.1.2.3", "10.0.0.0/8", True),
        ("ws://11.1.2.3", "10.0.0.0/8", False),
        ("ws://10.1.2.3", "10.1.2.3", True),
        ("ws://[::1]:8080", "::1", True),
        ("ws://[::1]:8080", "[::1]", True),
        ("ws://[::1]:8080", "[::1]:8080", True),
        ("ws://[::1]:8080", "[::1]:8081", False),
        ("ws://[fd00::5]", "fd00::/8", True),
        ("ws://localhost", "", False),
        ("ws://localhost", ",", False),
        ("ws://localhost", ".", False),
    ],
)
def test_no_proxy_lists_hosts_networks_and_ports(url: str, no_proxy: str, direct: bool) -> None:
    assert (found(url, http_proxy="http://p", https_proxy="http://p", no_proxy=no_proxy) is None) is direct
    assert (found(url, http_proxy="http://p", https_proxy="http://p", NO_PROXY=no_proxy) is None) is direct
