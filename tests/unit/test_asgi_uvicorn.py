"""What uvicorn's options mean, and what is answered before an application is asked; no socket, no uvicorn."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from firefly_ws.asgi.uvicorn import WebSocketProtocol, _settings_of

HEAD = (
    b"GET /x HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Config(SimpleNamespace):
    """uvicorn's, with its defaults."""

    __hash__ = object.__hash__

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{
                "loaded": True, "loaded_app": None, "asgi_version": "3.0", "root_path": "", "ws_max_size": 2**24,
                "ws_max_queue": 32, "ws_ping_interval": 20.0, "ws_ping_timeout": 20.0, "ws_per_message_deflate": True,
            } | options
        )  # fmt: skip


class Transport:
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.written = b""
        self.said: list[str] = []

    def get_extra_info(self, name: str) -> Any:
        return None

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return "close" in self.said or "abort" in self.said

    def __getattr__(self, name: str) -> Any:
        return lambda: self.said.append(name)


def protocol(app: Any = None, **options: Any) -> tuple[WebSocketProtocol, Transport, Any]:
    state = SimpleNamespace(
        connections=set(), tasks=set(), default_headers=[(b"Date", b"now"), (b"server", b"uvicorn"), (b"x-all", b"1")]
    )
    one, transport = WebSocketProtocol(Config(loaded_app=app, **options), state, {}), Transport()
    one.connection_made(transport)  # type: ignore[arg-type]
    return one, transport, state


def test_each_option_is_a_limit_and_is_worked_out_once() -> None:
    config = Config(ws_max_size=1000, ws_max_queue=4, ws_ping_interval=5, ws_ping_timeout=None)
    policy = _settings_of(config).policy
    assert (policy.max_message_size, policy.max_queue, policy.ping_interval, policy.ping_timeout) == (
        1000, (4, 2**20), 5, None,
    )  # fmt: skip
    assert _settings_of(config) is _settings_of(config)
    assert _settings_of(Config(ws_ping_interval=0)).policy.ping_interval is None
    assert len(_settings_of(config).extensions or ()) == 1
    assert not _settings_of(Config(ws_per_message_deflate=False)).extensions


def test_an_option_that_cannot_hold_is_named() -> None:
    for name, value in (("ws_max_size", -1), ("ws_max_queue", 0), ("ws_ping_interval", -1), ("ws_ping_timeout", "x")):
        with pytest.raises((TypeError, ValueError), match=f"uvicorn's {name} cannot hold: .*={value!r}"):
            _settings_of(Config(**{name: value}))


async def test_a_refusal_has_uvicorns_fields_but_for_its_own() -> None:
    for head, status in ((HEAD + b"host: b\r\n\r\n", b"400"), (HEAD.replace(b"13", b"12") + b"\r\n", b"426")):
        one, transport, state = protocol()
        one.data_received(head)
        assert transport.written.split()[1] == status
        assert transport.written.lower().count(b"\r\ndate: ") == 1
        assert b"\r\nserver: uvicorn\r\nx-all: 1\r\n" in transport.written
        assert transport.said == ["resume_reading", "write_eof"]
        one.data_received(b"more")
        one.connection_lost(None)
        assert not state.connections


async def test_the_head_may_come_in_parts_and_an_application_is_asked_in_a_later_turn() -> None:
    asked: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)
        await send({"type": "websocket.close"})

    one, transport, state = protocol(app, asgi_version="2.0", root_path="/api")
    for byte in HEAD + b"\r\n":
        one.data_received(bytes((byte,)))
    one.data_received(b"a frame")
    assert transport.said == ["pause_reading"]
    assert not asked
    async with asyncio.timeout(5):
        while not asked or state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)
    [scope] = asked
    assert (scope["asgi"]["version"], scope["path"], scope["client"], scope["scheme"]) == ("2.0", "/api/x", None, "ws")
    assert transport.written.startswith(b"HTTP/1.1 403 ")
    one.data_received(b"what comes now is read over")
    assert transport.said == ["pause_reading", "resume_reading", "write_eof"]
    one.connection_lost(None)


async def test_shutdown_before_the_decision_is_an_answer_and_the_end_of_the_transport() -> None:
    for head, answer in ((b"", b""), (HEAD, b""), (HEAD + b"\r\n", b"HTTP/1.1 500 ")):
        one, transport, state = protocol()
        if head:
            one.data_received(head)
        one.shutdown()
        assert transport.written.startswith(answer)
        assert "close" in transport.said
        one.connection_lost(None)
        await asyncio.sleep(0)
        assert not state.tasks
        assert not state.connections


async def test_a_client_that_left_before_its_turn_is_no_call_of_the_application() -> None:
    one, transport, state = protocol()
    one.data_received(HEAD + b"\r\n")
    transport.said.append("abort")
    one.connection_lost(ConnectionResetError())
    await asyncio.sleep(0)
    assert not state.tasks
