"""Why a connection ended, over sockets: who began, in which words, and the one record in the log."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

import pytest
from judge import KEY, TEXT, frame
from peers import binary, close, eventually, text

from firefly_ws import (
    CloseDetails,
    CloseReason,
    ConnectionClosed,
    ConnectionClosedError,
    WebSocketPolicy,
    WriteTimeout,
)

RECORDS = "firefly_ws.connection"
DEBUG, INFO, WARN = logging.DEBUG, logging.INFO, logging.WARNING


async def opened(net: Any, route: Any, **options: Any) -> tuple[Any, Any]:
    """A server's connection and its peer."""
    server = await net.listen(route, **options)
    peer = await net.peer(server)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def told(connection: Any, caplog: Any) -> tuple[CloseDetails, logging.LogRecord]:
    """What is said behind the end, and the one record of it."""
    async with asyncio.timeout(5):
        await connection.wait_finished()
    (record,) = [one for one in caplog.records if one.name == RECORDS and one.connection_id == connection.id]
    assert str(connection.close_details) in record.getMessage()
    with pytest.raises(ConnectionClosed) as raised:
        connection.send("x")
    assert str(raised.value) == f"send: the connection is closed: {connection.close_details}"
    return connection.close_details, record


def reset(peer: Any) -> None:
    """End TCP by RST."""
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.abort()


def fail(text: str, connection: Any) -> None:
    raise ZeroDivisionError("a secret")


Act = Callable[[Any, Any], object]

# name, the route's options, what happens, who began, the level, how the line begins
CAUSES: list[tuple[str, dict[str, Any], Act, str, int, str]] = [
    ("their close", {}, lambda conn, peer: peer.write(close(1000, "bye")), "remote", DEBUG,
     "received 1000 (NORMAL): bye, sent 1000 (NORMAL): bye"),
    ("their close, another code", {}, lambda conn, peer: peer.write(close(4000)), "remote", INFO,
     "received 4000, sent 4000"),
    ("their empty close", {}, lambda conn, peer: peer.write(close(None)), "remote", DEBUG,
     "received 1005 (NO_STATUS), sent 1005 (NO_STATUS)"),
    ("our close", {}, lambda conn, peer: (conn.close(3000, "done"), peer.write(close(3000))), "local", DEBUG,
     "sent 3000: done, received 3000"),
    ("our close, no answer", {"close_timeout": 0.05}, lambda conn, peer: conn.close(), "local", INFO,
     "sent 1000 (NORMAL), received 1006 (no Close frame): no Close frame came from the peer within close_timeout=0.05 s"
     "; nothing was read"),
    ("terminate", {}, lambda conn, peer: conn.terminate(), "local", DEBUG,
     "received 1006 (no Close frame): the connection was terminated; nothing was read"),
    ("drop", {}, lambda conn, peer: conn.drop(1008, "out"), "local", DEBUG,
     "sent 1008 (POLICY_VIOLATION): out, received 1006 (no Close frame): no Close frame came from the peer"),
    ("the end without a Close", {}, lambda conn, peer: (peer.write(text("x")), peer.writer.close()), "remote", INFO,
     "received 1006 (no Close frame): the peer ended the connection without a Close frame; last read 0."),
    ("a broken rule", {}, lambda conn, peer: (peer.write(frame(TEXT, b"x", rsv=7, mask=KEY)), peer.writer.write_eof()),
     "protocol", INFO, "sent 1002 (PROTOCOL_ERROR), received 1006 (no Close frame): ProtocolError: "),
    ("a broken rule, answered", {}, lambda conn, peer: (peer.write(text(b"\xff")), peer.write(close(1007))),
     "protocol", INFO, "sent 1007 (INVALID_PAYLOAD), received 1006 (no Close frame): InvalidPayload: "),
    ("max_message_size", {"max_message_size": 10}, lambda conn, peer: (peer.write(binary(bytes(11))), peer.abort()),
     "limit", WARN, "sent 1009 (MESSAGE_TOO_BIG), received 1006 (no Close frame): MessageTooBig: a message of at "),
    ("ping_timeout", {"ping_interval": 0.03, "ping_timeout": 0.03}, lambda conn, peer: None,
     "timeout", WARN, "received 1006 (no Close frame): the peer was silent for "),
    ("idle_timeout", {"idle_timeout": 0.03, "close_timeout": 0.03}, lambda conn, peer: None,
     "timeout", WARN, "sent 1001 (GOING_AWAY): no message for "),
    ("a callback", {"close_timeout": 0.03}, lambda conn, peer: peer.write(text("x")),
     "error", INFO, "sent 1011 (INTERNAL_ERROR), received 1006 (no Close frame): closed for an error on this side: "),
]  # fmt: skip


