"""The connection on a transport in memory: every row of its table of states, and ends that meet callbacks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fakes import BYE, ROLES, Log, Peer, slow, turns
from judge import BINARY, CLOSE, CONT, TEXT, close_payload

from firefly_ws import (
    CloseReason,
    ConnectionState,
    InvalidPayload,
    MessageTooBig,
    ProtocolError,
)

CLOSING, CLOSED, OPEN = ConnectionState.CLOSING, ConnectionState.CLOSED, ConnectionState.OPEN


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


async def test_drop_behind_terminate_vouches_for_nothing() -> None:
    # It closed the aborted transport a second time, and told flush() that what was thrown away had left.
    peer = Peer()
    peer.transport.stuck = True
    peer.connection.send("never taken")
    peer.connection.send("never taken")
    flushed = asyncio.ensure_future(peer.connection.flush())
    await turns()
    peer.connection.terminate()
    peer.connection.drop()
    assert peer.transport.ended == "abort"
    await turns()
    await flushed  # which never raises
    assert closed_with(peer) == (1006, "the connection was terminated")


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
    assert closed_with(peer) == (1006, "the connection was lost: reset by peer")
    assert log == [("error", error), ("close", closed_with(peer))]


async def test_an_error_of_ours_is_not_called_a_lost_connection() -> None:
    # Whoever read "lost" in the close reason looked at the network, and the fault was in a callback.
    def fail(text: str, connection: object) -> None:
        raise ZeroDivisionError

    peer = Peer(text=fail)
    peer.send(TEXT, b"x")
    peer.lose(None)
    await turns()
    assert closed_with(peer) == (1006, "closed for an error on this side: ZeroDivisionError")


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
async def test_a_limit_says_which_it_is_to_us_and_to_the_peer(limits: dict[str, int], opcode: int, option: str) -> None:
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
