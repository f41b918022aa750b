"""Running what callbacks return: what is awaited, no task where none is needed, suspensions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import pytest
from fakes import Served, turns

from firefly_ws import DONE
from firefly_ws._core.steps import Steps

Main = Callable[[], Coroutine[Any, Any, None]]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


# ---- what may be returned ------------------------------------------------------------------------------------------


class Custom:
    """An awaitable of somebody's own."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def __await__(self) -> Generator[Any, None, None]:
        self.log.append("begun")
        yield from asyncio.sleep(0).__await__()
        self.log.append("ended")


def test_everything_that_can_be_awaited_is(run: Callable[[Main], None]) -> None:
    @types.coroutine
    def old_style() -> Generator[Any, None, None]:
        log.append("begun")
        yield
        log.append("ended")

    async def coroutine() -> None:
        log.append("begun")
        await asyncio.sleep(0)
        log.append("ended")

    log: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def future() -> asyncio.Future[None]:
            log.append("begun")
            made = loop.create_future()
            loop.call_soon(lambda: (log.append("ended"), made.set_result(None)))
            return made

        def threads() -> concurrent.futures.Future[None]:
            log.append("begun")
            made: concurrent.futures.Future[None] = concurrent.futures.Future()
            loop.call_soon(lambda: (log.append("ended"), made.set_result(None)))
            return made

        kinds: list[Callable[[], object]] = [
            coroutine, lambda: asyncio.ensure_future(coroutine()), future, threads, lambda: Custom(log), old_style,
            lambda: asyncio.gather(coroutine()),
        ]  # fmt: skip
        for make in kinds:
            log.clear()
            served = Served(lambda text, connection, make=make: make())
            served.call("1")
            served.call("2")
            await turns(2)
            # The next message waits for what the first one has returned.
            assert log[:2] == ["begun", "ended"], make
            await turns(10)
            assert log == ["begun", "ended"] * 2, make
            assert served.error is None

    run(main)


@pytest.mark.parametrize("value", [None, DONE, 17, "text", b"bytes", [], object(), asyncio.Future, int, ...])
def test_everything_else_is_ignored(run: Callable[[Main], None], value: object) -> None:
    async def main() -> None:
        heard: list[str] = []
        served = Served(lambda text, connection: (heard.append(text), value)[1])
        served.call("1")
        served.call("2")
        assert heard == ["1", "2"]
        assert served.error is None

    run(main)