async def test_each_cause_is_told_by_who_began_in_a_line_and_in_a_record_of_its_level(plain: Any, caplog: Any) -> None:
    for name, options, act, began, level, line in CAUSES:
        route = plain.route().policy(WebSocketPolicy(**options))
        connection, peer = await opened(plain, route.on_text(fail) if name == "a callback" else route.discard())
        assert connection.close_details is None, name
        act(connection, peer)
        if name.startswith("a broken rule"):
            await peer.closed()
            peer.abort()
        details, record = await told(connection, caplog)
        assert (details.began, record.levelno, str(details)[: len(line)]) == (began, level, line), name
        assert "a secret" not in record.getMessage(), name


async def test_a_reset_is_told_with_the_systems_error_and_what_was_not_sent(net: Any, caplog: Any) -> None:
    connection, peer = await opened(net, net.route().discard().max_write_buffer(None), send_buffer=4096)
    peer.write(text("x"))
    await eventually(lambda: connection.messages_received)
    peer.writer.transport.pause_reading()
    for _ in range(400):
        connection.send(bytes(16384))
    await eventually(lambda: connection.buffered_amount > 1 << 20)
    reset(peer)
    details, record = await told(connection, caplog)
    assert (details.began, record.levelno, details.reason.code) == ("network", INFO, 1006)
    assert details.error is details.transport_error
    assert details.transport_error.errno in (errno.ECONNRESET, errno.EPIPE)
    assert record.errno == details.transport_error.errno
    assert 100 < details.unsent_messages < 400
    assert details.unsent_bytes >= details.unsent_messages * 16388
    assert record.bytes_unsent == details.unsent_bytes
    assert "the connection was lost: " in str(details)
    unsent = f"{details.unsent_messages} messages ({details.unsent_bytes:,} bytes) unsent"
    assert f"last read {details.last_read:.1f} s ago, {unsent}" in str(details)


async def test_write_timeout_is_told_with_what_was_not_sent(plain: Any, caplog: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard().write_timeout(0.1), send_buffer=4096)
    peer.writer.transport.pause_reading()
    connection.send(bytes(8 << 20))
    await eventually(lambda: not connection.is_writable)
    for _ in range(20):
        connection.send(bytes(65536))
    details, record = await told(connection, caplog)
    assert (details.began, record.levelno, record.error) == ("timeout", WARN, "WriteTimeout")
    assert isinstance(details.error, WriteTimeout)
    assert details.unsent_messages == 20
    assert "more than write_timeout = 0.1 s; nothing was read, " in str(details)
    peer.abort()


async def test_a_server_that_closes_tells_it_at_both_ends(plain: Any, caplog: Any) -> None:
    server = await plain.listen(plain.route().discard())
    client = await plain.connect(server, lambda builder: builder.discard())
    (ours,) = server.connections
    await server.close(1012, "an update")
    for connection, began, line, level in (
        (ours, "local", "sent 1012 (SERVICE_RESTART): an update, received 1012 (SERVICE_RESTART): an update", DEBUG),
        (client, "remote", "received 1012 (SERVICE_RESTART): an update, sent 1012 (SERVICE_RESTART): an update", INFO),
    ):
        details, record = await told(connection, caplog)
        assert (details.began, str(details), record.levelno) == (began, line, level)
        assert details.was_clean
        assert details.unsent_bytes == 0


