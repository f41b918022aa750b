"""The order of callbacks, and what a Close, the end of the bytes or a broken rule has to wait for."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
from judge import CLOSE, PONG, TEXT, frame
from peers import Frame, close, eventually, ping, text

from firefly_ws import CloseReason, ConnectionClosed, ProtocolError

BROKEN = frame(3, b"", mask=bytes(4))  # a reserved opcode


class Log:
    """What was called, in order."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def route(self, route: Any) -> Any:
        """*route* with on_accept, on_error and on_close that write here."""
        route.on_accept(lambda conn: self.lines.append("accept"))
        route.on_error(lambda conn, error: self.lines.append(error))
        return route.on_close(self.closed)

    def closed(self, conn: Any, reason: CloseReason) -> None:
        """on_close."""
        assert conn.is_closed
        assert conn.close_reason == reason
        self.lines.append(reason)


@pytest.fixture
def log() -> Log:
    """A new one."""
    return Log()


async def test_on_accept_comes_first_then_messages_then_on_close_once_and_last(net: Any, log: Log) -> None:  # F4, S6
    peer = await net.serve(log.route(net.route()).on_text(lambda data, conn: log.lines.append(data)))
    peer.write(text("a"), text("b"), close(1000, "bye"))
    await peer.rest()
    await eventually(lambda: len(log.lines) >= 4)
    await asyncio.sleep(0.02)
    assert log.lines == ["accept", "a", "b", CloseReason(1000, "bye")]


async def test_messages_come_in_while_on_accept_goes_on_after_its_first_suspension(net: Any) -> None:  # F4
    got: list[str] = []
    gate = asyncio.Event()

    async def on_accept(conn: Any) -> None:
        got.append("begin")
        await gate.wait()
        got.append("end")

    peer = await net.serve(
        net.route().on_accept(on_accept).on_text(lambda data, conn: got.append(data)), behind=text("a")
    )
    peer.write(text("b"))
    await eventually(lambda: len(got) == 3)
    assert got == ["begin", "a", "b"]
    gate.set()
    await eventually(lambda: got[-1] == "end")


async def test_on_close_does_not_wait_for_on_accept(net: Any, log: Log) -> None:
    gate = asyncio.Event()

    async def on_accept(conn: Any) -> None:
        await gate.wait()
        log.lines.append("accept")

    peer = await net.serve(net.route().on_accept(on_accept).on_close(log.closed).discard())
    peer.write(close())
    await eventually(lambda: log.lines)
    gate.set()
    await eventually(lambda: len(log.lines) == 2)
    assert log.lines == [CloseReason(1000, ""), "accept"]


async def test_on_accept_that_returns_leaves_the_connection_open(net: Any) -> None:
    async def on_accept(conn: Any) -> None:
        await asyncio.sleep(0)

    peer = await net.serve(net.route().on_accept(on_accept).on_text(lambda data, conn: conn.send(data)))
    await asyncio.sleep(0.01)
    peer.write(text("a"))
    assert await peer.texts(1) == ["a"]


async def test_a_close_takes_effect_behind_the_callbacks_of_the_messages_before_it(net: Any, log: Log) -> None:
    async def on_text(data: str, conn: Any) -> None:
        await asyncio.sleep(0.005)
        conn.send(data)
        log.lines.append((data, conn.is_open))

    peer = await net.serve(log.route(net.route()).on_text(on_text))
    peer.write(text("a"), text("b"), text("c"), close(3000))
    frames = await peer.rest()
    assert frames == [Frame(TEXT, b"a"), Frame(TEXT, b"b"), Frame(TEXT, b"c"), Frame(CLOSE, b"\x0b\xb8")]
    await eventually(lambda: len(log.lines) == 5)
    assert log.lines == ["accept", ("a", True), ("b", True), ("c", True), CloseReason(3000, "")]


async def test_the_end_of_the_bytes_takes_effect_behind_the_callbacks_before_it(plain: Any, log: Log) -> None:
    async def on_text(data: str, conn: Any) -> None:
        await asyncio.sleep(0.005)
        conn.send(data)

    peer = await plain.serve(log.route(plain.route()).on_text(on_text))
    peer.write(text("a"), text("b"))
    peer.writer.write_eof()
    assert await peer.rest() == [Frame(TEXT, b"a"), Frame(TEXT, b"b")]
    await eventually(lambda: len(log.lines) == 2)
    assert log.lines[1].code == 1006


