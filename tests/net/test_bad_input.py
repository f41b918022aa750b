"""What cannot work, over sockets: each has its own error, at once, with the fact in it."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support import (
    Inbox,
    RawPeer,
    echo,
    logged,
    nothing_leaks,  # noqa: F401
    raw_server,
    soon,
    url_of,
)

from firefly_ws import (
    BinaryFrame,
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionState,
    ContinuationFrame,
    Frame,
    HandshakeError,
    Server,
    TextFrame,
    WebSocketConnection,
    WebSocketConnectionException,
    WebSocketException,
    http_client,
    http_server,
)


@pytest.fixture
async def server(nothing_leaks: None) -> AsyncIterator[Server]:  # noqa: F811
    async with http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0) as server:
        yield server


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[WebSocketConnection]:
    async with http_client().websocket(url_of(server)).discard().connect() as connection:
        yield connection


async def cannot_listen(**where: Any) -> WebSocketConnectionException:
    """The error of a listen that is awaited; it is not logged as well."""
    with logged() as records, pytest.raises(WebSocketConnectionException) as raised:
        await http_server().websocket("/").listen(**where)
    assert not records
    assert isinstance(raised.value, OSError)
    assert isinstance(raised.value, WebSocketException)
    assert isinstance(raised.value.__cause__, OSError)
    return raised.value


async def cannot_connect(url: str) -> WebSocketConnectionException:
    with logged() as records, pytest.raises(WebSocketConnectionException) as raised:
        await soon(http_client().websocket(url).discard().connect())
    assert not records
    assert type(raised.value) is WebSocketConnectionException
    return raised.value


# --- listening


async def test_a_port_in_use(server: Server) -> None:
    error = await cannot_listen(host="127.0.0.1", port=server.port)
    assert str(error) == f"cannot listen on 127.0.0.1:{server.port}: Address already in use"
    assert error.errno == errno.EADDRINUSE


async def test_a_host_to_listen_on_that_does_not_resolve() -> None:
    error = await cannot_listen(host="no-such-host.invalid", port=0)
    assert str(error).startswith("cannot listen on no-such-host.invalid:0: ")


async def test_a_host_to_listen_on_that_is_not_ours() -> None:
    error = await cannot_listen(host="192.0.2.1", port=0)
    assert "192.0.2.1" in str(error)
    assert error.errno == errno.EADDRNOTAVAIL


async def test_a_unix_socket_whose_path_is_too_long(tmp_path: Path) -> None:
    assert "x" * 200 in str(await cannot_listen(path=tmp_path / ("x" * 200)))


async def test_a_socket_that_is_closed() -> None:
    sock = socket.socket()
    sock.close()
    error = await cannot_listen(sock=sock)
    assert error.errno == errno.EBADF


@pytest.mark.parametrize("kind", ["datagram", "connected"])
async def test_a_socket_that_cannot_listen(kind: str) -> None:
    if kind == "datagram":
        sock, other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        sock.bind(("127.0.0.1", 0))
    else:
        sock, other = socket.socketpair()
    with sock, other, pytest.raises(ValueError, match=r"sock=.*must be a stream|sock=.*is connected"):
        http_server().websocket("/").listen(sock=sock)


# --- connecting


async def test_a_refused_connection(unused_tcp_port: int) -> None:  # C8
    error = await cannot_connect(f"ws://127.0.0.1:{unused_tcp_port}/")
    assert f"127.0.0.1 port {unused_tcp_port}: Connection refused" in str(error)
    assert error.errno == errno.ECONNREFUSED
    assert isinstance(error.__cause__, ConnectionRefusedError)


async def test_a_host_that_does_not_resolve() -> None:  # C8
    error = await cannot_connect("ws://no-such-host.invalid/")
    assert "the host 'no-such-host.invalid' does not resolve" in str(error)
    assert isinstance(error.__cause__, socket.gaierror)


async def test_a_server_that_resets_the_connection() -> None:
    async def reset(peer: RawPeer) -> None:
        await peer.request()
        peer.writer.transport.abort()

    async with raw_server(reset) as port:
        with pytest.raises(HandshakeError, match=f"ws://127.0.0.1:{port}/") as raised:
            await http_client().websocket(f"ws://127.0.0.1:{port}/").discard().connect()
    assert raised.value.status == 0


# --- sending


@pytest.mark.parametrize("value", [None, 5, 1.5, ["x"], {"a": 1}, object(), str])
async def test_what_is_no_message_is_not_sent(connection: WebSocketConnection, value: Any) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        connection.send(value)
    assert connection.stats["messages_sent"] == 0
    assert connection.is_open


async def test_each_send_takes_its_own_type(connection: WebSocketConnection) -> None:  # F5
    cases: list[tuple[Callable[[Any], Any], Any, str]] = [
        (connection.send_text, b"x", "bytes"),
        (connection.send_data, "x", "str"),
        (connection.send_binary, "x", "str"),
        (connection.send_frame, "x", r"takes a Frame, not str; .* send\(\)"),
        (connection.ping, 5, "int"),
        (connection.pong, 5, "int"),
        (connection.send, {"a": 1}, r"not dict; send_serialized\(value\) .* send_stream\(pieces\)"),
    ]
    for call, value, said in cases:
        with pytest.raises(TypeError, match=said):
            call(value)
    assert connection.stats["messages_sent"] == 0


async def test_text_that_is_no_unicode_is_not_sent(connection: WebSocketConnection) -> None:
    with pytest.raises(UnicodeEncodeError):
        connection.send("lone \ud800 surrogate")
    with pytest.raises(UnicodeEncodeError):
        connection.send_text("\udfff")
    connection.send("fine")
    assert connection.stats["messages_sent"] == 1


async def test_a_ping_has_at_most_125_bytes(connection: WebSocketConnection) -> None:
    for call in (connection.ping, connection.pong):
        with pytest.raises(ValueError, match=r"126.*125"):
            call(b"x" * 126)
    await soon(connection.ping(b"x" * 125))


@pytest.mark.parametrize(
    "frame",
    [ContinuationFrame(b"x"), TextFrame("x", fin=False), BinaryFrame(b"x", fin=False)],
    ids=["continuation", "text", "binary"],
)
async def test_a_fragment_is_not_sent(connection: WebSocketConnection, frame: Frame) -> None:
    for call in (connection.send, connection.send_frame):
        with pytest.raises(ValueError, match="fragment"):
            call(frame)
    assert connection.stats["messages_sent"] == 0
    await soon(connection.ping())


async def test_a_send_after_close_names_the_close(connection: WebSocketConnection) -> None:  # C8
    closing = connection.close(4001, "done here")
    assert connection.state is ConnectionState.CLOSING
    for call in (lambda: connection.send("x"), lambda: connection.send_data(b"x"), connection.ping):
        with pytest.raises(ConnectionClosedError, match=r"4001.*done here") as raised:
            call()
        assert raised.value.sent == CloseReason(4001, "done here")
        assert raised.value.received is None
    await soon(closing)
    with pytest.raises(ConnectionClosedError, match="4001") as raised:
        connection.send("x")
    assert raised.value.received == raised.value.reason == CloseReason(4001, "done here")
    assert raised.value.code == 4001


async def test_a_send_after_a_normal_close_is_a_quieter_error(connection: WebSocketConnection) -> None:  # C8
    await soon(connection.close())
    with pytest.raises(ConnectionClosedOK):
        connection.send("x")


async def test_a_send_from_another_thread_says_so_and_what_to_use(connection: WebSocketConnection) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: connection.send("x"),
        lambda: connection.send_text("x"),
        lambda: connection.send_data(b"x"),
        lambda: connection.send_frame(TextFrame("x")),
        connection.ping,
        connection.pong,
        connection.flush,
        connection.close,
        connection.drop,
        connection.terminate,
        connection.pause_reading,
        connection.resume_reading,
    ]
    errors: list[BaseException] = []

    def other() -> None:
        for call in calls:
            try:
                call()
            except RuntimeError as error:
                errors.append(error)

    thread = threading.Thread(target=other, name="elsewhere")
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(errors) == len(calls)
    for error in errors:
        assert "thread" in str(error)
        assert ".threadsafe" in str(error)
    assert connection.is_open
    assert connection.stats["messages_sent"] == 0


# --- closing


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, -1])
async def test_a_code_that_may_not_be_sent(connection: WebSocketConnection, server: Server, code: int) -> None:
    for call in (connection.close, connection.drop, server.close, connection.close_async):
        with pytest.raises(ValueError, match=str(code)):
            call(code)
    with pytest.raises(ValueError, match=str(code)):
        connection.close(CloseReason(code, ""))
    assert connection.is_open
    assert server.is_listening


@pytest.mark.parametrize("code", [None, "1000", 1000.0, b"x", True])
async def test_a_code_of_another_type(connection: WebSocketConnection, server: Server, code: Any) -> None:
    for call in (connection.close, connection.drop, server.close):
        with pytest.raises(TypeError, match="code"):
            call(code)
    assert connection.is_open


async def test_a_reason_has_at_most_123_bytes_of_utf8(connection: WebSocketConnection, server: Server) -> None:
    for call in (connection.close, connection.drop, server.close):
        with pytest.raises(ValueError, match=r"124.*123"):
            call(1000, "ä" * 62)
        with pytest.raises(TypeError, match="reason"):
            call(1000, b"bytes")
        with pytest.raises(UnicodeEncodeError):
            call(1000, "\ud800")
    assert connection.is_open
    assert await soon(connection.close(1000, "ä" * 61 + "x")) == CloseReason(1000, "ä" * 61 + "x")


@pytest.mark.parametrize(("grace", "kind"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
async def test_a_grace_that_is_no_time(server: Server, grace: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="grace"):
        server.close(grace=grace)
    assert server.is_listening


# --- errors that are the user's own


async def test_a_selector_that_chooses_what_was_not_offered_refuses_with_500_and_is_logged() -> None:
    route = http_server().websocket("/").on_sub_protocol_select(lambda offered, request: "mine")
    async with route.listen("127.0.0.1", 0) as server:
        with logged() as records, pytest.raises(HandshakeError) as raised:
            await http_client().websocket(url_of(server)).sub_protocols(["a"]).connect()
    assert raised.value.status == 500
    assert "'mine', which is not one of those offered" in str(records[0].exc_info[1])  # type: ignore[index]


async def test_setting_a_callback_while_connections_are_open_does_not_let_it_be_set_twice(server: Server) -> None:
    inbox = Inbox()
    builder = http_client().websocket(url_of(server)).on_text(inbox)
    async with builder.connect():
        with pytest.raises(ValueError, match=r"on_text\(\) is set already"):
            builder.on_text(inbox)
