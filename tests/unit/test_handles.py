"""Handles: what a call on another thread's loop gives back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import pytest
from loops import LIMIT, in_thread, messages

from firefly_ws._core.done import DONE
from firefly_ws.runtime import (
    Handle,
    Runtime,
    stop_background,
    submit,
)

pytestmark = pytest.mark.usefixtures("default_signals")


def test_a_handle_gives_what_the_call_returns_awaited_if_it_can_be(script: Callable[..., Handle[Any]]) -> None:
    async def coroutine(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def future() -> int:
        made = asyncio.get_running_loop().create_future()
        made.set_result(3)
        return await asyncio.shield(made)

    assert script(lambda: 1).result(LIMIT) == 1
    assert script(coroutine, 2).result(LIMIT) == 2
    assert script(lambda: asyncio.ensure_future(future())).result(LIMIT) == 3
    assert script(lambda: DONE).result(LIMIT) is None
    handle = script(lambda: 4)
    assert (handle.exception(LIMIT), handle.done(), handle.result(), handle.result(0)) == (None, True, 4, 4)


def test_a_handle_that_is_taken_for_its_result_says_where_that_is(script: Callable[..., Handle[Any]]) -> None:
    handle = script(str, 1)
    with pytest.raises(AttributeError, match=r"'Handle' object has no attribute 'upper'; \.result\(timeout\) gives"):
        handle.upper()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"no attribute '_x'$"):
        handle._x  # type: ignore[attr-defined]  # noqa: B018
    assert handle.result(LIMIT) == "1"


def test_a_handle_raises_the_calls_error(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    release = threading.Event()

    async def fail() -> None:
        await asyncio.to_thread(release.wait, LIMIT)
        raise LookupError("lost")

    handle = script(fail)
    threading.Timer(0.05, release.set).start()
    with pytest.raises(LookupError, match="lost"):
        handle.result(LIMIT)
    assert isinstance(handle.exception(), LookupError)
    # Somebody was waiting for it.
    assert messages(caplog) == []


def test_an_error_nobody_waits_for_is_logged_as_it_happens(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    def fail() -> None:
        raise LookupError("lost")

    handle = script(fail, what="the failing call")
    script(int).result(LIMIT)
    assert messages(caplog) == ["the failing call failed: LookupError: lost"]
    with pytest.raises(LookupError):
        handle.result()
    assert len(messages(caplog)) == 1


def test_an_error_that_comes_after_the_wait_was_given_up_is_logged(
    script: Callable[..., Handle[Any]], caplog: Any
) -> None:
    release = threading.Event()

    async def fail() -> None:
        await asyncio.to_thread(release.wait, LIMIT)
        raise LookupError("lost")

    handle = script(fail)
    with pytest.raises(TimeoutError, match=r"fail.*has not ended within 0\.01 seconds, and goes on"):
        handle.result(0.01)
    release.set()
    concurrent.futures.wait([handle], LIMIT)
    script(int).result(LIMIT)
    assert len(messages(caplog)) == 1


def test_an_error_is_not_logged_for_a_handle_with_a_callback(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    release, told = threading.Event(), threading.Event()
    seen: list[BaseException | None] = []

    async def fail() -> None:
        await asyncio.to_thread(release.wait, LIMIT)
        raise LookupError("lost")

    def tell(handle: concurrent.futures.Future[Any]) -> None:
        seen.append(handle.exception())
        told.set()

    script(fail).add_done_callback(tell)
    release.set()
    assert told.wait(LIMIT)
    assert isinstance(seen[0], LookupError)
    assert messages(caplog) == []


def test_a_calls_own_timeout_error_is_not_taken_for_the_waits(script: Callable[..., Handle[Any]]) -> None:
    error = TimeoutError("of the call")

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise error

    with pytest.raises(TimeoutError) as raised:
        script(fail).result(LIMIT)
    assert raised.value is error


def test_a_wait_is_longer_than_its_slices(script: Callable[..., Handle[Any]]) -> None:
    assert script(asyncio.sleep, 0.5, "slept").result() == "slept"


def test_sys_exit_in_a_call_is_the_callers_and_leaves_the_loop_running(script: Callable[..., Handle[Any]]) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        script(leave).result(LIMIT)
    assert script(lambda: "runs").result(LIMIT) == "runs"


def test_cancelling_a_handle_cancels_the_call(script: Callable[..., Handle[Any]]) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def call() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    handle = script(call)
    assert begun.wait(LIMIT)
    assert handle.cancel()
    assert ended.wait(LIMIT)
    with pytest.raises(concurrent.futures.CancelledError):
        handle.result(LIMIT)
    finished = script(int)
    finished.result(LIMIT)
    assert not finished.cancel()


def test_a_handle_cancelled_before_its_turn_is_never_begun(script: Callable[..., Handle[Any]]) -> None:
    blocked, release, ran = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        release.wait(LIMIT)

    script(block)
    assert blocked.wait(LIMIT)
    handle = script(ran.set)
    assert handle.cancel()
    release.set()
    script(int).result(LIMIT)
    assert handle.cancelled()
    assert not ran.is_set()


def test_a_call_that_is_cancelled_elsewhere_cancels_its_handle(script: Callable[..., Handle[Any]]) -> None:
    async def call() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(concurrent.futures.CancelledError):
        script(call).result(LIMIT)


def test_an_error_after_the_cancellation_is_logged(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    begun = threading.Event()

    async def call() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("in the cleanup")

    handle = script(call)
    assert begun.wait(LIMIT)
    handle.cancel()
    script(asyncio.sleep, 0.01).result(LIMIT)
    assert messages(caplog)[0].endswith("failed: LookupError: in the cleanup")


def test_waiting_on_the_loop_that_has_to_do_the_work_raises(script: Callable[..., Handle[Any]]) -> None:
    def wait() -> None:
        script(int, what="the inner call").result()

    with pytest.raises(RuntimeError, match=r"the inner call: .* await the handle instead"):
        script(wait).result(LIMIT)


def test_a_handle_may_be_awaited_on_its_own_loop(script: Callable[..., Handle[Any]]) -> None:
    async def outer() -> Any:
        return await script(lambda: "inner")

    assert script(outer).result(LIMIT) == "inner"


async def test_a_handle_may_be_awaited_on_another_loop(here: Runtime) -> None:
    try:
        assert await submit(asyncio.sleep, 0, "slept") == "slept"
    finally:
        await in_thread(stop_background)


async def test_another_thread_submits_to_a_running_loop(here: Runtime) -> None:
    async def inside() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    handle = here.submit(inside)
    assert not here.is_idle
    assert await in_thread(lambda: handle.result(LIMIT)) is here.loop
    assert await in_thread(lambda: here.submit(inside).result(LIMIT)) is here.loop
    await asyncio.wait_for(here.wait_idle(), LIMIT)


def test_a_handle_says_what_it_is(script: Callable[..., Handle[Any]]) -> None:
    handle = script(int, what="counting")
    handle.result(LIMIT)
    assert repr(handle) == "<Handle of counting: finished>"
    assert repr(script(int)).startswith("<Handle of int: ")
