"""Selectors that answer at once, and those that take their time."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest

from firefly_ws.selecting import Selection, Undecided


def test_without_a_selector_there_is_nothing_to_ask() -> None:
    assert Selection().of("extensions", None) is None


def test_each_is_asked_once_however_often_the_handshake_asks() -> None:
    asked: list[tuple[Any, ...]] = []

    def first(offered: Any, request: Any) -> str:
        asked.append((offered, request))
        return f"{len(asked)}"

    selection = Selection()
    for name, answer in (("sub_protocol", "1"), ("extensions", "2"), ("sub_protocol", "1")):
        select = selection.of(name, first)
        assert select is not None
        assert select(("a",), "request") == answer
    assert asked == [(("a",), "request")] * 2


def _in_the_future() -> Any:
    future: concurrent.futures.Future[str] = concurrent.futures.Future()
    asyncio.get_running_loop().call_soon(future.set_result, "b")
    return future


async def _later() -> str:
    await asyncio.sleep(0)
    return "b"


@pytest.mark.parametrize("answer", [_later, _in_the_future])
async def test_what_can_be_awaited_is_waited_for_and_asked_no_second_time(answer: Callable[[], Any]) -> None:
    asked = []
    selection = Selection()
    select = selection.of("extensions", lambda offered, request: asked.append(offered) or answer())
    assert select is not None
    with pytest.raises(Undecided):
        select(("a", "b"), None)
    await selection.wait()
    await selection.wait()
    assert select(("a", "b"), None) == "b"
    assert asked == [("a", "b")]


async def test_its_error_is_raised_where_it_is_waited_for() -> None:
    async def fails(offered: Any, request: Any) -> None:
        raise KeyError("mine")

    selection = Selection()
    select = selection.of("extensions", fails)
    assert select is not None
    with pytest.raises(Undecided):
        select((), None)
    with pytest.raises(KeyError, match="mine"):
        await selection.wait()
