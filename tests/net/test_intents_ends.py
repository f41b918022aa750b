"""How connections end as users write it: codes of their own, "bye", flush behind close, the events in their order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from peers import eventually, text
from support import Inbox

from firefly_ws import CloseCode, CloseReason, ConnectionClosedError, ConnectionClosedOK, ConnectionState


async def test_a_hundred_and_one_connections_open_and_close_one_behind_the_other(net: Any) -> None:  # F2, K3
    closed: list[int] = []
    server = await net.listen(net.route().discard().on_close(lambda _, reason: closed.append(reason.code)))
    for _ in range(101):
        connection = await net.builder(server).connect()
        assert (await connection.close()).code == 1000
    await eventually(lambda: len(closed) == 101)
    assert set(closed) == {1000}
    assert server.stats()["opened"] == 101
    assert server.connections == frozenset()


@pytest.mark.parametrize("code", [3000, 3999, 4000, 4321, 4999])
@pytest.mark.parametrize("end", ["server", "client"])
async def test_codes_of_a_users_own_reach_the_other_end(net: Any, code: int, end: str) -> None:  # C8
    reasons: dict[str, CloseReason] = {}

    def note(connection: Any, reason: CloseReason) -> None:
        reasons["client" if connection.masking else "server"] = reason

    server = await net.listen(net.route().discard().on_close(note))
    connection = await net.connect(server, lambda builder: builder.on_close(note))
    (accepted,) = server.connections
    closing = accepted if end == "server" else connection
    reason = CloseReason(code, f"mine: {code}")
    assert await closing.close(reason) == reason
    await eventually(lambda: len(reasons) == 2)
    assert reasons == {"server": reason, "client": reason}
    assert accepted.close_received == connection.close_received == reason


async def test_bye_in_a_callback_is_answered_before_the_close(net: Any) -> None:  # S2
    async def on_text(data: str, connection: Any) -> None:
        await connection.send(f"YOU SAID: {data}")
        if data.lower() == "bye":
            await connection.close(CloseReason(CloseCode.NORMAL, "Client said BYE"))

    said = Inbox()
    server = await net.listen(net.route().on_text(on_text))
    connection = await net.connect(server, lambda builder: builder.on_text(said))
    for one in ("hello", "bye", "are you there?"):
        connection.send(one)
    assert await said.take(2) == ["YOU SAID: hello", "YOU SAID: bye"]
    reason = await connection.wait_closed()
    assert reason == CloseReason(1000, "Client said BYE")
    assert len(said) == 0


async def test_flush_waits_until_all_is_written_and_may_be_called_behind_close(net: Any) -> None:  # S4, C4
    server = await net.listen(net.route().discard(), send_buffer=65536)
    connection = await net.connect(server)
    (accepted,) = server.connections
    accepted.pause_reading()
    for _ in range(8):
        connection.send(bytes(1024 * 1024))
    flushed = connection.flush()
    await asyncio.sleep(0)
    assert not flushed.done()
    accepted.resume_reading()
    await flushed
    assert connection.buffered_amount == 0
    closed = connection.close()
    await connection.flush()
    assert (await closed).code == 1000
    await connection.flush()
    assert connection.state is ConnectionState.CLOSED


async def test_terminate_ends_without_a_close_and_close_reason_tells(net: Any) -> None:  # S4
    ended = Inbox()
    server = await net.listen(net.route().discard().on_close(lambda _, reason: ended(reason)))
    connection = await net.connect(server)
    assert connection.close_reason is None
    connection.terminate()
    assert (await connection.wait_closed()).code == 1006
    assert connection.close_reason.code == 1006
    assert (await ended.next()).code == 1006


async def test_the_call_is_known_by_host_and_headers(net: Any) -> None:  # S4, C2
    calls = Inbox()
    server = await net.listen(net.route().on_open(calls))
    builder = net.builder(server).bearer("secret").header("X-Own", "1")
    connection = await builder.connect()
    accepted = await calls.next()
    assert accepted.request.headers["host"] == f"127.0.0.1:{server.port}"
    assert accepted.request.headers["authorization"] == "Bearer secret"
    assert accepted.request.headers["x-own"] == "1"
    await connection.close()


class Events:
    """The four standard events of an end, with the close reason that each could see."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def on(self, builder: Any) -> Any:
        return (
            builder.on_open(lambda connection: self.note("open", connection))
            .on_text(lambda data, connection: self.note("message", connection, data))
            .on_error(lambda connection, error: self.note("error", connection, type(error).__name__))
            .on_close(lambda connection, reason: self.note("close", connection, reason.code))
        )

    def note(self, name: str, connection: Any, *what: object) -> None:
        reason = connection.close_reason
        self.seen.append((name, *what, None if reason is None else reason.code))

    async def ended(self) -> list[tuple[Any, ...]]:
        await eventually(lambda: self.seen and self.seen[-1][0] == "close")
        return self.seen


async def test_a_good_end_is_open_message_close(net: Any) -> None:  # S6
    ours, theirs = Events(), Events()
    server = await net.listen(ours.on(net.route()))
    connection = await net.connect(server, theirs.on)
    connection.send("hello")
    await connection.close(4000)
    assert await ours.ended() == [("open", None), ("message", "hello", None), ("close", 4000, 4000)]
    assert await theirs.ended() == [("open", None), ("close", 4000, 4000)]


async def test_a_bad_end_is_open_message_error_close_with_the_reason_set_in_the_last_two(net: Any) -> None:  # S6
    events = Events()
    peer = await net.serve(events.on(net.route()))
    peer.write(text("hello"), b"\xff\xff")
    assert (await peer.closed()).code == 1002
    opened, message, error, close = await events.ended()
    assert (opened, message) == (("open", None), ("message", "hello", None))
    assert error[:2] == ("error", "ProtocolError")
    assert close[0] == "close"
    assert error[2] is not None
    assert error[2] == close[1] == close[2]


async def test_an_error_of_a_callback_is_told_between_message_and_close(net: Any, errors: Any) -> None:  # S6
    events = Events()
    route = events.on(net.route())
    route._callbacks["text"] = lambda *_: 1 / 0
    peer = await net.serve(route)
    peer.write(text("x"))
    assert (await peer.closed()).code == 1011
    assert [one[0] for one in await events.ended()] == ["open", "error", "close"]
    assert [one[1] for one in events.seen[1:2]] == ["ZeroDivisionError"]
    assert {one[-1] for one in events.seen[1:]} == {1011}
    assert errors()


async def test_a_lost_connection_is_told_by_1006_alone(net: Any) -> None:  # S6
    events = Events()
    peer = await net.serve(events.on(net.route()))
    peer.writer.close()
    assert await events.ended() == [("open", None), ("close", 1006, 1006)]


async def test_what_a_send_raises_tells_a_good_end_from_a_bad_one(net: Any) -> None:  # C8
    server = await net.listen(net.route().discard())
    good, bad = await net.connect(server), await net.connect(server)
    await good.close()
    bad.terminate()
    await bad.wait_closed()
    with pytest.raises(ConnectionClosedOK):
        good.send("x")
    with pytest.raises(ConnectionClosedError) as error:
        bad.send("x")
    assert error.value.reason.code == CloseCode.ABNORMAL_CLOSURE