@pytest.mark.parametrize("net", ["tls"], indirect=True)
async def test_bytes_that_are_no_tls_end_it_with_the_error_of_tls(net: Any, caplog: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    # Below TLS, where nobody expects them.
    os.write(peer.writer.get_extra_info("socket").fileno(), b"no record of TLS" * 10)
    details, record = await told(connection, caplog)
    assert (details.began, record.levelno) == ("network", INFO)
    assert isinstance(details.transport_error, ssl.SSLError)
    assert "the connection was lost: " in str(details)


async def test_a_client_tells_a_servers_rst_and_a_receive_has_the_same_line(plain: Any, caplog: Any) -> None:
    server = await plain.raw_server()
    connection = await plain.connect(server)
    reset(await server.peer())
    with pytest.raises(ConnectionClosedError) as raised:
        await connection.receive()
    details, record = await told(connection, caplog)
    assert str(raised.value) == f"receive(): the connection is closed: {details}"
    assert (raised.value.details.began, raised.value.details.transport_error) == ("network", raised.value.__cause__)
    assert (record.role, record.path) == ("client", "/")


async def test_while_it_closes_a_send_is_told_who_began_and_what_is_missing(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    connection.close(3000, "done")
    with pytest.raises(ConnectionClosed) as raised:
        connection.send("x")
    assert str(raised.value) == "send: the connection is closed: sent 3000: done, no Close frame received yet"
    assert (raised.value.details.reason, raised.value.details.was_clean) == (None, False)
    peer.abort()


async def test_the_record_has_plain_values_that_become_json(plain: Any, caplog: Any) -> None:
    connection, peer = await opened(plain, plain.route().on_text(lambda data, conn: conn.send("four")))
    connection.attributes["x"] = object()
    peer.write(text("one"))
    await peer.frame()
    peer.write(close(1000, "bye"))
    _, record = await told(connection, caplog)
    assert record.remote == "127.0.0.1:{}".format(peer.writer.get_extra_info("sockname")[1])
    values = {name: getattr(record, name) for name in (
        "connection_id", "role", "path", "code", "code_sent", "code_received", "reason", "was_clean", "began", "cause",
        "error", "errno", "bytes_in", "bytes_out", "messages_in", "messages_out", "bytes_unsent", "left_out",
    )}  # fmt: skip
    assert json.loads(json.dumps(values)) == values == {
        "connection_id": connection.id, "role": "server", "path": "/", "code": 1000, "code_sent": 1000,
        "code_received": 1000, "reason": "bye", "was_clean": True, "began": "remote", "cause": "", "error": None,
        "errno": None, "bytes_in": 20, "bytes_out": 13, "messages_in": 1, "messages_out": 1, "bytes_unsent": 0,
        "left_out": 0,
    }  # fmt: skip
    assert 0 < record.duration < 60
    assert record.last_read is not None
    assert record.last_write is not None


async def test_above_debug_there_is_one_record_of_a_kind_a_second(plain: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, RECORDS)
    server = await plain.listen(plain.route().discard())
    begun = asyncio.get_running_loop().time()
    for _ in range(20):
        peer = await plain.peer(server)
        await eventually(lambda: server.connections)
        peer.writer.close()
        await eventually(lambda: not server.connections)
    records = [one for one in caplog.records if one.name == RECORDS]
    assert len(records) <= 2 + asyncio.get_running_loop().time() - begun


async def test_an_ordinary_end_makes_no_details_where_nobody_asks(plain: Any, caplog: Any, monkeypatch: Any) -> None:
    caplog.set_level(logging.INFO, RECORDS)
    made: list[Any] = []
    monkeypatch.setattr("firefly_ws._core.explained.CloseDetails", lambda **facts: made.append(facts))
    connection, peer = await opened(plain, plain.route().discard())
    peer.write(close(1000))
    await connection.wait_closed()
    assert connection.close_reason == CloseReason(1000, "")
    assert made == []
