"""Messages to a reader: what is kept, what a cancelled reader leaves, bounds, and what the end means to both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import Any

import pytest
from fakes import BYE, Log, Peer, turns
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import BINARY, CLOSE, PING, TEXT

from firefly_ws import BinaryFrame, ConnectionClosedError, ConnectionClosedOK, ConnectionState, TextFrame
from firefly_ws._core import inbox as inbox_module
from firefly_ws.receiving import Receiving, handled


def puller(**how: Any) -> Peer:
    """A peer of a connection that is read by asking."""
    return Peer(kind=Receiving, pull=True, **how)


async def test_messages_are_received_in_the_order_they_came() -> None:
    peer = puller()
    peer.feed(peer.frame(TEXT, b"1"), peer.frame(BINARY, b"2"), peer.frame(TEXT, b""), peer.frame(BINARY))
    assert [await peer.connection.receive() for _ in range(4)] == ["1", b"2", "", b""]


async def test_a_reader_that_waits_gets_what_comes() -> None:
    peer = puller()
    reader = asyncio.create_task(peer.connection.receive())
    await turns()
    assert not reader.done()
    peer.send(TEXT, b"x")
    assert await reader == "x"


async def test_receive_text_and_receive_data_leave_a_message_of_the_other_type_where_it_is() -> None:
    peer = puller()
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"))
    with pytest.raises(TypeError, match="still there for receive_text"):
        await peer.connection.receive_data()
    assert await peer.connection.receive_text() == "t"
    with pytest.raises(TypeError, match="still there for receive_data"):
        await peer.connection.receive_text()
    assert await peer.connection.receive_binary() == b"b"


async def test_receive_frame_gives_the_message_as_a_frame() -> None:  # C5
    peer = puller()
    peer.feed(peer.frame(TEXT, b"t"), peer.frame(BINARY, b"b"))
    assert await peer.connection.receive_frame() == TextFrame("t")
    assert await peer.connection.receive_frame() == BinaryFrame(b"b")


async def test_a_second_reader_is_told_who_the_first_one_is_and_what_it_called() -> None:
    peer = puller()
    first = asyncio.create_task(peer.connection.receive_text(), name="the first")
    await turns()
    with pytest.raises(RuntimeError, match=r"receive\(\): task 'the first' is waiting in receive_text\(\)"):
        await peer.connection.receive()
    peer.send(TEXT, b"x")
    # Woken, and not run yet: the message is the first one's.
    with pytest.raises(RuntimeError, match="the first"):
        await anext(aiter(peer.connection))
    assert await first == "x"


@pytest.mark.parametrize("woken", [False, True])
async def test_a_cancelled_reader_is_none_any_more_from_the_cancellation_on(woken: bool) -> None:
    peer = puller()
    first = asyncio.create_task(peer.connection.receive())
    await turns()
    if woken:
        peer.send(TEXT, b"1")
    first.cancel()
    second = asyncio.create_task(peer.connection.receive())
    second_coroutine = peer.connection.receive()
    if woken:
        assert await second_coroutine == "1"
        second.cancel()
    else:
        second_coroutine.close()
        await turns()
        peer.send(TEXT, b"1")
        assert await second == "1"
    await turns()
    assert first.cancelled()


async def test_a_reader_that_cleans_up_behind_its_cancellation_keeps_its_message() -> None:
    peer = puller()
    got: list[Any] = []

    async def first() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            got.append(await peer.connection.receive())

    task = asyncio.create_task(first(), name="the first")
    await turns()
    task.cancel()
    await turns()
    peer.send(TEXT, b"x")
    with pytest.raises(RuntimeError, match="task 'the first' is waiting"):
        await peer.connection.receive()
    await asyncio.wait({task})
    assert got == ["x"]


async def test_another_thread_is_refused() -> None:
    peer = puller()
    errors: list[Any] = []

    def other() -> None:
        try:
            peer.connection.receive().send(None)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "connection.threadsafe" in str(errors[0])


@pytest.mark.parametrize("takes", ["text", "binary", "message"])
async def test_receiving_beside_a_message_callback_names_handler(takes: str) -> None:
    peer = Peer(kind=Receiving, **{takes: lambda what, connection: None})
    with pytest.raises(RuntimeError, match=r"receive\(\): the messages .* go to its callback.*\.handler\("):
        await peer.connection.receive()
    for start in ("texts", "binaries", "__aiter__"):
        with pytest.raises(RuntimeError, match="handler"):
            getattr(peer.connection, start)()
    with pytest.raises(RuntimeError, match="handler"):
        _ = peer.connection.incoming


async def test_receiving_where_messages_are_discarded_names_handler() -> None:
    peer = Peer(kind=Receiving)
    with pytest.raises(RuntimeError, match=r"are discarded.*\.handler\("):
        await peer.connection.receive()


# ---- bounds --------------------------------------------------------------------------------------------------------


async def test_reading_pauses_at_the_number_of_messages_and_goes_on_below_it() -> None:
    peer = puller(limits={"max_queue": 2})
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(5)])
    assert not peer.transport.reading
    assert len(peer.connection._inbox) == 2
    got = []
    for _ in range(5):
        got.append(await peer.connection.receive())
        await turns()
        assert len(peer.connection._inbox) <= 2
    assert got == ["0", "1", "2", "3", "4"]
    assert peer.transport.reading


async def test_reading_pauses_at_the_number_of_bytes_that_the_messages_take() -> None:
    peer = puller(limits={"max_queue": (None, 1000)})
    peer.send(BINARY, bytes(999))
    assert peer.transport.reading
    peer.send(BINARY, b"x")
    assert not peer.transport.reading
    assert len(await peer.connection.receive()) == 999
    await turns()
    assert peer.transport.reading
    # A str of other than Latin letters takes two or four bytes each.
    peer.send(TEXT, ("😀" * 249).encode())
    assert peer.connection._inbox.size == 1 + 4 * 249
    assert peer.transport.reading
    peer.send(TEXT, b"xyz")
    assert not peer.transport.reading


async def test_without_bounds_reading_never_pauses() -> None:
    peer = puller(limits={"max_queue": None})
    for _ in range(40):
        peer.feed(*[peer.frame(TEXT, b"x" * 1000) for _ in range(50)])
    await turns(50)
    assert peer.transport.reading
    assert len(peer.connection._inbox) == 2000


async def test_pings_and_the_close_are_answered_at_once_while_nobody_receives() -> None:  # C5
    peer = puller()
    peer.feed(peer.frame(TEXT, b"unread"), peer.frame(PING, b"p"), peer.frame(CLOSE, BYE))
    assert peer.got == [("pong", b"p"), ("close", 1000, "bye")]
    await turns()
    assert peer.connection.state is ConnectionState.CLOSED
    assert await peer.connection.receive() == "unread"
    with pytest.raises(ConnectionClosedOK):
        await peer.connection.receive()


async def test_nobody_receiving_is_logged_once_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inbox_module, "_STALLED", 0)
    peer = puller(limits={"max_queue": 1})
    for _ in range(3):
        peer.send(TEXT, b"x")
        await turns(4)
        await peer.connection.receive()
        await turns(4)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "1 messages (1 bytes)" in record.getMessage()
    assert ".on_message" in record.getMessage()
    assert ".discard()" in record.getMessage()


async def test_a_reader_that_is_slow_and_receives_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inbox_module, "_STALLED", 0)
    peer = puller(limits={"max_queue": 1})
    peer.feed(*[peer.frame(TEXT, b"x") for _ in range(9)])
    for _ in range(9):
        await peer.connection.receive()
        await turns(1)
    assert not caplog.records


# ---- the end -------------------------------------------------------------------------------------------------------


async def test_what_had_come_is_received_behind_our_own_close_and_what_comes_later_is_not() -> None:  # S4
    peer = puller()
    peer.send(TEXT, b"before")
    peer.connection.close(1000, "enough")
    peer.feed(peer.frame(TEXT, b"later"), peer.frame(CLOSE, BYE))
    await turns()
    assert await peer.connection.receive() == "before"
    with pytest.raises(ConnectionClosedOK) as caught:
        await peer.connection.receive()
    assert caught.value.reason == (1000, "bye")
    assert peer.connection.discarded == 5


async def test_a_full_queue_does_not_hold_up_our_own_close() -> None:
    peer = puller(limits={"max_queue": 1})
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(3)], peer.frame(CLOSE, BYE))
    assert not peer.transport.reading
    peer.connection.close()
    await turns()
    assert peer.connection.state is ConnectionState.CLOSED
    assert [message async for message in peer.connection] == ["0"]


async def test_a_waiting_reader_is_woken_by_the_end_and_finds_the_reason_set() -> None:  # S6
    peer = puller()
    reader = asyncio.create_task(peer.connection.receive())
    await turns()
    peer.send(CLOSE, BYE)
    with pytest.raises(ConnectionClosedOK, match=r"receive\(\): the connection is closed"):
        await reader
    assert peer.connection.close_reason == (1000, "bye")


async def test_async_for_ends_quietly_with_1000_and_1001_and_raises_otherwise() -> None:
    for code in (1000, 1001):
        peer = puller()
        peer.feed(peer.frame(TEXT, b"x"), peer.frame(CLOSE, code.to_bytes(2, "big")))
        assert [message async for message in peer.connection] == ["x"]
    for end in ("violation", "loss", "code", "terminate"):
        peer = puller()
        peer.send(TEXT, b"x")
        if end == "violation":
            peer.send(3, b"")
            await turns()
            peer.lose()
        elif end == "loss":
            peer.lose(ConnectionResetError(104, "reset"))
        elif end == "code":
            peer.send(CLOSE, (1011).to_bytes(2, "big"))
        else:
            peer.connection.terminate()
        assert await peer.connection.receive() == "x"
        with pytest.raises(ConnectionClosedError) as caught:
            await anext(aiter(peer.connection))
        assert caught.value.__cause__ is peer.connection.error
        assert (peer.connection.error is None) is (end in ("code", "terminate"))


async def test_what_waited_unparsed_when_the_connection_was_lost_is_received_too() -> None:
    log = Log()
    peer = puller(limits={"max_queue": 2}, **log.on("close"))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(5)])
    peer.lose(ConnectionResetError())
    await turns()
    assert not log
    assert [await peer.connection.receive() for _ in range(5)] == ["0", "1", "2", "3", "4"]
    with pytest.raises(ConnectionClosedError):
        await peer.connection.receive()
    assert [entry[0] for entry in log] == ["close"]


async def test_what_nobody_makes_room_for_keeps_a_lost_connection_for_close_timeout_only() -> None:
    log = Log()
    peer = puller(limits={"max_queue": 2, "close_timeout": 0.01}, **log.on("close"))
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(5)])
    peer.lose(ConnectionResetError())
    await asyncio.wait_for(peer.connection.wait_finished(), 5)
    assert [entry[0] for entry in log] == ["close"]
    assert peer.connection.discarded > 0
    assert [await peer.connection.receive() for _ in range(2)] == ["0", "1"]
    with pytest.raises(ConnectionClosedError):
        await peer.connection.receive()


@pytest.mark.parametrize("end", ["lost", "eof", "eof behind a close"])
async def test_a_slow_reader_that_goes_on_gets_all_that_has_come_however_long_it_takes(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Behind close_timeout what waited for room was dropped, though its reader was taking it; a Close with it.
    log, timers = Log(), list[Any]()

    class Timer:
        def __init__(self, seconds: float, callback: Any) -> None:
            self.cancelled, self.callback = False, callback
            timers.append(self)

        def cancel(self) -> None:
            self.cancelled = True

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", Timer)
    peer = puller(limits={"max_queue": 2}, **log.on("close"))
    behind = peer.frame(CLOSE, BYE) if end == "eof behind a close" else b""
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(8)], behind)
    peer.lose(ConnectionResetError()) if end == "lost" else peer.eof()
    await turns()
    got = []
    for number in range(8):
        got.append(await peer.connection.receive())
        # All of it is over, with the next one in the place that this one has left, or not yet.
        if number != 2:
            await turns()
        due, timers[:] = timers[:], []
        for timer in due:
            if not timer.cancelled:
                timer.callback()
        assert timers or number > 4, number
        await turns()
    assert got == [str(number) for number in range(8)]
    await peer.connection.wait_finished()
    assert [(name, reason.code) for name, reason in log] == [("close", 1000 if behind else 1006)]
    assert peer.connection.discarded == 0


async def test_what_waits_behind_a_loss_is_dropped_by_close_and_by_the_end_of_the_handler() -> None:
    gate = asyncio.Event()

    async def handler(connection: Any) -> None:
        await gate.wait()

    for how in ("handler", "close"):
        log = Log()
        accept = {"accept": handled(handler)} if how == "handler" else {}
        peer = puller(limits={"max_queue": 2, "close_timeout": None}, **accept, **log.on("close"))
        peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(5)])
        peer.lose(ConnectionResetError())
        await turns()
        assert not log, how
        if how == "handler":
            gate.set()
        else:
            peer.connection.close()
        await asyncio.wait_for(peer.connection.wait_finished(), 5)
        assert [entry[0] for entry in log] == ["close"], how
        assert peer.connection.discarded == 3, how
        assert peer.connection.close_reason.code == 1006, how


# ---- a handler -----------------------------------------------------------------------------------------------------


async def test_a_handler_that_returns_closes_with_1000() -> None:  # S2
    async def handler(connection: Any) -> None:
        connection.send(f"you said {await connection.receive()}")

    peer = puller(accept=handled(handler))
    peer.send(TEXT, b"x")
    await turns()
    assert peer.got == [("text", "you said x"), ("close", 1000, "")]


async def test_a_handler_that_raises_closes_with_1011_and_the_error_goes_to_on_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(connection: Any) -> None:
        raise LookupError("secret")

    log = Log()
    peer = puller(accept=handled(handler), **log.on("close", "error"))
    peer.send(CLOSE, (1011).to_bytes(2, "big"))
    await turns()
    assert peer.got == [("close", 1011, "")]
    assert [type(what).__name__ for _, what in log] == ["LookupError", "CloseReason"]
    assert "LookupError: secret" in caplog.text


async def test_a_handler_that_meets_the_end_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(connection: Any) -> None:
        while True:
            await connection.receive()

    log = Log()
    peer = puller(accept=handled(handler), **log.on("close", "error"))
    peer.send(CLOSE, BYE)
    await turns()
    assert [name for name, _ in log] == ["close"]
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_handler_that_is_cancelled_leaves_no_connection_open() -> None:
    tasks: list[Any] = []

    async def handler(connection: Any) -> None:
        tasks.append(asyncio.current_task())
        await connection.receive()

    peer = puller(accept=handled(handler))
    tasks[0].cancel()
    await turns()
    assert peer.got == [("close", 1011, "")]


# ---- cancelling loses nothing ----------------------------------------------------------------------------------------

HOW = st.sampled_from(["receive", "receive_text", "receive_data", "receive_frame", "__anext__"])
#: Read in this way, or not; go round so often; so many messages come; go round again; cancel the reader, or not.
STEP = st.tuples(st.none() | HOW, st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.booleans())


@settings(deadline=None)
@given(st.lists(STEP, max_size=20), st.integers(1, 4), st.booleans(), st.booleans())
def test_arrivals_and_cancelled_receives_in_any_order_lose_and_reorder_nothing(
    steps: list[tuple[str | None, int, int, int, bool]], bound: int, by_timeout: bool, closes: bool
) -> None:
    async def main() -> None:
        peer = puller(limits={"max_queue": bound})
        came: list[str | bytes] = []
        got: list[Any] = []
        reader: asyncio.Task[Any] | None = None

        def arrive(count: int) -> None:
            """Texts and binaries by turns, in one read."""
            frames = []
            for _ in range(count):
                text = f"{len(came)}"
                came.append(text if len(came) % 3 else text.encode())
                frames.append(peer.frame(TEXT if len(came) % 3 != 1 else BINARY, text.encode()))
            peer.feed(*frames)

        async def read(how: str) -> None:
            source = aiter(peer.connection) if how == "__anext__" else peer.connection
            # What is of the other type stays; a timeout cancels as well, at its own moment.
            with contextlib.suppress(TypeError, TimeoutError):
                async with asyncio.timeout(0 if by_timeout else None):
                    got.append(await getattr(source, how)())

        for how, before, count, after, cancels in steps:
            if how is not None and (reader is None or reader.done() or reader.cancelling()):
                reader = asyncio.create_task(read(how))
            await turns(before)
            if peer.transport.reading:
                arrive(count)
            await turns(after)
            if cancels and reader is not None:
                reader.cancel()
        if reader is not None:
            reader.cancel()
        if closes and peer.transport.reading:
            peer.send(CLOSE, BYE)
        else:
            peer.lose(ConnectionResetError())
        with contextlib.suppress(ConnectionClosedError):
            async for message in peer.connection:
                got.append(message)
        if reader is not None:
            await asyncio.wait({reader})
            assert reader.cancelled() or reader.exception() is None
        assert [
            one.text if isinstance(one, TextFrame) else one.data if isinstance(one, BinaryFrame) else one for one in got
        ] == came

    asyncio.run(main())