def test_what_has_finished_already_is_not_waited_for(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        future.set_result(None)
        other: concurrent.futures.Future[None] = concurrent.futures.Future()
        other.set_result(None)
        heard: list[str] = []
        for value in (future, DONE):
            heard.clear()
            served = Served(lambda text, connection, value=value: (heard.append(text), value)[1])
            served.call("1")
            served.call("2")
            assert heard == ["1", "2"]
        served = Served(lambda text, connection: (heard.append(text), other)[1])
        served.call("3")
        served.call("4")
        await turns(5)
        assert heard == ["1", "2", "3", "4"]

    run(main)


@pytest.mark.parametrize("kind", ["coroutine", "late coroutine", "future", "late future", "thread's", "custom"])
def test_an_error_of_it_is_the_callbacks(
    run: Callable[[Main], None], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def failing() -> None:
            if kind.startswith("late"):
                await asyncio.sleep(0)
            raise KeyError(kind)

        class Failing:
            def __await__(self) -> Generator[Any, None, None]:
                raise KeyError(kind)
                yield

        def callback(text: str, connection: object) -> object:
            if "coroutine" in kind:
                return failing()
            if kind == "custom":
                return Failing()
            future: Any = concurrent.futures.Future() if kind == "thread's" else loop.create_future()
            if kind == "late future":
                loop.call_soon(future.set_exception, KeyError(kind))
            else:
                future.set_exception(KeyError(kind))
            return future

        served = Served(callback)
        served.call()
        await turns(5)
        assert repr(served.error) == repr(KeyError(kind))
        assert served.peer.got == [("close", 1011, "")]

    run(main)
    assert len(caplog.records) == 1


# ---- without suspending --------------------------------------------------------------------------------------------


def test_a_coroutine_that_does_not_suspend_has_ended_when_the_call_returns(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        heard: list[str] = []

        async def callback(text: str, connection: object) -> None:
            await DONE
            heard.append(text)

        served = Served(callback)
        for number in range(1000):
            served.call(str(number))
        assert len(heard) == 1000
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


def test_it_has_a_task_of_its_own_all_the_same(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        seen: list[asyncio.Task[Any]] = []

        async def callback(text: str, connection: object) -> None:
            seen.append(current())
            assert current() is not outer
            assert current().get_loop() is asyncio.get_running_loop()
            assert not current().done()

        outer = current()
        served = Served(callback)
        served.call()
        assert current() is outer
        asyncio.get_running_loop().call_soon(served.call)
        await turns(2)
        assert len(seen) == 2
        assert served.error is None

    run(main)


def test_the_same_task_serves_callbacks_that_leave_no_trace(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        seen: set[int] = set()

        async def callback(text: str, connection: object) -> None:
            seen.add(id(current()))

        steps = Steps(asyncio.get_running_loop())
        first, second = Served(callback, steps=steps), Served(callback, steps=steps)
        for _ in range(20):
            first.call()
            second.call()
        assert len(seen) == 1

    run(main)


@pytest.mark.parametrize("trace", ["name", "callback", "variable", "cancelling", "cancelled and not"])
def test_what_a_callback_leaves_in_its_task_the_next_one_does_not_find(run: Callable[[Main], None], trace: str) -> None:
    async def main() -> None:
        found: list[object] = []

        async def callback(text: str, connection: object) -> None:
            task = current()
            found.append((task.get_name() == "mine", task.cancelling(), variable.get()))
            if trace == "name":
                task.set_name("mine")
            elif trace == "callback":
                task.add_done_callback(lambda task: found.append("told"))
            elif trace == "variable":
                variable.set("changed")
            elif trace == "cancelled and not":
                if len(found) == 1:
                    task.cancel()
                    task.uncancel()
                else:
                    await asyncio.sleep(0)
            else:
                task.cancel()
                task.uncancel()
                task.cancel()

        served = Served(callback)
        for _ in range(3):
            served.call()
            await turns()
        assert served.error is None
        assert [one for one in found if one != "told"] == [(False, 0, "unset")] * 3
        assert found.count("told") == (3 if trace == "callback" else 0)
        assert variable.get() == "unset"

    run(main)


def test_an_exception_before_the_first_suspension_has_the_callbacks_traceback(
    run: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def inner() -> None:
        raise LookupError("deep inside")

    async def callback(text: str, connection: object) -> None:
        await inner()

    async def main() -> None:
        served = Served(callback)
        served.call()
        error = served.error
        assert isinstance(error, LookupError)
        names = []
        trace = error.__traceback__
        while trace is not None:
            names.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert names[-2:] == ["callback", "inner"]
        assert asyncio.current_task() is not None

    run(main)


# ---- suspending ----------------------------------------------------------------------------------------------------


def test_the_task_is_the_same_across_the_first_suspension(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        seen: list[asyncio.Task[Any]] = []

        async def callback(text: str, connection: object) -> None:
            seen.append(current())
            await asyncio.sleep(0)
            seen.append(current())
            await asyncio.sleep(0)
            seen.append(current())

        served = Served(callback)
        served.call()
        assert len(seen) == 1
        assert seen[0] in asyncio.all_tasks()
        assert "callback" in repr(seen[0])
        await turns(4)
        assert len(seen) == 3
        assert len(set(seen)) == 1
        assert seen[0].done()

    run(main)


@pytest.mark.parametrize("what", ["sleep", "future", "done future", "event", "task", "gather", "thread", "bare"])
def test_it_goes_on_with_whatever_it_waited_for_first(run: Callable[[Main], None], what: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        log: list[object] = []

        async def value() -> str:
            await asyncio.sleep(0)
            return "value"

        def future() -> asyncio.Future[str]:
            made = loop.create_future()
            if what == "done future":
                made.set_result("value")
            else:
                loop.call_later(0.002, made.set_result, "value")
            return made

        async def event() -> str:
            one = asyncio.Event()
            loop.call_soon(one.set)
            await one.wait()
            return "value"

        @types.coroutine
        def bare() -> Generator[None, None, str]:
            yield
            return "value"

        async def gathered() -> str:
            return (await asyncio.gather(value(), value()))[0]

        things: dict[str, Callable[[], Awaitable[object]]] = {
            "sleep": lambda: asyncio.sleep(0.002, "value"),
            "future": future,
            "done future": future,
            "event": event,
            "task": lambda: asyncio.create_task(value()),
            "gather": gathered,
            "thread": lambda: asyncio.to_thread(str, "value"),
            "bare": bare,
        }

        async def callback(text: str, connection: object) -> None:
            log.append(await things[what]())
            log.append(await things[what]())
            if text == "2":
                ended.set()

        ended = asyncio.Event()
        served = Served(callback)
        served.call("1")
        served.call("2")
        await asyncio.wait_for(ended.wait(), 5)
        assert log == ["value"] * 4
        assert served.error is None

    run(main)


def test_several_may_begin_to_wait_for_the_same_future_in_one_turn(run: Callable[[Main], None]) -> None:
    """A future is marked until a task has taken it; the second await found the first one's mark and raised."""

    async def main() -> None:
        shared: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        log: list[str] = []

        async def callback(text: str, connection: object) -> None:
            log.append(await shared)

        first, second = Served(callback), Served(callback)
        first.call()
        second.call()

        async def waiting() -> None:
            log.append(await shared)

        other = asyncio.create_task(waiting())
        await turns()
        shared.set_result("x")
        await other
        await turns()
        assert log == ["x", "x", "x"]

    run(main)


def test_a_future_that_fails_fails_the_callback_at_its_await(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        log: list[str] = []

        async def callback(text: str, connection: object) -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_exception, KeyError("x"))
            try:
                await future
            except KeyError:
                log.append("caught")

        served = Served(callback)
        served.call()
        await turns(5)
        assert log == ["caught"]
        assert served.error is None

    run(main)


def test_many_suspended_at_once_each_have_a_task(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        release = asyncio.Event()
        seen: set[asyncio.Task[Any]] = set()

        async def callback(text: str, connection: object) -> None:
            seen.add(current())
            await release.wait()

        steps = Steps(asyncio.get_running_loop())
        many = [Served(callback, steps=steps) for _ in range(50)]
        for served in many:
            served.call()
        assert len(seen) == 50
        await turns()
        assert seen <= asyncio.all_tasks()
        release.set()
        await turns(5)
        assert all(task.done() for task in seen)

    run(main)
