"""`Request`: what a handler reads of a head."""

from __future__ import annotations

import pytest

from firefly_ws.http.headers import Headers
from firefly_ws.http.request import Request


def request(target: str = "/", *fields: tuple[str, str]) -> Request:
    return Request("GET", target, Headers([("Host", "a"), *fields]))


@pytest.mark.parametrize(
    ("target", "raw", "path", "query"),
    [
        ("/", "/", "/", ""),
        ("/chat?a=1", "/chat", "/chat", "a=1"),
        ("/ch%C3%A4t/%2f", "/ch%C3%A4t/%2f", "/chät//", ""),
        ("/a?b?c=d", "/a", "/a", "b?c=d"),
        ("/x?u=http://y/z", "/x", "/x", "u=http://y/z"),
        ("http://host:80/chat?a=1", "/chat", "/chat", "a=1"),
        ("ws://host", "/", "/", ""),
        ("http://host?a=1", "/", "/", "a=1"),
        ("*", "*", "*", ""),
    ],
)
def test_the_path_is_cut_from_the_target(target: str, raw: str, path: str, query: str) -> None:
    made = request(target)
    assert (made.raw_path, made.path, made.query_string) == (raw, path, query)


def test_a_query_is_decoded_and_its_last_value_wins() -> None:
    made = request("/?a=1&b=%C3%A4+x&a=2&c=")
    assert made.query == {"a": "2", "b": "ä x", "c": ""}
    assert made.query_all == {"a": ["1", "2"], "b": ["ä x"], "c": [""]}
    assert request("/").query == {}


def test_cookies_are_read_from_every_line_and_the_first_wins() -> None:
    made = request("/", ("Cookie", 'a=1; b="two"; a=3; nonsense; =x'), ("Cookie", "c=x=y"))
    assert made.cookies == {"a": "1", "b": "two", "c": "x=y"}
    assert made.cookies is made.cookies
    assert request("/").cookies == {}


def test_path_params_are_the_routes_to_set() -> None:
    made = request()
    assert made.path_params == {}
    made.path_params = {"name": "x"}
    assert made.path_params["name"] == "x"


def test_attributes_are_kept() -> None:
    made = request()
    made.attributes["user"] = 1
    assert made.attributes == {"user": 1}


def test_address_and_tls_are_the_servers_to_set() -> None:
    made = request()
    assert made.remote_address is None
    assert made.is_secure is False
    assert made.http_version == "1.1"
    assert repr(made) == "<Request GET / HTTP/1.1>"


def test_a_clients_request_is_a_get() -> None:
    made = Request.of_client("/x?y=1", Headers([("Host", "a")]))
    assert (made.method, made.path, made.query) == ("GET", "/x", {"y": "1"})
