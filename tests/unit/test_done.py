"""`DONE`: finished, reusable, bound to no loop."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle

import pytest

from firefly_ws import DONE, Done


def test_it_has_finished_with_none() -> None:
    assert DONE.done()
    assert not DONE.cancelled()
    assert DONE.result() is None  # type: ignore[func-returns-value]
    assert DONE.result(timeout=0.1) is None  # type: ignore[func-returns-value]
    assert DONE.exception() is None  # type: ignore[func-returns-value]
    assert DONE.exception(1) is None  # type: ignore[func-returns-value]
    assert DONE.cancel() is False
    assert DONE.cancel("why") is False
    assert repr(DONE) == "DONE"
    assert isinstance(DONE, Done)


def test_awaiting_it_never_suspends() -> None:
    async def often() -> str:
        for _ in range(1000):
            await DONE
        return "through"

    coroutine = often()
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == "through"


def test_two_may_await_it_at_once() -> None:
    first, second = DONE.__await__(), DONE.__await__()
    for one in (first, second, first):
        with pytest.raises(StopIteration):
            next(one)


async def test_it_works_with_gather_wait_for_shield_and_tasks() -> None:
    assert await asyncio.gather(DONE, DONE) == [None, None]
    await asyncio.wait_for(DONE, 1)
    await asyncio.shield(DONE)
    await asyncio.ensure_future(DONE)
    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(DONE, 1))
    assert await DONE is None  # type: ignore[func-returns-value]


def test_it_is_bound_to_no_loop() -> None:
    async def once() -> None:
        await asyncio.wait_for(DONE, 1)

    for _ in range(2):
        asyncio.run(once())


def test_a_callback_is_called_at_once() -> None:
    heard: list[object] = []
    DONE.add_done_callback(heard.append)
    assert heard == [DONE]
    assert DONE.remove_done_callback(heard.append) == 0


def test_a_callback_is_called_in_its_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    heard: list[str] = []
    DONE.add_done_callback(lambda done: heard.append(variable.get()), context=context)
    assert heard == ["inside"]


def test_there_is_one() -> None:
    assert pickle.loads(pickle.dumps(DONE)) is DONE
    assert copy.copy(DONE) is DONE
    assert copy.deepcopy(DONE) is DONE
