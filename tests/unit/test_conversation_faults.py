"""What a test itself can get wrong over a connection in memory: it is cancelled, hangs, or its hooks raise."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from firefly_ws import CloseReason, ConnectionClosedError, Response, TextFrame, http_client, http_server
from firefly_ws.per_loop import runtime_of
from firefly_ws.testing import Link, connect_in_memory, conversation, listen_in_memory

Run = Callable[[Callable[[], Any]], None]


def echo() -> Any:
    return http_server().websocket("/").on_message(lambda frame, connection: connection.send(frame))


async def nothing_stays() -> None:
    """No server, no connection, no task, and nobody who listens to the log."""
    runtime = runtime_of(asyncio.get_running_loop())
    async with asyncio.timeout(5):
        while runtime.tracked or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert not logging.getLogger("firefly_ws").filters


async def cancelled_behind(turns: int, talk: Callable[[], Any]) -> bool:
    """Whether *talk* was still under way that many turns of the loop behind its beginning, and was cancelled then."""
    task = asyncio.create_task(talk())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    return task.cancelled()


@pytest.mark.parametrize("shared", [False, True])
def test_cancelled_at_any_of_its_awaits_it_leaves_nothing(run: Run, shared: bool) -> None:  # S5
    async def main() -> None:
        async with listen_in_memory(echo()) as server:
            to = server if shared else echo()

            async def talk() -> None:
                async with conversation(to) as (incoming, outgoing):
                    outgoing.send("x")
                    await incoming.receive()

            async def connect() -> None:
                async with connect_in_memory(to) as connection:
                    connection.send("x")
                    await connection.receive()

            for one in (talk, connect):
                turns = 0
                while await cancelled_behind(turns, one):
                    turns += 1
                    assert turns < 1000
                assert turns > 5
            assert server.is_listening
            async with asyncio.timeout(5):
                while server.connections:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        await nothing_stays()

    run(main)


def test_a_test_whose_time_is_over_does_not_wait_grace_for_a_handler_that_hangs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["firefly_ws.testing.conversation"], "CANCELLED", 0.005)

    async def main() -> None:
        cancelled: list[bool] = []

        began = asyncio.Event()

        async def handler(connection: Any) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)

        async def talk() -> None:
            async with asyncio.timeout(None) as limit:
                async with conversation(http_server().websocket("/").handler(handler), grace=None) as (incoming, _):
                    await began.wait()
                    limit.reschedule(asyncio.get_running_loop().time())
                    await incoming.receive()

        async with asyncio.timeout(5):
            with pytest.raises(TimeoutError) as raised:
                await talk()
        assert cancelled == [True]
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)
        (note,) = raised.value.__cause__.__notes__
        assert "handler at " in note
        await nothing_stays()

    run(main)


def test_cancelled_while_it_waits_for_callbacks_it_cancels_them(run: Run) -> None:
    async def main() -> None:
        waiting, cancelled = asyncio.Event(), asyncio.Event()

        async def on_close(connection: Any, reason: Any) -> None:
            waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async def talk() -> None:
            async with conversation(echo().on_close(on_close), grace=None):
                pass

        async with asyncio.timeout(5):
            task = asyncio.create_task(talk())
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await cancelled.wait()
        await nothing_stays()

    run(main)


def raises(*_: Any) -> Any:
    raise LookupError("the test's own")


HOOKS: list[tuple[Callable[[Link], object], type[Exception], str]] = [
    (lambda link: link.to_server.change(raises), LookupError, "the test's own"),
    (lambda link: link.to_client.change(raises), LookupError, "the test's own"),
    (lambda link: link.split(raises), LookupError, "the test's own"),
    (lambda link: link.delay(raises), LookupError, "the test's own"),
    (lambda link: link.to_server.change(lambda data: "text"), TypeError, r"change\(\).*'text'"),  # type: ignore[arg-type,return-value]
    (lambda link: link.split(lambda: 1.5), TypeError, r"split\(\).*1\.5"),  # type: ignore[arg-type,return-value]
    (lambda link: link.split(lambda: None), TypeError, r"split\(\).*None"),  # type: ignore[arg-type,return-value]
    (lambda link: link.delay(lambda: -1), TypeError, r"delay\(\).*-1"),
    (lambda link: link.delay(lambda: "1"), TypeError, r"delay\(\).*'1'"),  # type: ignore[arg-type,return-value]
]


def test_what_a_function_given_to_the_link_raises_is_raised_by_the_test_and_nothing_hangs(run: Run) -> None:
    async def talk(spoil: Callable[[Link], object]) -> None:
        link = Link()
        async with conversation(echo(), link=link) as (incoming, outgoing):
            outgoing.send("x")
            await incoming.receive()
            spoil(link)
            outgoing.send("y")
            await incoming.receive()

    async def main() -> None:
        for number, (spoil, error, text) in enumerate(HOOKS):
            async with asyncio.timeout(5):
                # In the handshake, and later.
                link = Link()
                spoil(link)
                with pytest.raises(error, match=text):
                    await connect_in_memory(echo(), link=link)
                assert isinstance(link.error, error), number
                with pytest.raises(error, match=text) as raised:
                    await talk(spoil)
                assert isinstance(raised.value.__cause__, ConnectionClosedError), number
        await nothing_stays()

    run(main)


def test_one_that_raises_while_nobody_asks_is_told_by_the_end(run: Run) -> None:
    async def talk(link: Link) -> None:
        async with conversation(echo(), link=link) as (_, outgoing):
            link.to_server.change(raises)
            outgoing.send("x")

    async def main() -> None:
        with pytest.raises(LookupError):
            await talk(Link())
        link = Link()
        connection = await connect_in_memory(echo(), link=link)
        link.to_client.change(raises)
        connection.send("x")
        with pytest.raises(ConnectionClosedError) as raised:
            await connection.receive()
        assert raised.value.__cause__ is link.error
        await nothing_stays()

    run(main)


def test_what_callbacks_of_the_clients_builder_raise_is_raised_as_well(run: Run) -> None:
    async def late(*_: Any) -> None:
        await asyncio.sleep(0.005)
        raise LookupError("late")

    async def talk(client: Any, server: Any) -> None:
        async with conversation(server, client) as (incoming, outgoing):
            outgoing.send("x")
            await incoming.receive()

    async def main() -> None:
        client = http_client().ws("ws://x/")
        for slot in ("on_open", "on_close"):
            for fail in (raises, late):
                with pytest.raises(LookupError):
                    await talk(getattr(http_client().ws("ws://x/"), slot)(fail), echo())
        with pytest.raises(ExceptionGroup) as raised:
            await talk(client.on_close(late), echo().on_close(late))
        assert len(raised.value.exceptions) == 2
        await nothing_stays()

    run(main)


def test_what_an_asgi_application_raises_is_raised_as_well(run: Run) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        if scope["path"] == "/a b":
            raise LookupError("early")
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "welcome"})
        await receive()
        raise LookupError("late")

    async def talk(path: str) -> None:
        async with conversation(http_server().asgi(app), path) as (incoming, outgoing):
            assert await incoming.receive() == TextFrame("welcome")
            outgoing.send("x")
            assert (await incoming.receive()).reason.code == 1011
            await incoming.receive()

    async def main() -> None:
        for path, said in (("/a%20b", "early"), ("/", "late")):
            with pytest.raises(LookupError, match=said):
                await talk(path)
        await nothing_stays()

    run(main)


def test_a_callback_of_the_client_that_hangs_is_cancelled_and_named_as_well(run: Run) -> None:
    async def main() -> None:
        async def hangs(*_: Any) -> None:
            await asyncio.Event().wait()

        for slot in ("on_open", "on_close"):
            with pytest.raises(TimeoutError, match=r"grace=0\.01 .*hangs at "):
                async with conversation(echo(), getattr(http_client().ws("ws://x/"), slot)(hangs), grace=0.01):
                    pass
        await nothing_stays()

    run(main)


def test_each_try_of_a_client_that_reconnects_has_a_link_of_its_own(run: Run) -> None:
    async def main() -> None:
        answers = [Response(503), Response(503), None]
        server = http_server().on_upgrade(lambda request: answers.pop(0)).websocket("/").discard()
        client = http_client().ws("ws://x/").discard().reconnect(base_delay=0)
        async with connect_in_memory(server, client, link=Link().split(1)) as connection:
            assert await connection.ping() >= 0
        assert answers == []
        await nothing_stays()

    run(main)


def test_each_is_entered_once(run: Run) -> None:
    async def main() -> None:
        talk, connecting = conversation(echo()), connect_in_memory(echo())
        for one in (talk, connecting):
            async with one:
                pass
            with pytest.raises(RuntimeError, match="begun already"):
                async with one:
                    pass
        with pytest.raises(RuntimeError, match="begun already"):
            await connecting
        await nothing_stays()

    run(main)


def test_a_note_says_where_the_server_raised(run: Run) -> None:
    async def main() -> None:
        async def talk() -> None:
            async with conversation(http_server().websocket("/").on_text(raises)) as (incoming, outgoing):
                outgoing.send("x")
                await incoming.receive()
                raise AssertionError("no echo")

        with pytest.raises(AssertionError) as raised:
            await talk()
        (note,) = raised.value.__notes__
        assert "LookupError" in note
        assert f"{__file__}:{raises.__code__.co_firstlineno + 1}" in note
        await nothing_stays()

    run(main)


@pytest.mark.parametrize(
    "error",
    [OSError(2, "no such file"), TimeoutError(), ConnectionClosedError(CloseReason(1006, "of another connection"))],
)
def test_whatever_a_callback_raises_is_its_own_also_where_logging_is_switched_off(run: Run, error: Any) -> None:
    def fail(*_: Any) -> None:
        raise error

    async def talk() -> None:
        async with conversation(http_server().websocket("/").on_text(fail)) as (incoming, outgoing):
            outgoing.send("x")
            await incoming.receive()

    async def main() -> None:
        logging.disable(logging.CRITICAL)
        try:
            with pytest.raises(type(error)) as raised:
                await talk()
            assert raised.value is error
        finally:
            logging.disable(logging.NOTSET)
        await nothing_stays()

    run(main)
