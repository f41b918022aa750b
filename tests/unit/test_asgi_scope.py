"""What an application is told of a request."""

from __future__ import annotations

from typing import Any

import pytest

from firefly_ws.asgi.events import ClientDisconnected, is_gone, kind_of
from firefly_ws.asgi.scope import address, http_scope, websocket_scope
from firefly_ws.http.head import RequestHead
from firefly_ws.http.request import Request


def read(target: str, *fields: str) -> Request:
    head = "".join(f"{field}\r\n" for field in ("Host: example.com", *fields))
    request = RequestHead().feed(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
    assert request is not None
    request.remote_address = ("1.2.3.4", 5)
    return request


def test_an_http_scope_has_what_the_specification_names() -> None:
    request = read("/a%20b%2Fc%C3%A9?q=%20&r", "X-Two:  1", "x-two: 2", "Cookie: \xe4")
    assert http_scope(request, "", ("9.8.7.6", 80), {"db": 1}) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b/cé",
        "raw_path": b"/a%20b%2Fc%C3%A9",
        "query_string": b"q=%20&r",
        "root_path": "",
        "headers": [(b"host", b"example.com"), (b"x-two", b"1"), (b"x-two", b"2"), (b"cookie", b"\xe4")],
        "client": ("1.2.3.4", 5),
        "server": ("9.8.7.6", 80),
        "state": {"db": 1},
        "extensions": {},
    }


def test_a_websocket_scope_has_subprotocols_and_the_denial_response() -> None:
    request = read("http://other/ws", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c")
    request.is_secure = True
    scope = websocket_scope(request, "", "/run/app.sock", None)
    assert (scope["type"], scope["scheme"], scope["path"]) == ("websocket", "wss", "/ws")
    assert scope["subprotocols"] == ["a", "b", "c"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert scope["server"] == ("/run/app.sock", None)
    assert "state" not in scope
    assert "method" not in scope


def test_the_root_path_stands_before_the_path_and_each_request_has_its_own_state() -> None:
    state: dict[str, Any] = {"a": 1}
    scope = http_scope(read("/x"), "/api", None, state)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/x", b"/api/x")
    scope["state"]["b"] = 2
    assert state == {"a": 1}


@pytest.mark.parametrize(
    ("given", "told"),
    [(("::1", 80, 0, 0), ("::1", 80)), ("", None), (None, None), (b"\0name", ("\0name", None))],
    ids=str,
)
def test_an_address_is_a_pair_or_unknown(given: Any, told: Any) -> None:
    assert address(given) == told


def test_a_client_that_is_gone_is_seen_in_what_was_raised_for_it() -> None:
    def fails() -> None:
        try:
            raise ClientDisconnected("gone")
        except OSError:
            raise ValueError("own") from None

    with pytest.raises(ValueError, match="own") as caught:
        fails()
    assert is_gone(caught.value)
    assert not is_gone(ValueError())
    assert isinstance(ClientDisconnected(), OSError)
    with pytest.raises(TypeError, match="a 'type', not"):
        kind_of({"type": 1})
