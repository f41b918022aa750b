"""What a request holds: all of it where somebody made it, the bytes alone where a glance has found it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from fakes import Transport, turns
from heads import head

from firefly_ws import Request, http_server
from firefly_ws.accepting import ServerHandshake
from firefly_ws.http.asked import Asked
from firefly_ws.http.headers import Headers
from firefly_ws.testing.in_memory import MemoryServer


def test_a_request_that_is_made_has_what_it_was_given() -> None:
    headers = Headers({"Host": "a"})
    request = Request("POST", "/x", headers, "1.0")
    assert (request.method, request.target, request.http_version) == ("POST", "/x", "1.0")
    assert request.headers is headers
    assert Asked("GET", "/", headers).http_version == "1.1"
    assert (request.remote_address, request.is_secure) == (None, False)
    for name in ("_path_params", "_query", "_cookies", "_attributes", "_body"):
        assert getattr(request, name) is None


@pytest.mark.parametrize("wrong", [(None, "/"), ("GET", None), (b"GET", "/"), ("GET", b"/")])
def test_a_method_and_a_target_are_str(wrong: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        Asked(*wrong, Headers())


def test_who_asked_and_by_tls_is_the_servers_to_set_and_nothing_else_is() -> None:
    request = Request("GET", "/", Headers())
    request.remote_address = ("127.0.0.1", 1)
    request.is_secure = True
    assert (request.remote_address, request.is_secure) == (("127.0.0.1", 1), True)
    for name in ("method", "target", "http_version", "headers"):
        with pytest.raises(AttributeError):
            setattr(request, name, "x")
    with pytest.raises(AttributeError):
        request.anything = 1  # type: ignore[attr-defined]


async def arrived(data: bytes) -> Any:
    """The connection of an upgrade request."""
    opened: list[Any] = []
    app = http_server().websocket("/chat").on_open(opened.append).discard()
    server = MemoryServer(app._server, asyncio.get_running_loop())
    transport = Transport(server._loop)
    handshake = ServerHandshake(server._waiting, False)
    transport.set_protocol(handshake)
    handshake.connection_made(transport)
    handshake.data_received(data)
    return opened.pop()


async def test_the_fields_of_a_request_that_was_glanced_at_are_read_when_first_asked_for() -> None:
    connection = await arrived(head("X-Name: a", "x-name:\tcaf\xe9 "))
    request = connection.request
    assert (request.method, request.target, request.http_version) == ("GET", "/chat", "1.1")
    assert len(request.headers) == 6
    assert request.headers is request.headers
    assert request.headers.get_all("X-NAME") == ["a", "caf\xe9"]
    assert request.headers.raw[0] == (b"Host", b"server.example.com")
    connection.terminate()
    await turns()
    assert request.headers["upgrade"] == "websocket"


async def test_a_request_keeps_nothing_alive_but_itself() -> None:
    connection = await arrived(head())
    request = connection.request
    gone = weakref.ref(connection)
    connection.terminate()
    await turns()
    del connection
    gc.collect()
    assert gone() is None
    assert request.remote_address is None
    assert request.cookies == {}
