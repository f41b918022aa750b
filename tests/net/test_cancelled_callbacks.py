"""Cancelling a callback, in the turn it suspended in and later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from peers import eventually, ping, text


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_a_cancelled_callback_gets_the_cancellation_and_the_connection_goes_on(
    net: Any, when: str, errors: Any
) -> None:
    got: list[str] = []
    task: list[asyncio.Task[Any]] = []

    async def on_text(data: str, conn: Any) -> None:
        got.append(data)
        current = asyncio.current_task()
        assert current is not None
        task.append(current)
        if data == "a":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                got.append("cancelled")
                raise

    route = net.route().on_text(on_text)
    peer = await net.serve(route.on_ping(lambda data, conn: task[0].cancel()))
    if when == "at once":
        peer.write(text("a"), ping(), text("b"))
    else:
        peer.write(text("a"))
        await asyncio.sleep(0.02)
        peer.write(ping(), text("b"))
    await eventually(lambda: got == ["a", "cancelled", "b"])
    assert not errors()


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_cancelling_a_callback_cancels_what_it_waits_for(plain: Any, when: str) -> None:
    inner: list[asyncio.Task[Any]] = []
    outer: list[asyncio.Task[Any]] = []

    async def on_text(data: str, conn: Any) -> None:
        current = asyncio.current_task()
        assert current is not None
        outer.append(current)
        inner.append(asyncio.create_task(asyncio.sleep(60)))
        await inner[0]

    route = plain.route().on_text(on_text)
    peer = await plain.serve(route.on_ping(lambda data, conn: outer[0].cancel()))
    peer.write(text("a"))
    if when == "later":
        await asyncio.sleep(0.02)
    peer.write(ping())
    await eventually(lambda: inner and inner[0].done())
    assert inner[0].cancelled()


async def test_a_callback_may_cancel_itself_and_still_suspend_or_return(plain: Any, errors: Any) -> None:
    got: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        got.append(data)
        if data == "suspend":
            try:
                await asyncio.sleep(0)
            finally:
                got.append("end")

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("return"), text("suspend"), text("return"), text("suspend"), ping())
    await eventually(lambda: got == ["return", "suspend", "end"] * 2)
    assert not errors()
