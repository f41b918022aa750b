"""A callback has a real task from its first line: timeouts, cancellation, contexts, nesting, nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from fakes import Peer, Served, turns
from judge import PING, TEXT

from firefly_ws import DONE
from firefly_ws._core.steps import Steps

Main = Callable[[], Coroutine[Any, Any, None]]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


# ---- asyncio on the first line -------------------------------------------------------------------------------------


def test_timeouts_task_groups_and_cancellation_work_on_the_first_line(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        log: list[str] = []

        async def callback(text: str, connection: object) -> None:
            async with asyncio.timeout(5):
                await DONE
                log.append("no suspension within a timeout")
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(5)
            except TimeoutError:
                log.append("timed out")
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(0, "grouped"))
            log.append(task.result())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(5), 0.001)
            current().cancel()
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                log.append("cancelled")
                current().uncancel()
            ended.set()

        ended = asyncio.Event()
        served = Served(callback)
        served.call()
        await asyncio.wait_for(ended.wait(), 5)
        assert log == ["no suspension within a timeout", "timed out", "grouped", "cancelled"]
        assert served.error is None

    run(main)


def test_a_task_group_that_fails_cancels_the_callback_in_its_first_step(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        log: list[str] = []

        async def failing() -> None:
            raise KeyError("of the group")

        async def callback(text: str, connection: object) -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(failing())
                    await asyncio.sleep(5)
            except* KeyError:
                log.append("caught")

        served = Served(callback)
        served.call()
        await turns(6)
        assert log == ["caught"]
        assert served.error is None

    run(main)


@pytest.mark.parametrize("when", ["at once", "a turn later", "turns later"])
def test_a_suspended_callback_can_be_cancelled(run: Callable[[Main], None], when: str) -> None:
    async def main() -> None:
        log: list[str] = []
        tasks: list[asyncio.Task[Any]] = []
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def callback(text: str, connection: object) -> None:
            tasks.append(current())
            try:
                await waited
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        served = Served(callback)
        served.call()
        await turns({"at once": 0, "a turn later": 1, "turns later": 4}[when])
        assert tasks[0].cancel()
        await turns(5)
        assert log == ["cancelled"]
        assert waited.cancelled()
        assert tasks[0].cancelled()
        # Cancelling a callback is no error of it, and the next message comes.
        assert served.error is None
        assert served.peer.connection.is_open

    run(main)


def test_a_callback_may_swallow_its_cancellation(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        log: list[str] = []
        tasks: list[asyncio.Task[Any]] = []

        async def callback(text: str, connection: object) -> None:
            tasks.append(current())
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                log.append("went on")

        served = Served(callback)
        served.call()
        tasks[0].cancel()
        await turns(6)
        assert log == ["went on"]
        assert tasks[0].done()
        assert not tasks[0].cancelled()

    run(main)


# ---- contexts ------------------------------------------------------------------------------------------------------


def test_a_variable_holds_across_suspensions_and_ends_with_its_callback(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        found: list[str] = []

        async def callback(text: str, connection: object) -> None:
            found.append(variable.get())
            variable.set(text)
            await asyncio.sleep(0)
            found.append(variable.get())

        served = Served(callback)
        served.call("1")
        served.call("2")
        await turns(8)
        assert found == ["unset", "1", "unset", "2"]
        assert variable.get() == "unset"

    run(main)


def test_callbacks_see_the_context_that_their_connection_was_made_in(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        found: list[str] = []

        async def callback(text: str, connection: object) -> None:
            found.append(variable.get())
            await asyncio.sleep(0)
            found.append(variable.get())

        variable.set("of the server")
        served = Served(callback)
        variable.set("of somebody else")
        served.call()
        await turns(4)
        assert found == ["of the server", "of the server"]
        assert variable.get() == "of somebody else"

    run(main)


# ---- one within another --------------------------------------------------------------------------------------------


def test_a_callback_within_a_callback_has_its_own_task(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        log: list[object] = []

        async def inner(text: str, connection: object) -> None:
            log.append(current())
            if text == "suspend":
                await asyncio.sleep(0)
                log.append("inner went on")

        async def outer(text: str, connection: object) -> None:
            task = current()
            log.append(task)
            other.call("stay")
            assert current() is task
            other.call("suspend")
            assert current() is task
            await asyncio.sleep(0)
            assert current() is task
            log.append("outer went on")

        steps = Steps(asyncio.get_running_loop())
        other, served = Served(inner, steps=steps), Served(outer, steps=steps)
        served.call()
        await turns(6)
        assert len({id(one) for one in log[:3]}) >= 2
        assert log[0] not in log[1:]
        assert log[3:] in (["inner went on", "outer went on"], ["outer went on", "inner went on"])
        assert served.error is None
        assert other.error is None

    run(main)


def test_a_callback_called_within_a_users_task_gives_it_its_place_back(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async def callback(text: str, connection: object) -> None:
            await asyncio.sleep(0)

        task = current()
        served = Served(callback)
        served.call()
        assert current() is task
        async with asyncio.timeout(1):
            await asyncio.sleep(0)
        await turns(4)

    run(main)


def test_an_error_within_one_within_another_leaves_the_current_task_right(
    run: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def inner(text: str, connection: object) -> None:
            raise KeyError("inner")

        async def outer(text: str, connection: object) -> None:
            task = current()
            other.call()
            assert current() is task

        steps = Steps(asyncio.get_running_loop())
        other, served = Served(inner, steps=steps), Served(outer, steps=steps)
        served.call()
        assert isinstance(other.error, KeyError)
        assert served.error is None
        await turns()

    run(main)


# ---- nothing is left behind ----------------------------------------------------------------------------------------


def test_the_task_kept_ready_is_nobodys(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async def callback(text: str, connection: object) -> None:
            pass

        served = Served(callback)
        served.call()
        await turns()
        assert asyncio.all_tasks() == {current()}

    run(main)


def test_a_loop_that_ends_with_a_task_kept_ready_says_nothing() -> None:
    async def callback(text: str, connection: object) -> None:
        pass

    async def main() -> None:
        kept.append(Served(callback))
        kept[0].call()
        await turns()

    for factory in (None, uvloop.new_event_loop):
        kept: list[Served] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(main())
            kept.clear()
            gc.collect()
        assert [str(one.message) for one in caught] == []


def test_nothing_is_kept_of_a_callback_that_has_ended(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        class Local:
            alive = 0

            def __init__(self) -> None:
                Local.alive += 1

            def __del__(self) -> None:
                Local.alive -= 1

        async def callback(text: str, connection: object) -> None:
            local = Local()
            if text == "suspend":
                await asyncio.sleep(0)
            del local

        served = Served(callback)
        for _ in range(5):
            served.call("suspend")
            served.call("stay")
        await turns(20)
        gc.collect()
        assert Local.alive == 0

    run(main)


def test_several_kinds_of_callback_run_beside_each_other(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        log: list[str] = []
        release = asyncio.Event()

        async def on_ping(payload: bytes, connection: object) -> None:
            log.append("ping begun")
            await release.wait()
            log.append("ping ended")

        async def on_text(text: str, connection: object) -> None:
            log.append(text)

        peer = Peer(ping=on_ping, text=on_text)
        peer.send(PING)
        peer.send(PING)
        peer.send(TEXT, b"message")
        assert log == ["ping begun", "ping begun", "message"]
        release.set()
        await turns(5)
        assert log[3:] == ["ping ended"] * 2

    run(main)


# ---- messages that come together -----------------------------------------------------------------------------------


def test_messages_of_one_read_have_a_task_and_a_context_each_and_nothing_between_them_has_it(
    run: Callable[[Main], None],
) -> None:
    """Such messages share what it takes to make a task current; neither they nor anybody else can tell."""

    async def main() -> None:
        seen: list[object] = []
        gate = asyncio.Event()

        async def on_text(text: str, connection: Any) -> None:
            seen.append((text, variable.get(), current().get_name() == "mine", current().cancelling()))
            if text == "variable":
                variable.set(text)
            elif text == "name":
                current().set_name("mine")
            elif text == "cancel":
                current().cancel()
                current().uncancel()
            elif text == "wait":
                await gate.wait()
                seen.append(("waited", variable.get(), current().get_name() == "mine", current().cancelling()))

        def on_ping(data: bytes, connection: Any) -> None:
            seen.append((data, asyncio.current_task(), variable.get()))
            variable.set("a plain callback's")

        def read() -> None:
            peer.feed(
                *(
                    peer.frame(PING, one.encode()[1:]) if one[0] == "!" else peer.frame(TEXT, one.encode())
                    for one in come
                )
            )
            seen.append((asyncio.current_task(), variable.get()))
            variable.set("unset")

        come = ["1", "2", "variable", "3", "name", "4", "!ping", "5", "cancel", "6", "wait", "7", "8"]
        peer = Peer(text=on_text, ping=on_ping)
        asyncio.get_running_loop().call_soon(read)
        await turns()
        gate.set()
        await turns(6)

        def text(name: str) -> tuple[str, str, bool, int]:
            return name, "unset", False, 0

        assert seen == [
            *map(text, ["1", "2", "variable", "3", "name", "4"]),
            (b"ping", None, "unset"),
            *map(text, ["5", "cancel", "6", "wait"]),
            (None, "a plain callback's"),
            *map(text, ["waited", "7", "8"]),
        ]
        assert peer.connection.error is None

    run(main)


def test_an_error_among_messages_of_one_read_leaves_no_task_behind(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        seen: list[object] = []

        async def on_text(text: str, connection: Any) -> None:
            seen.append(text)
            if text == "2":
                raise ValueError(text)

        def on_error(connection: Any, error: BaseException) -> None:
            seen.append((str(error), asyncio.current_task()))

        def read() -> None:
            peer.feed(*(peer.frame(TEXT, text) for text in (b"1", b"2", b"3")))
            seen.append(asyncio.current_task())

        peer = Peer(text=on_text, error=on_error)
        asyncio.get_running_loop().call_soon(read)
        await turns()
        asyncio.get_running_loop().call_soon(peer.lose)
        await turns()
        assert seen == ["1", "2", None, ("2", None)]

    run(main)