async def test_after_half_close_thousands_of_messages_still_get_every_answer(plain: Any) -> None:
    async def on_text(data: str, conn: Any) -> None:
        if data.endswith("7"):
            await asyncio.sleep(0)
        conn.send(data)

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(*[text(str(number)) for number in range(5000)])
    peer.writer.write_eof()
    assert [one.payload.decode() for one in await peer.rest()] == [str(number) for number in range(5000)]


async def test_a_broken_rule_takes_effect_behind_the_callbacks_before_it(net: Any, log: Log) -> None:
    async def on_text(data: str, conn: Any) -> None:
        await asyncio.sleep(0.005)
        conn.send(data)
        log.lines.append(data)

    peer = await net.serve(log.route(net.route()).on_text(on_text))
    peer.write(text("a"), text("b"), BROKEN, text("never"))
    assert await peer.texts(2) == ["a", "b"]
    assert (await peer.closed()).code == 1002
    await eventually(lambda: len(log.lines) == 5)
    assert log.lines[:3] == ["accept", "a", "b"]
    assert isinstance(log.lines[3], ProtocolError)
    assert log.lines[4].code == 1006


@pytest.mark.parametrize("end", ["close", "violation", "eof"])
async def test_what_a_callback_sends_at_its_end_goes_out_before_the_close(net: Any, end: str) -> None:
    if end == "eof" and net.secure:
        pytest.skip("TLS has no half-closed state to answer in")
    gate = asyncio.Event()

    async def on_text(data: str, conn: Any) -> None:
        await gate.wait()
        conn.send("last")

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), {"close": close(), "violation": BROKEN, "eof": b""}[end])
    if end == "eof":
        peer.writer.write_eof()
    assert await peer.silent()
    gate.set()
    frames = [await peer.frame(), await peer.frame()]
    assert frames[0] == Frame(TEXT, b"last")
    assert (frames[1].opcode if frames[1] else None) == (None if end == "eof" else CLOSE)


@pytest.mark.parametrize("end", ["close", "violation", "eof"])
async def test_callbacks_hold_the_end_back_for_close_timeout_at_most(net: Any, log: Log, end: str) -> None:
    if end == "eof" and net.secure:
        pytest.skip("TLS has no half-closed state to answer in")
    gate = asyncio.Event()

    async def on_text(data: str, conn: Any) -> None:
        await gate.wait()
        with pytest.raises(ConnectionClosed):
            conn.send("too late")
        log.lines.append(data)

    peer = await net.serve(log.route(net.route().close_timeout(0.1)).on_text(on_text))
    begin = asyncio.get_running_loop().time()
    peer.write(text("a"), text("b"), {"close": close(), "violation": BROKEN, "eof": b""}[end])
    if end == "eof":
        peer.writer.write_eof()
    frames = await peer.rest()
    assert [one.opcode for one in frames] == ([] if end == "eof" else [CLOSE])
    assert 0.08 < asyncio.get_running_loop().time() - begin < 1
    assert log.lines == ["accept"], "on_close waits for the callbacks"
    gate.set()
    await eventually(lambda: isinstance(log.lines[-1], CloseReason))
    assert [one for one in log.lines if isinstance(one, str)] == ["accept", "a", "b"]


async def test_pending_callbacks_are_not_cancelled_at_the_end(net: Any, log: Log) -> None:
    gate = asyncio.Event()

    async def on_text(data: str, conn: Any) -> None:
        await gate.wait()
        log.lines.append(data)

    peer = await net.serve(log.route(net.route()).on_text(on_text))
    peer.write(text("a"))
    await asyncio.sleep(0.02)
    peer.abort()
    await asyncio.sleep(0.03)
    gate.set()
    await eventually(lambda: len(log.lines) >= 3)
    assert log.lines[:2] == ["accept", "a"]


async def test_what_arrived_before_a_reset_is_still_delivered_before_on_close(net: Any, log: Log) -> None:
    async def on_text(data: str, conn: Any) -> None:
        await asyncio.sleep(0.002)
        log.lines.append(data)

    peer = await net.serve(log.route(net.route()).on_text(on_text))
    peer.write(*[text(str(number)) for number in range(20)])
    await asyncio.sleep(0.01)
    peer.abort()
    await eventually(lambda: isinstance(log.lines[-1], CloseReason))
    assert log.lines[1:21] == [str(number) for number in range(20)]


