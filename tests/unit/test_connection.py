"""The connection on a transport in memory: every row of its table of states, and what a callback may do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fakes import Peer, turns
from judge import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload

from firefly_ws import (
    DONE,
    BinaryFrame,
    CloseFrame,
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionState,
    ContinuationFrame,
    InvalidPayload,
    MessageTooBig,
    PingFrame,
    PongFrame,
    ProtocolError,
    TextFrame,
)

CLOSING, CLOSED, OPEN = ConnectionState.CLOSING, ConnectionState.CLOSED, ConnectionState.OPEN
BYE = close_payload(1000, "bye")
ROLES = pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])


class Log(list[Any]):
    """What the callbacks heard, in order."""

    def on(self, *names: str) -> dict[str, Callable[..., None]]:
        def heard(name: str) -> Callable[..., None]:
            if name in ("close", "error"):
                return lambda connection, what: self.append((name, what))
            if name == "accept":
                return lambda connection: self.append((name,))
            return lambda what, connection: self.append((name, what))

        return {name: heard(name) for name in names}


def closed_with(peer: Peer) -> CloseReason:
    """The reason, once all has ended as it should."""
    assert peer.connection.state is CLOSED
    assert peer.connection.is_closed
    reason = peer.connection.close_reason
    assert reason is not None
    return reason


# ---- the table of states -------------------------------------------------------------------------------------------


@ROLES
async def test_open_then_close_called_then_the_peers_close(is_client: bool) -> None:
    log = Log()
    peer = Peer(is_client=is_client, **log.on("accept", "close", "error", "text"))
    assert log == [("accept",)]
    assert peer.connection.state is OPEN
    ending = peer.connection.close(1000, "bye")
    assert peer.connection.state is CLOSING
    assert peer.got == [("close", 1000, "bye")]
    assert not peer.transport.ended
    peer.send(TEXT, b"still on its way")
    peer.send(CLOSE, BYE)
    if is_client:  # RFC 6455 §7.1.1: the server ends TCP, the client waits for it
        assert not peer.transport.ended
        peer.eof()
    assert peer.transport.ended == "close"
    assert await ending == (1000, "bye")
    assert peer.connection.close_sent == peer.connection.close_received == (1000, "bye")
    assert log[1:] == [("close", (1000, "bye"))]
    assert peer.connection.discarded == len("still on its way")
    closed_with(peer)


@ROLES
async def test_the_peers_close_is_echoed(is_client: bool) -> None:
    log = Log()
    peer = Peer(is_client=is_client, **log.on("text", "close", "error"))
    peer.feed(peer.frame(TEXT, b"last"), peer.frame(CLOSE, close_payload(3001, "ours")), peer.frame(TEXT, b"behind"))
    assert log == [("text", "last")]
    assert peer.got == [("close", 3001, "ours")]
    assert peer.connection.state is CLOSING
    if is_client:
        peer.eof()
    assert peer.transport.ended == "close"
    await turns()
    assert closed_with(peer) == (3001, "ours")
    assert log[1:] == [("close", (3001, "ours"))]


async def test_an_empty_close_is_answered_by_one_and_means_1005() -> None:
    peer = Peer()
    peer.send(CLOSE)
    assert peer.got == [("close", None, "")]
    await turns()
    assert closed_with(peer) == (1005, "")


@ROLES
async def test_the_end_of_the_peers_bytes_is_1006(is_client: bool) -> None:
    log = Log()
    peer = Peer(is_client=is_client, **log.on("close", "error"))
    peer.eof()
    assert peer.connection.state is CLOSING
    assert peer.transport.ended == "close"
    assert peer.got == []
    await turns()
    assert closed_with(peer) == (1006, "the peer ended the connection without a Close frame")
    assert log == [("close", closed_with(peer))]


@ROLES
@pytest.mark.parametrize(
    ("opcode", "payload", "code"), [(TEXT, b"\xff", 1007), (3, b"", 1002), (CONT, b"", 1002), (CLOSE, b"\x03", 1002)]
)
async def test_a_broken_rule_is_told_by_its_code(is_client: bool, opcode: int, payload: bytes, code: int) -> None:
    log = Log()
    peer = Peer(is_client=is_client, **log.on("text", "close", "error"))
    peer.feed(peer.frame(TEXT, b"before"), peer.frame(opcode, payload), peer.frame(TEXT, b"behind"))
    kind, told, text = peer.got[-1]
    assert (kind, told) == ("close", code)
    assert text
    assert peer.connection.state is CLOSING
    # TCP is not closed at once: what the peer still sends would reset it, and our Close with it.
    assert peer.transport.eof_written
    assert not peer.transport.ended
    peer.feed(b"anything at all, not even frames")
    peer.eof()
    assert peer.transport.ended == "close"
    await turns()
    assert closed_with(peer)[0] == 1006
    assert [entry[0] for entry in log] == ["text", "error", "close"]
    error = log[1][1]
    assert isinstance(error, ProtocolError)
    assert error.code == code
    assert peer.connection.error is error


async def test_where_one_side_of_the_transport_cannot_end_alone_a_broken_rule_ends_both() -> None:
    peer = Peer(start=False)
    peer.transport.half_close = False
    peer.open()
    peer.send(3)
    assert peer.got[-1][1] == 1002
    assert peer.transport.ended == "close"


@ROLES
async def test_a_callback_that_raises_is_1011_without_its_text(
    is_client: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    def failing(text: str, connection: object) -> None:
        raise RuntimeError("a secret")

    peer = Peer(is_client=is_client, text=failing, **log.on("close", "error"))
    peer.feed(peer.frame(TEXT, b"x"), peer.frame(TEXT, b"never delivered"))
    assert peer.got == [("close", 1011, "")]
    record = caplog.records[0]
    assert (record.levelno, record.name) == (logging.ERROR, "firefly_ws")
    assert record.exc_info is not None
    assert "a secret" in str(record.exc_info[1])
    assert len(caplog.records) == 1
    peer.send(CLOSE, close_payload(1011))
    if is_client:
        peer.eof()
    await turns()
    assert [entry[0] for entry in log] == ["error", "close"]
    assert isinstance(log[0][1], RuntimeError)
    assert closed_with(peer)[0] == 1011


async def test_closing_and_no_close_comes_but_the_end() -> None:
    peer = Peer()
    ending = peer.connection.close()
    peer.eof()
    assert peer.transport.ended == "close"
    assert await ending == (1006, "no Close frame came from the peer")


@pytest.mark.parametrize("how", ["close", "peer's close", "violation"])
@ROLES
async def test_close_timeout_aborts(is_client: bool, how: str) -> None:
    peer = Peer(is_client=is_client, limits={"close_timeout": 0.01})
    if how == "close":
        peer.connection.close()
    elif how == "violation":
        peer.send(3)
    else:
        peer.send(CLOSE, BYE)
        if not is_client:
            assert peer.transport.ended == "close"
            return
    assert not peer.transport.ended
    reason = await asyncio.wait_for(peer.connection.wait_closed(), 5)
    assert peer.transport.ended == "abort"
    assert reason == ((1000, "bye") if how == "peer's close" else (1006, reason.message))


async def test_no_close_timeout_is_none() -> None:
    peer = Peer(limits={"close_timeout": None})
    peer.connection.close()
    await asyncio.sleep(0.02)
    assert not peer.transport.ended
    peer.send(CLOSE)
    assert peer.transport.ended == "close"


@ROLES
async def test_terminate_aborts_at_once(is_client: bool) -> None:
    log = Log()
    peer = Peer(is_client=is_client, **log.on("text", "close", "error"))
    peer.connection.terminate()
    assert peer.transport.ended == "abort"
    assert peer.connection.state is CLOSING
    peer.send(TEXT, b"late")
    peer.connection.terminate()
    await turns()
    assert closed_with(peer) == (1006, "the connection was terminated")
    assert log == [("close", closed_with(peer))]
    assert peer.got == []
    peer.connection.terminate()


@ROLES
async def test_drop_sends_close_and_waits_for_nobody(is_client: bool) -> None:
    peer = Peer(is_client=is_client)
    peer.connection.drop(1001, "away")
    assert peer.got == [("close", 1001, "away")]
    assert peer.transport.ended == "close"
    await turns()
    assert closed_with(peer) == (1006, "no Close frame came from the peer")
    peer.connection.drop()


async def test_drop_behind_close_ends_what_was_awaited() -> None:
    peer = Peer()
    peer.connection.close(1000)
    peer.connection.drop(CloseReason(1001))
    assert peer.got == [("close", 1000, "")]
    assert peer.transport.ended == "close"


@ROLES
async def test_a_lost_transport_is_1006_with_its_error(is_client: bool) -> None:
    log = Log()
    peer = Peer(is_client=is_client, **log.on("close", "error"))
    error = ConnectionResetError("reset by peer")
    peer.lose(error)
    await turns()
    assert closed_with(peer) == (1006, "the connection was lost: ConnectionResetError")
    assert log == [("error", error), ("close", closed_with(peer))]


async def test_a_lost_transport_while_closing_is_no_error() -> None:
    log = Log()
    peer = Peer(**log.on("close", "error"))
    peer.connection.close()
    peer.lose(ConnectionResetError())
    await turns()
    assert [entry[0] for entry in log] == ["close"]


async def test_close_is_idempotent_and_one_close_is_sent() -> None:
    peer = Peer()
    first = peer.connection.close(1000, "first")
    second = peer.connection.close(1001, "second")
    peer.send(CLOSE, close_payload(1000, "first"))
    assert await first == await second == await peer.connection.close(3000) == (1000, "first")
    assert peer.got == [("close", 1000, "first")]
    assert await peer.connection.wait_closed() == (1000, "first")
    await peer.connection.wait_finished()


async def test_a_bad_code_or_reason_is_refused_in_every_state() -> None:
    peer = Peer()
    for _ in range(2):
        for call in (peer.connection.close, peer.connection.drop):
            with pytest.raises(ValueError, match="code=1005 may not be sent"):
                call(1005)
            with pytest.raises(ValueError, match="reason has 124 bytes"):
                call(1000, "x" * 124)
            with pytest.raises(TypeError, match="code='1000' must be an int"):
                call("1000")  # type: ignore[arg-type]
        peer.connection.close()
    assert peer.got == [("close", 1000, "")]


# ---- an end that comes while a callback has not ended --------------------------------------------------------------


def slow(release: asyncio.Event, log: list[Any]) -> Callable[..., Any]:
    async def on_text(text: str, connection: Any) -> None:
        log.append(text)
        await release.wait()
        if connection.is_open:
            connection.send(f"answer to {text}")
        log.append(f"end of {text}")

    return on_text


@ROLES
async def test_a_close_takes_effect_behind_the_messages_before_it_and_their_answers(is_client: bool) -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(is_client=is_client, text=slow(release, log), **log.on("close"))
    peer.feed(peer.frame(TEXT, b"one"), peer.frame(TEXT, b"two"), peer.frame(CLOSE, BYE))
    await turns()
    assert log == ["one"]
    assert peer.connection.state is OPEN
    assert peer.got == []
    release.set()
    await turns(6)
    assert log[:4] == ["one", "end of one", "two", "end of two"]
    assert peer.got == [("text", "answer to one"), ("text", "answer to two"), ("close", 1000, "bye")]
    if is_client:
        peer.eof()
    await turns()
    assert log[4:] == [("close", (1000, "bye"))]


@ROLES
async def test_the_end_of_tcp_that_came_while_a_callback_ran_is_not_waited_for_again(is_client: bool) -> None:
    """A peer may send Close and end its side at once; the client once waited close_timeout for a second end."""
    release, log = asyncio.Event(), Log()
    peer = Peer(is_client=is_client, text=slow(release, log), **log.on("close"))
    peer.feed(peer.frame(TEXT, b"one"), peer.frame(CLOSE, BYE))
    peer.protocol.eof_received()
    assert peer.connection.state is OPEN
    release.set()
    await turns(6)
    assert peer.got == [("text", "answer to one"), ("close", 1000, "bye")]
    assert peer.transport.ended == "close"
    assert closed_with(peer) == (1000, "bye")


@ROLES
async def test_the_end_of_tcp_behind_a_broken_rule_is_not_waited_for_again(is_client: bool) -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(is_client=is_client, text=slow(release, log), **log.on("close"))
    peer.feed(peer.frame(TEXT, b"one"), peer.frame(3))
    peer.protocol.eof_received()
    release.set()
    await turns(6)
    assert peer.got[0] == ("text", "answer to one")
    assert peer.got[1][:2] == ("close", 1002)
    assert peer.transport.ended == "close"
    await turns()
    assert closed_with(peer)[0] == 1006


@ROLES
async def test_a_close_that_waits_unparsed_is_answered_although_the_end_of_tcp_came(is_client: bool) -> None:
    """More messages than the queue holds, Close and the end in one go: what is parsed last is still a Close."""
    release, log = asyncio.Event(), Log()
    peer = Peer(is_client=is_client, text=slow(release, log), limits={"max_queue": 2}, **log.on("close"))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(6)], peer.frame(CLOSE, BYE))
    peer.protocol.eof_received()
    await turns()
    assert peer.connection.state is OPEN
    release.set()
    await turns(20)
    assert peer.got == [("text", f"answer to {number}") for number in range(6)] + [("close", 1000, "bye")]
    assert peer.transport.ended == "close"
    assert closed_with(peer) == (1000, "bye")
    assert peer.connection.close_sent == (1000, "bye")


@ROLES
async def test_a_violation_that_waits_unparsed_is_told_although_the_end_of_tcp_came(is_client: bool) -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(is_client=is_client, text=slow(release, log), limits={"max_queue": 1}, **log.on("close", "error"))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(3)], peer.frame(3))
    peer.protocol.eof_received()
    release.set()
    await turns(20)
    assert peer.got[-1][:2] == ("close", 1002)
    assert peer.transport.ended == "close"
    assert [entry[0] for entry in log if isinstance(entry, tuple)] == ["error", "close"]


async def test_callbacks_that_take_longer_than_close_timeout_do_not_keep_the_peer_waiting() -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log), limits={"close_timeout": 0.01}, **log.on("close"))
    peer.feed(peer.frame(TEXT, b"one"), peer.frame(TEXT, b"two"), peer.frame(CLOSE, BYE))
    assert await asyncio.wait_for(peer.connection.wait_closed(), 5) == (1000, "bye")
    assert peer.got == [("close", 1000, "bye")]
    assert log == ["one"]
    release.set()
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    # Both were handed over, and on_close came behind them.
    assert log == ["one", "end of one", "two", "end of two", ("close", (1000, "bye"))]


async def test_what_had_arrived_before_the_transport_was_lost_is_still_handed_over() -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log), **log.on("close"))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(3)])
    peer.lose()
    assert closed_with(peer)[0] == 1006
    release.set()
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    assert [entry for entry in log if isinstance(entry, str) and "end" not in entry] == ["0", "1", "2"]
    assert log[-1] == ("close", closed_with(peer))


# ---- what a callback may do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["close", "terminate", "drop", "raise"])
@pytest.mark.parametrize("kind", ["text", "binary", "message", "ping", "pong", "frame"])
async def test_behind_an_end_called_in_a_callback_nothing_of_the_batch_is_delivered(call: str, kind: str) -> None:
    heard: list[object] = []

    def callback(what: object, connection: Any) -> None:
        heard.append(what)
        if call == "raise":
            raise RuntimeError
        getattr(connection, call)()

    peer = Peer(**{kind: callback})
    opcode = {"binary": BINARY, "ping": PING, "pong": PONG}.get(kind, TEXT)
    peer.feed(peer.frame(opcode, b"1"), peer.frame(opcode, b"2"), peer.frame(TEXT, b"3"), peer.frame(BINARY, b"4"))
    await turns()
    assert len(heard) == 1
    assert peer.connection.state is not OPEN


@pytest.mark.parametrize("call", ["close", "terminate", "drop"])
async def test_an_end_called_in_on_accept_comes_before_any_message(call: str) -> None:
    log = Log()
    peer = Peer(start=False, accept=lambda connection: getattr(connection, call)(), **log.on("text", "close"))
    peer.open(peer.frame(TEXT, b"came with the handshake"))
    if call == "close":
        peer.send(CLOSE)
    await turns()
    assert [entry[0] for entry in log] == ["close"]


async def test_pausing_in_a_callback_holds_the_rest_of_the_batch_until_resumed() -> None:
    heard: list[str] = []

    def on_text(text: str, connection: Any) -> None:
        heard.append(text)
        connection.pause_reading()

    peer = Peer(text=on_text)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(4)])
    assert heard == ["0"]
    assert not peer.transport.reading
    for count in range(2, 5):
        peer.connection.resume_reading()
        assert len(heard) == count - 1
        await turns()
        assert heard == [str(number) for number in range(count)]
    peer.callbacks.text = lambda text, connection: heard.append(text)
    peer.connection.resume_reading()
    await turns()
    assert peer.transport.reading
    peer.send(TEXT, b"4")
    assert heard == ["0", "1", "2", "3", "4"]


async def test_a_close_that_came_is_answered_although_reading_is_paused_but_not_at_once() -> None:
    peer = Peer(limits={"close_timeout": 0.01}, text=lambda text, connection: connection.pause_reading())
    peer.feed(peer.frame(TEXT, b"x"), peer.frame(CLOSE, BYE))
    await turns()
    assert peer.got == []
    # The Close has not been read yet: only resuming, or closing ourselves, brings it.
    peer.connection.resume_reading()
    await turns()
    assert peer.got == [("close", 1000, "bye")]


async def test_once_closing_reading_is_never_paused() -> None:
    peer = Peer(limits={"max_queue": 1})
    peer.connection.pause_reading()
    assert not peer.transport.reading
    peer.connection.close()
    assert peer.transport.reading
    peer.connection.pause_reading()
    assert peer.transport.reading
    peer.send(CLOSE, close_payload(1000))
    await turns()
    assert closed_with(peer) == (1000, "")


async def test_the_peers_close_that_waited_unparsed_is_found_by_our_own_close() -> None:
    peer = Peer()
    peer.connection.pause_reading()
    peer.feed(peer.frame(TEXT, b"never delivered"), peer.frame(CLOSE, BYE))
    peer.connection.close(1001)
    await turns(5)
    assert closed_with(peer) == (1000, "bye")
    assert peer.got == [("close", 1001, "")]


async def test_any_call_inside_a_callback_leaves_the_stream_whole() -> None:
    calls: list[Callable[[Any], object]] = [
        lambda connection: connection.send("text"),
        lambda connection: connection.send(b"bytes"),
        lambda connection: connection.send_text("t"),
        lambda connection: connection.send_data(bytearray(b"d")),
        lambda connection: connection.send_frame(TextFrame("f")),
        lambda connection: connection.ping(b"p"),
        lambda connection: connection.pong(b"q"),
        lambda connection: connection.flush(),
        lambda connection: (connection.pause_reading(), connection.resume_reading()),
        lambda connection: connection.resume_reading(),
        lambda connection: connection.buffered_amount,
        lambda connection: connection.closed_error(),
        lambda connection: connection.wait_closed(),
    ]
    heard: list[str] = []

    def on_text(text: str, connection: Any) -> None:
        heard.append(text)
        calls[int(text)](connection)

    peer = Peer(text=on_text)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(len(calls))])
    await turns(6)
    assert heard == [str(number) for number in range(len(calls))]
    assert peer.got == [
        ("text", "text"), ("binary", b"bytes"), ("text", "t"), ("binary", b"d"), ("text", "f"),
        ("ping", b"p"), ("pong", b"q"),
    ]  # fmt: skip
    assert peer.connection.is_open


async def test_all_answers_of_a_batch_leave_in_one_write() -> None:
    peer = Peer(text=lambda text, connection: connection.send(text))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(50)], peer.frame(PING, b"x"))
    assert len(peer.transport.writes) == 1
    assert peer.got == [("text", str(number)) for number in range(50)] + [("pong", b"x")]


async def test_one_message_callback_at_a_time_and_control_frames_meanwhile() -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log), **log.on("ping", "pong"))
    peer.feed(peer.frame(TEXT, b"one"), peer.frame(TEXT, b"two"), peer.frame(PING, b"now"), peer.frame(PONG, b"too"))
    assert log == ["one", ("ping", b"now"), ("pong", b"too")]
    assert peer.got == [("pong", b"now")]
    release.set()
    await turns(6)
    assert log[3:] == ["end of one", "two", "end of two"]


@pytest.mark.parametrize("limit", [(3, None), (None, 30)])
async def test_beyond_the_queue_reading_pauses_and_goes_on(limit: tuple[int | None, int | None]) -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log), limits={"max_queue": limit})
    peer.send(TEXT, b"first")
    for number in range(3):
        assert peer.transport.reading
        peer.send(TEXT, b"number %d.." % number)
    assert not peer.transport.reading
    release.set()
    await turns(10)
    assert peer.transport.reading
    assert len([entry for entry in log if "end" not in entry]) == 4


async def test_an_end_while_the_queue_waits_drops_it() -> None:
    release, log = asyncio.Event(), Log()
    peer = Peer(text=slow(release, log))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(5)])
    peer.connection.close()
    release.set()
    await turns(6)
    assert log == ["0", "end of 0"]
    assert peer.connection.discarded == 4


async def test_work_in_one_turn_is_bounded() -> None:
    heard: list[int] = []
    peer = Peer(binary=lambda data, connection: heard.append(len(data)))
    peer.feed(*[peer.frame(BINARY, bytes(10))] * 5000)
    assert 0 < len(heard) < 5000
    assert not peer.transport.reading
    while len(heard) < 5000:
        before = len(heard)
        await asyncio.sleep(0)
        assert len(heard) > before
    await turns()
    assert peer.transport.reading


async def test_pings_without_end_are_bounded_too() -> None:
    peer = Peer()
    peer.feed(*[peer.frame(PING, b"x" * 100)] * 5000)
    assert 0 < len(peer.got) < 5000
    await turns(10)
    assert len(peer.got) == 5000


async def test_on_frame_sees_every_frame_as_it_came() -> None:
    log = Log()
    peer = Peer(**log.on("frame", "text", "ping"))
    peer.feed(peer.frame(TEXT, b"a", fin=False), peer.frame(PING, b"p"), peer.frame(CONT, b"b"))
    peer.feed(peer.frame(TEXT, b"cut")[:7])
    peer.feed(peer.frame(TEXT, b"cut")[7:])
    assert log == [
        ("frame", TextFrame("a", fin=False)), ("frame", PingFrame(b"p")), ("ping", b"p"),
        ("frame", ContinuationFrame(b"b")), ("text", "ab"), ("frame", TextFrame("cut")), ("text", "cut"),
    ]  # fmt: skip


async def test_text_and_binary_take_their_type_and_message_the_rest() -> None:
    log = Log()
    peer = Peer(**log.on("text", "message"))
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"))
    assert log == [("text", "t"), ("message", BinaryFrame(b"b"))]
    log.clear()
    peer = Peer(**log.on("binary", "message"))
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"))
    assert log == [("message", TextFrame("t")), ("binary", b"b")]


async def test_without_a_callback_messages_are_read_and_dropped() -> None:
    peer = Peer()
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"), peer.frame(PING, b"p"))
    assert peer.got == [("pong", b"p")]
    assert peer.connection.messages_received == 2


async def test_errors_of_other_callbacks_end_it_too(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(*arguments: object) -> None:
        await asyncio.sleep(0)
        raise KeyError("later")

    for kind, opcode in (("ping", PING), ("pong", PONG), ("text", TEXT)):
        peer = Peer(**{kind: failing})
        peer.send(opcode, b"x")
        await turns(6)
        assert peer.got[-1] == ("close", 1011, "")
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3


async def test_an_error_in_on_error_or_on_close_is_logged_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()

    def failing(connection: object, what: object) -> None:
        log.append("called")
        raise ValueError("in the last word")

    peer = Peer(error=failing, close=failing)
    peer.lose(OSError())
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    assert log == ["called", "called"]
    assert len(caplog.records) == 2


async def test_on_close_comes_once_and_behind_on_error_that_suspends() -> None:
    log = Log()

    async def on_error(connection: object, error: object) -> None:
        await asyncio.sleep(0.01)
        log.append("error ended")

    peer = Peer(error=on_error, **log.on("close"))
    peer.lose(OSError())
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    assert log == ["error ended", ("close", closed_with(peer))]


async def test_connection_closed_leaving_a_callback_behind_the_end_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()

    async def on_text(text: str, connection: Any) -> None:
        await asyncio.sleep(0)
        connection.send("too late")

    peer = Peer(text=on_text, **log.on("close", "error"))
    peer.send(TEXT, b"x")
    peer.connection.terminate()
    await turns(6)
    assert [entry[0] for entry in log] == ["close"]
    assert caplog.records == []


# ---- sending -------------------------------------------------------------------------------------------------------


@ROLES
async def test_every_way_to_send(is_client: bool) -> None:
    peer = Peer(is_client=is_client)
    connection = peer.connection
    for value in ("ascii", "ünïcødé 😀", b"bytes", bytearray(b"array"), memoryview(b"view"), TextFrame("f"),
                  BinaryFrame(b"g"), "", b"", "x" * 200, bytes(70_000)):  # fmt: skip
        assert connection.send(value) is DONE
    connection.send_frame(PingFrame(b"1"))
    connection.send_frame(PongFrame(b"2"))
    connection.pong("3")
    await turns()
    assert peer.got == [
        ("text", "ascii"), ("text", "ünïcødé 😀"), ("binary", b"bytes"), ("binary", b"array"), ("binary", b"view"),
        ("text", "f"), ("binary", b"g"), ("text", ""), ("binary", b""), ("text", "x" * 200),
        ("binary", bytes(70_000)), ("ping", b"1"), ("pong", b"2"), ("pong", b"3"),
    ]  # fmt: skip
    assert connection.messages_sent == 11
    connection.send_frame(CloseFrame(1001, "by a frame"))
    assert peer.got[-1] == ("close", 1001, "by a frame")


async def test_a_clients_masks_are_all_different() -> None:
    peer = Peer(is_client=True)
    for _ in range(3000):
        peer.connection.send(b"")
    await turns()
    stream = b"".join(peer.transport.writes)
    masks = {stream[at + 2 : at + 6] for at in range(0, len(stream), 6)}
    assert len(masks) > 2990


@pytest.mark.parametrize("value", [None, 5, 1.5, ["a"], {"a": 1}, object(), memoryview(b"abcd")[::2]])
async def test_what_cannot_be_sent_is_refused_by_its_type(value: Any) -> None:
    peer = Peer()
    with pytest.raises(TypeError, match=f"not {type(value).__name__}"):
        peer.connection.send(value)
    with pytest.raises(TypeError):
        peer.connection.send_data(value)
    with pytest.raises(TypeError, match=r"send_text\(\) takes a str"):
        peer.connection.send_text(value)
    await turns()
    assert peer.transport.writes == []
    assert peer.connection.messages_sent == 0


async def test_text_goes_not_through_send_data_nor_bytes_through_send_text() -> None:
    peer = Peer()
    with pytest.raises(TypeError, match=r"send_text\(\) takes a str, not bytes; bytes go through send_data\(\)"):
        peer.connection.send_text(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"send_data\(\) takes bytes, not str; text goes through send_text\(\)"):
        peer.connection.send_data("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        peer.connection.send_frame("x")  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        peer.connection.send("\ud800")
    for fragment in (TextFrame("x", fin=False), ContinuationFrame(b"x"), BinaryFrame(b"x", rsv1=True)):
        with pytest.raises(ValueError, match="is a fragment or has reserved bits set"):
            peer.connection.send(fragment)
    peer.connection.send("fine")
    await turns()
    assert peer.got == [("text", "fine")]


@pytest.mark.parametrize("how", ["close", "terminate", "peer", "lost"])
async def test_a_send_behind_the_end_raises_and_says_how_it_ended(how: str) -> None:
    peer = Peer()
    if how == "close":
        peer.connection.close(1001, "bye")
    elif how == "terminate":
        peer.connection.terminate()
    elif how == "peer":
        peer.send(CLOSE, close_payload(4000, "theirs"))
        await turns()
    else:
        peer.lose(OSError())
    kind = ConnectionClosedOK if how == "close" else ConnectionClosedError
    for call, name in (
        (lambda: peer.connection.send("x"), "send"), (lambda: peer.connection.send(b"x"), "send"),
        (lambda: peer.connection.ping(), "ping"), (lambda: peer.connection.pong(), "pong"),
        (lambda: peer.connection.send_frame(TextFrame("x")), "send"),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value).startswith(f"{name}: the connection is closed")
    if how == "peer":
        assert caught.value.received == (4000, "theirs")
    await peer.connection.flush()


async def test_before_it_is_open_nothing_can_be_sent() -> None:
    peer = Peer(start=False)
    assert peer.connection.state is ConnectionState.CONNECTING
    with pytest.raises(RuntimeError, match="send: the connection is not open yet"):
        peer.connection.send("x")


async def test_another_thread_is_told_so() -> None:
    peer = Peer()
    connection = peer.connection
    calls: list[Callable[[], object]] = [
        lambda: connection.send("x"), lambda: connection.send(b"x"), connection.ping, connection.pong,
        connection.flush, connection.close, connection.terminate, connection.drop, connection.pause_reading,
        connection.resume_reading,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(RuntimeError, match=r"its loop's thread; .* use connection\.threadsafe"):
            await asyncio.to_thread(call)
    assert connection.is_open
    assert peer.got == []


async def test_a_ping_resolves_to_the_round_trip() -> None:
    peer = Peer()
    first, second, third = peer.connection.ping(b"1"), peer.connection.ping("2"), peer.connection.ping()
    await turns()
    payloads = [payload for _, payload in peer.got]
    assert payloads[:2] == [b"1", b"2"]
    assert len(payloads[2]) == 4  # type: ignore[arg-type]
    peer.send(PONG, b"nobody asked")
    assert not first.done()
    # RFC 6455 §5.5.3: the newest may be answered alone, for all before it.
    peer.send(PONG, b"2")
    assert await first >= await second >= 0
    assert peer.connection.latency == await second
    assert not third.done()
    with pytest.raises(ValueError, match="at most 125 fit"):
        peer.connection.ping(b"x" * 126)
    peer.connection.ping(b"same")
    with pytest.raises(ValueError, match="a ping with the payload b'same' is waiting"):
        peer.connection.ping(b"same")
    peer.lose()
    with pytest.raises(ConnectionClosedError, match="ping"):
        await third


async def test_a_ping_behind_our_close_is_not_answered() -> None:
    log = Log()
    peer = Peer(**log.on("ping"))
    peer.connection.close()
    peer.feed(peer.frame(PING, b"x"), peer.frame(CLOSE))
    assert peer.got == [("close", 1000, "")]
    assert log == []


# ---- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "opcode", "option"),
    [
        ({"max_message_size": 5}, TEXT, "max_message_size"),
        ({"max_message_size": 5}, BINARY, "max_message_size"),
        ({"max_text_message_size": 5}, TEXT, "max_text_message_size"),
        ({"max_binary_message_size": 5}, BINARY, "max_binary_message_size"),
        ({"max_frame_size": 5}, BINARY, "max_frame_size"),
    ],
)
async def test_a_limit_says_which_it_is_to_us_and_to_the_peer(
    limits: dict[str, int], opcode: int, option: str
) -> None:
    errors: list[Any] = []
    peer = Peer(limits=limits, error=lambda connection, error: errors.append(error))
    peer.send(opcode, b"123456")
    assert peer.got[0][1] == 1009
    assert f"{option}=5" in str(peer.got[0][2])
    peer.lose()
    await turns()
    assert (errors[0].size, errors[0].limit, errors[0].option) == (6, 5, option)


async def test_errors_of_the_peer_are_the_connections_error() -> None:
    peer = Peer(limits={"max_message_size": 1})
    peer.send(TEXT, b"\xff")
    assert isinstance(peer.connection.error, InvalidPayload)
    peer = Peer(limits={"max_message_size": 1})
    peer.send(TEXT, b"xx")
    assert isinstance(peer.connection.error, MessageTooBig)


# ---- reading straight into a large message -------------------------------------------------------------------------


def through_buffers(peer: Peer, data: bytes, most: int) -> None:
    """What a transport does with a protocol that says where to read to."""
    while data:
        view = peer.protocol._get_buffer()  # type: ignore[attr-defined]
        count = min(len(view), len(data), most)
        view[:count] = data[:count]
        del view
        peer.protocol._buffer_updated(count)  # type: ignore[attr-defined]
        data = data[count:]


@ROLES
@pytest.mark.parametrize("most", [1000, 70_000, 1 << 20])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
async def test_a_large_frame_may_be_read_to_where_it_belongs(is_client: bool, most: int, kind: int) -> None:
    heard: list[Any] = []
    peer = Peer(is_client=is_client, text=lambda text, connection: heard.append(text.encode()),
                binary=lambda data, connection: heard.append(data))  # fmt: skip
    payload = ("€" * 110_000).encode()
    whole = peer.frame(kind, payload)
    peer.feed(whole[:20])
    through_buffers(peer, whole[20:], most)
    assert heard == [payload]
    peer.send(kind, b"and the next")
    assert heard == [payload, b"and the next"]


async def test_a_large_text_fails_at_its_first_bad_byte_there_too() -> None:
    peer = Peer()
    whole = peer.frame(TEXT, b"a" * 100_000 + b"\xff" + b"a" * 100_000)
    peer.feed(whole[:20])
    through_buffers(peer, whole[20:150_000], 50_000)
    assert peer.got[0][:2] == ("close", 1007)


async def test_memory_of_large_messages_that_nobody_kept_is_used_again_and_kept_ones_are_not() -> None:
    kept: list[bytes] = []

    def on_binary(data: bytes, connection: object) -> None:
        if data[0] % 2:
            kept.append(data)

    peer = Peer(binary=on_binary)
    for number in range(20):
        peer.send(BINARY, bytes([number]) * 50_000)
        half = bytes([number]) * 25_000
        peer.feed(peer.frame(BINARY, half, fin=False), peer.frame(CONT, half))
    assert [set(data) for data in kept] == [{number} for number in range(1, 20, 2) for _ in range(2)]
    assert all(len(data) == 50_000 for data in kept)


async def test_a_view_of_a_message_keeps_its_memory() -> None:
    views: list[memoryview] = []
    peer = Peer(binary=lambda data, connection: views.append(memoryview(data)))
    for number in range(10):
        peer.send(BINARY, bytes([number]) * 50_000)
    assert [set(view) for view in views] == [{number} for number in range(10)]
