"""How an end is put into words, and the record of it."""

from __future__ import annotations

import copy
import logging
import pickle
import ssl

import pytest
from fakes import Peer, turns

from firefly_ws import CloseDetails, CloseReason, ConnectionClosedError, ConnectionClosedOK
from firefly_ws._core.explained import Explained
from firefly_ws._core.keepalive import Kept
from firefly_ws._core.probe import pass_time
from firefly_ws.details import in_words
from firefly_ws.farewell import say_farewell

LOST = CloseReason(1006, "the connection was lost: connection reset by peer")
BYE = CloseReason(1000, "bye")


def test_the_line_says_what_is_known_and_nothing_else() -> None:
    for details, line in [
        (CloseDetails(), "no Close frame received yet"),
        (CloseDetails(
            reason=LOST, cause=LOST.message, duration=9, last_read=0.21, unsent_bytes=4120, unsent_messages=3),
         f"received 1006 (no Close frame): {LOST.message}; last read 0.2 s ago, 3 messages (4,120 bytes) unsent"),
        (CloseDetails(reason=LOST, cause="c", duration=9, unsent_bytes=1, unsent_messages=1),
         "received 1006 (no Close frame): c; nothing was read, 1 message (1 bytes) unsent"),
        (CloseDetails(reason=LOST, cause="c", duration=9, last_read=70.0, unsent_bytes=5000, blocked=1.25),
         "received 1006 (no Close frame): c; last read 70.0 s ago, 5,000 bytes unsent; "
         "this side's loop was blocked for 1.2 s"),
        (CloseDetails(reason=LOST, sent=CloseReason(1002, "x"), cause="ProtocolError: x", duration=9, last_read=1),
         "sent 1002 (PROTOCOL_ERROR), received 1006 (no Close frame): ProtocolError: x; last read 1.0 s ago"),
        (CloseDetails(reason=BYE, sent=BYE, received=BYE, began="local", duration=9, last_read=1, blocked=0.01),
         "sent 1000 (NORMAL): bye, received 1000 (NORMAL): bye"),
        (CloseDetails(reason=BYE, sent=BYE, received=BYE, began="remote", unsent_bytes=2000),
         "received 1000 (NORMAL): bye, sent 1000 (NORMAL): bye; 2,000 bytes unsent"),
        (CloseDetails(reason=BYE, sent=CloseReason(1011), received=BYE, began="error", cause="ZeroDivisionError"),
         "sent 1011 (INTERNAL_ERROR), received 1000 (NORMAL): bye; ZeroDivisionError"),
    ]:  # fmt: skip
        assert str(details) == line


def test_it_was_clean_where_both_have_sent_a_close() -> None:
    assert CloseDetails(reason=BYE, sent=BYE, received=BYE).was_clean
    assert not CloseDetails(reason=LOST, sent=BYE).was_clean
    assert not CloseDetails(reason=BYE, received=BYE).was_clean


def test_an_error_is_told_in_the_systems_words() -> None:
    for error, words in [
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (ConnectionResetError("gone"), "gone"),
        (ConnectionResetError(), "ConnectionResetError"),
        (ssl.SSLError(1, "[SSL: BAD] bad"), "[SSL: BAD] bad"),
        (OSError("X"), "X"),
    ]:
        assert in_words(error) == words


def test_an_exception_keeps_its_details_when_it_is_copied_or_sent_to_another_process() -> None:
    details = CloseDetails(reason=LOST, cause="c", began="network")
    for error in (ConnectionClosedError(LOST, None, None, "send", details), ConnectionClosedOK(BYE, BYE, BYE)):
        for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert (type(again), str(again), again.details) == (type(error), str(error), error.details)
            assert (again.reason, again.sent, again.received) == (error.reason, error.sent, error.received)
        assert repr(error) == f"{type(error).__name__}({str(error)!r})"


@pytest.mark.parametrize("is_client", [False, True])
async def test_a_record_can_be_made_of_any_connection(is_client: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "firefly_ws.connection")
    peer = Peer(is_client=is_client)
    peer.lose()
    await turns()
    (record,) = [one for one in caplog.records if one.name == "firefly_ws.connection"]
    assert record.levelno == logging.INFO
    assert (record.role, record.began) == ("client" if is_client else "server", "remote")  # type: ignore[attr-defined]


async def test_the_next_record_of_a_kind_says_how_many_were_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr("firefly_ws.seldom.time.monotonic", lambda: now)
    caplog.set_level(logging.INFO, "firefly_ws.connection")
    peer = Peer()
    details = CloseDetails(reason=LOST, error=EOFError())
    for _ in range(3):
        say_farewell(peer.connection, details, logging.INFO)
    now = 1002.0
    say_farewell(peer.connection, details, logging.INFO)
    assert [record.left_out for record in caplog.records] == [0, 2]  # type: ignore[attr-defined]
    assert caplog.messages[1].endswith("(and 2 more of this kind)")
    peer.lose()
    await turns()


@pytest.mark.parametrize("is_client", [False, True])
async def test_of_what_was_not_sent_messages_are_counted_and_control_frames_are_not(is_client: bool) -> None:
    peer = Peer(is_client=is_client)
    peer.transport.stuck = True
    peer.connection.send(bytes(1000))  # the transport has it, and has perhaps begun with it
    await turns()
    for message in ("", bytes(200), bytes(70000)):
        peer.connection.send(message)
    peer.connection.ping(b"p").add_done_callback(lambda wait: wait.exception())
    waiting = peer.connection.buffered_amount
    peer.lose(ConnectionResetError())
    details = peer.connection.close_details
    assert (details.unsent_messages, details.unsent_bytes) == (3, waiting)
    assert details.transport_error is details.error
    assert str(details).startswith("received 1006 (no Close frame): the connection was lost: ConnectionResetError; ")
    await turns()


async def test_a_loop_that_was_blocked_before_the_end_is_told() -> None:
    peer = Peer(limits={"ping_interval": 30})
    pass_time(3.0)
    peer.lose()
    await turns()
    assert 2.0 <= peer.connection.close_details.blocked <= 10
    assert "; this side's loop was blocked for " in str(peer.connection.close_details)


def test_an_open_connection_keeps_two_times_for_it_and_no_more() -> None:
    assert Explained.__basicsize__ - Kept.__basicsize__ == 2 * 8