async def test_on_error_gets_the_exception_of_a_callback_and_the_peer_none_of_its_text(  # S6
    net: Any, log: Log, errors: Any
) -> None:
    def on_text(data: str, conn: Any) -> None:
        raise KeyError("secret")

    peer = await net.serve(log.route(net.route()).on_text(on_text))
    peer.write(text("a"))
    assert await peer.closed() == Frame(CLOSE, b"\x03\xf3")
    await eventually(lambda: len(log.lines) == 3)
    assert repr(log.lines) == "['accept', KeyError('secret'), CloseReason(code=1011, message='')]"
    assert len(errors()) == 1


@pytest.mark.parametrize("where", ["on_accept", "on_frame", "on_ping", "on_pong"])
async def test_an_exception_in_any_callback_ends_the_connection_with_1011(net: Any, where: str, errors: Any) -> None:
    told: list[object] = []

    async def fail(*arguments: Any) -> None:
        await asyncio.sleep(0)
        raise KeyError(where)

    route = net.route().discard().on_error(lambda conn, error: told.append(error))
    peer = await net.serve(getattr(route, where)(fail))
    peer.write(text("a"), ping(), frame(PONG, b"", mask=bytes(4)))
    frames = await peer.rest_until_close()
    assert frames[-1] == Frame(CLOSE, b"\x03\xf3")
    await eventually(lambda: told)
    assert repr(told) == f"[KeyError('{where}')]"
    assert errors()


async def test_an_exception_in_on_error_is_logged_and_on_close_comes_all_the_same(plain: Any, errors: Any) -> None:
    ended: list[object] = []

    def fail(conn: Any, error: object) -> None:
        raise ValueError("in on_error")

    peer = await plain.serve(plain.route().discard().on_error(fail).on_close(lambda conn, reason: ended.append(reason)))
    peer.write(BROKEN)
    await peer.closed()
    await eventually(lambda: ended)
    assert len(errors()) == 1


async def test_an_exception_in_on_close_is_logged_and_the_connection_is_forgotten(plain: Any, errors: Any) -> None:
    async def fail(conn: Any, reason: object) -> None:
        await asyncio.sleep(0)
        raise ValueError("in on_close")

    server = await plain.listen(plain.route().discard().on_close(fail))
    peer = await plain.peer(server)
    peer.write(close())
    await peer.rest()
    await eventually(lambda: errors() and not server.connections)
    assert len(errors()) == 1


async def test_on_close_waits_for_an_async_on_error(plain: Any, log: Log) -> None:  # S6
    async def on_error(conn: Any, error: object) -> None:
        await asyncio.sleep(0.01)
        log.lines.append("error")

    peer = await plain.serve(plain.route().discard().on_error(on_error).on_close(log.closed))
    peer.write(BROKEN)
    await peer.closed()
    await eventually(lambda: len(log.lines) == 2)
    assert log.lines[0] == "error"


async def test_connection_closed_leaving_a_callback_after_the_end_is_no_error(
    net: Any, log: Log, errors: Any, caplog: Any
) -> None:
    async def on_text(data: str, conn: Any) -> None:
        await conn.wait_closed()
        conn.send("late")

    peer = await net.serve(log.route(net.route().close_timeout(0.05)).on_text(on_text))
    peer.write(text("a"))
    await asyncio.sleep(0.02)
    peer.abort()
    await eventually(lambda: len(log.lines) >= 2 and isinstance(log.lines[-1], CloseReason))
    assert not errors()
    assert not any(isinstance(one, ConnectionClosed) for one in log.lines)
    assert any("met the end" in one.getMessage() for one in caplog.records)


async def test_connection_closed_is_quiet_behind_our_own_close_in_the_same_callback(
    net: Any, log: Log, errors: Any
) -> None:
    def on_text(data: str, conn: Any) -> None:
        conn.close(3000)
        conn.send("late")

    peer = await net.serve(log.route(net.route()).on_text(on_text))
    peer.write(text("a"))
    assert (await peer.closed()).code == 3000
    await eventually(lambda: len(log.lines) == 2)
    assert not errors()


async def test_a_reset_is_told_to_on_error_as_an_os_error(plain: Any, log: Log) -> None:  # S6, C8
    peer = await plain.serve(log.route(plain.route()).on_text(lambda data, conn: None))
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.abort()
    await eventually(lambda: len(log.lines) == 3)
    assert isinstance(log.lines[1], OSError)
    assert log.lines[2].code == 1006
