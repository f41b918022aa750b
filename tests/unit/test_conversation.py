"""A conversation under test: frames in and out over the real handshake, and the server's errors raised at its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firefly_ws import (
    BinaryFrame,
    CloseCode,
    CloseFrame,
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeError,
    Response,
    TextFrame,
    http_client,
    http_server,
)
from firefly_ws.per_loop import runtime_of
from firefly_ws.testing import Link, conversation, listen_in_memory

Run = Callable[[Callable[[], Any]], None]


def echo() -> Any:
    return http_server().websocket("/echo").on_message(lambda frame, connection: connection.send(frame))


async def say(route: Any) -> None:
    """A conversation in which a text is sent, nothing more."""
    async with conversation(route) as (_, outgoing):
        outgoing.send("x")
        await asyncio.sleep(0)


async def idle() -> None:
    async with asyncio.timeout(5):
        await runtime_of(asyncio.get_running_loop()).wait_idle()
    assert not [one for one in logging.getLogger("firefly_ws").filters if "Errors" in repr(one)]


def test_frames_go_out_and_come_in(run: Run) -> None:  # S5, C4
    async def main() -> None:
        async with conversation(echo(), "/echo") as (incoming, outgoing):
            outgoing.send("hello")
            await outgoing.send(b"data")
            outgoing.send(TextFrame("frame"))
            assert await incoming.receive() == TextFrame("hello")
            assert await incoming.receive() == BinaryFrame(b"data")
            assert (await incoming.receive()).text == "frame"
        await idle()

    run(main)


def test_a_handler_that_says_bye(run: Run) -> None:  # S5, S2, S3
    async def handler(connection: Any) -> None:
        async for text in connection.texts():
            await connection.send(f"YOU SAID {text}")
            if text.lower() == "bye":
                await connection.close(CloseReason(CloseCode.NORMAL, "Client said BYE"))

    async def main() -> None:
        async with conversation(http_server().websocket("/").handler(handler), "/") as (incoming, outgoing):
            outgoing.send("hi")
            outgoing.send(b"no text")
            outgoing.send("bye")
            assert [frame async for frame in incoming] == [
                TextFrame("YOU SAID hi"),
                TextFrame("YOU SAID bye"),
                CloseFrame(CloseReason(1000, "Client said BYE")),
            ]
        await idle()

    run(main)


def test_the_end_closes_with_1000_and_waits_for_the_servers_callbacks(run: Run) -> None:  # S5
    ended: list[Any] = []

    async def on_text(text: str, connection: Any) -> None:
        await asyncio.sleep(0.005)
        ended.append(text)

    async def on_close(connection: Any, reason: CloseReason) -> None:
        await asyncio.sleep(0.005)
        ended.append(reason.code)

    async def on_open(connection: Any) -> None:
        await connection.wait_closed()
        await asyncio.sleep(0.02)
        ended.append("open")

    async def main() -> None:
        ended.clear()
        route = http_server().websocket("/").on_open(on_open).on_text(on_text).on_close(on_close)
        async with conversation(route) as (_, outgoing):
            outgoing.send("message")
        assert ended == ["message", 1000, "open"]
        await idle()

    run(main)


@pytest.mark.parametrize("slot", ["on_open", "on_text", "on_close", "handler"])
@pytest.mark.parametrize("kind", ["plain", "async", "late"])
def test_what_a_callback_of_the_server_raises_is_raised_at_the_end(run: Run, slot: str, kind: str) -> None:  # S5
    def fail(*_: Any) -> None:
        raise KeyError(slot)

    async def fail_async(*_: Any) -> None:
        await asyncio.sleep(0 if kind == "async" else 0.005)
        raise KeyError(slot)

    async def main() -> None:
        route = getattr(http_server().websocket("/"), slot)(fail if kind == "plain" else fail_async)
        with pytest.raises(KeyError, match=slot):
            await say(route)
        await idle()

    run(main)


def test_several_errors_are_a_group(run: Run) -> None:
    def fail(connection: Any, what: Any) -> None:
        raise ValueError(type(what).__name__)

    async def main() -> None:
        route = http_server().websocket("/").on_text(lambda *_: 1 / 0).on_error(fail).on_close(fail)
        with pytest.raises(ExceptionGroup) as raised:
            await say(route)
        assert [repr(error) for error in raised.value.exceptions] == [
            "ZeroDivisionError('division by zero')",
            "ValueError('ZeroDivisionError')",
            "ValueError('CloseReason')",
        ]
        await idle()

    run(main)


def test_the_servers_error_takes_the_place_of_the_end_that_it_caused(run: Run) -> None:
    async def talk() -> None:
        async with conversation(http_server().websocket("/").on_text(lambda *_: 1 / 0)) as (incoming, outgoing):
            outgoing.send("x")
            assert (await incoming.receive()).reason.code == 1011
            await incoming.receive()

    async def main() -> None:
        with pytest.raises(ZeroDivisionError) as raised:
            await talk()
        assert isinstance(raised.value.__cause__, ConnectionClosedError)
        await idle()

    run(main)


def test_a_failed_assertion_stays_what_it_is_with_the_servers_error_as_a_note(run: Run) -> None:
    async def talk() -> None:
        async with conversation(http_server().websocket("/").on_text(lambda *_: 1 / 0)) as (incoming, outgoing):
            outgoing.send("x")
            await incoming.receive()
            raise AssertionError("the test's own")

    async def main() -> None:
        with pytest.raises(AssertionError) as raised:
            await talk()
        assert "ZeroDivisionError" in raised.value.__notes__[0]
        await idle()

    run(main)


def test_an_exception_in_the_block_ends_the_connection_with_1011(run: Run) -> None:
    async def main() -> None:
        codes: list[int] = []
        with pytest.raises(RuntimeError, match="mine"):
            async with conversation(echo().on_close(lambda _, reason: codes.append(reason.code)), "/echo"):
                raise RuntimeError("mine")
        assert codes == [1011]
        await idle()

    run(main)


def test_what_on_upgrade_raises_is_raised_in_place_of_the_500(run: Run) -> None:
    async def main() -> None:
        server = http_server().on_upgrade(lambda request: 1 / 0).websocket("/a b").discard()
        with pytest.raises(ZeroDivisionError) as raised:
            async with conversation(server, "/a%20b?x=1"):
                pass
        assert isinstance(raised.value.__cause__, HandshakeError)
        with pytest.raises(HandshakeError, match="404"):
            async with conversation(echo(), "/nothing"):
                pass
        await idle()

    run(main)


def test_what_on_upgrade_raises_for_one_is_not_raised_for_another_that_it_refuses(run: Run) -> None:
    def on_upgrade(request: Any) -> Any:
        return Response(401, "who?") if "authorization" in request.headers else 1 / 0

    async def main() -> None:
        async def talk(client: Any) -> None:
            async with conversation(server, client):
                pass

        async with listen_in_memory(http_server().on_upgrade(on_upgrade).websocket("/").discard()) as server:
            refused = talk(http_client().ws("ws://x/").bearer("token"))
            broken, unknown = await asyncio.gather(talk("/"), refused, return_exceptions=True)
        assert isinstance(broken, ZeroDivisionError)
        assert isinstance(unknown, HandshakeError)
        assert unknown.status == 401
        await idle()

    run(main)


def test_errors_of_other_connections_are_not_ours(run: Run) -> None:
    async def main() -> None:
        async with listen_in_memory(http_server().websocket("/").on_text(lambda *_: 1 / 0)) as server:
            async with conversation(server) as (incoming, _):
                with pytest.raises(ZeroDivisionError):
                    await say(server)
            assert incoming is not None
            assert server.is_listening
        await idle()

    run(main)


def test_they_are_raised_also_where_logging_is_switched_off(run: Run) -> None:
    async def main() -> None:
        logging.disable(logging.CRITICAL)
        try:
            with pytest.raises(ZeroDivisionError):
                await say(http_server().websocket("/").on_text(lambda *_: 1 / 0))
        finally:
            logging.disable(logging.NOTSET)
        await idle()

    run(main)


def test_a_callback_that_does_not_end_is_cancelled_when_grace_is_over(run: Run) -> None:
    async def main() -> None:
        cancelled: list[bool] = []

        async def on_open(connection: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)

        route = http_server().websocket("/").on_open(on_open)
        with pytest.raises(TimeoutError, match=r"grace=0\.01 .*on_open at .*test_conversation\.py:\d+"):
            async with conversation(route, grace=0.01):
                pass
        assert cancelled == [True]
        async with listen_in_memory(route) as server:
            with pytest.raises(TimeoutError):
                async with conversation(server, grace=0.01):
                    pass
        await idle()

    run(main)


@pytest.mark.parametrize("how", ["silent", "cut", "reset", "paused"])
def test_a_broken_network_does_not_hold_the_end(run: Run, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firefly_ws.testing.in_memory.LISTENS", 0.01)

    async def main() -> None:
        link = Link()
        talk = conversation(echo().close_timeout(0.01), CLIENT().close_timeout(0.01), link=link)
        async with talk as (incoming, outgoing):
            outgoing.send("x")
            assert await incoming.receive() == TextFrame("x")
            if how == "silent":
                link.hold()
            elif how == "paused":
                talk.accepted.pause_reading()
                talk.connection.terminate()
            else:
                link.cut(reset=how == "reset")
        assert talk.connection.close_reason.code == talk.accepted.close_reason.code == 1006
        await idle()

    run(main)


def CLIENT() -> Any:
    return http_client().websocket("ws://example.com/echo")


def test_both_ends_are_at_hand_while_it_lasts(run: Run) -> None:
    async def main() -> None:
        talk = conversation(echo(), CLIENT().extensions(["permessage-deflate"]))
        for end in ("connection", "accepted"):
            with pytest.raises(RuntimeError, match="has not begun"):
                getattr(talk, end)
        async with talk as (_, outgoing):
            outgoing.send("x" * 500)
            await outgoing.flush()
            assert talk.connection.is_client
            assert talk.accepted.server is not None
            assert [extension.name for extension in talk.accepted.extensions] == ["permessage-deflate"]
            assert talk.connection.bytes_written < 500
        await idle()

    run(main)


def test_reading_behind_the_end_raises_as_on_any_connection(run: Run) -> None:
    async def main() -> None:
        async with conversation(echo(), "/echo") as (incoming, outgoing):
            await outgoing.close(1000, "enough")
            assert await incoming.receive() == CloseFrame(CloseReason(1000, "enough"))
            with pytest.raises(ConnectionClosedOK):
                await incoming.receive()
        await idle()

    run(main)


def test_a_client_with_callbacks_has_no_incoming(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="callback"):
            async with conversation(echo(), CLIENT().on_text(print)):
                pass
        await idle()

    run(main)


@pytest.mark.parametrize(("grace", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
def test_a_grace_that_is_no_time_is_refused(grace: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="grace="):
        conversation(echo(), grace=grace)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=60), st.binary(max_size=200)), max_size=12), st.integers(1, 50))
def test_a_conversation_is_the_same_however_it_is_cut(sent: list[str | bytes], seed: int) -> None:  # S5
    async def main() -> None:
        link = Link(capacity=seed * 20).split(seed=seed)
        async with conversation(echo(), "/echo", link=link) as (incoming, outgoing):
            for message in sent:
                outgoing.send(message)
            for message in sent:
                frame = await incoming.receive()
                assert (frame.text if isinstance(frame, TextFrame) else frame.data) == message

    asyncio.run(main())
