"""`Wait`: something to await that nobody has to await."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from fakes import Peer, turns

from firefly_ws._core.steps import Wait

Main = Callable[[], Coroutine[Any, Any, None]]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


# ---- Wait ----------------------------------------------------------------------------------------------------------


def test_a_wait_can_be_asked_awaited_and_told_about(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        peer = Peer()
        wait = peer.connection.wait_closed()
        heard: list[Wait[Any]] = []
        assert not wait.done()
        assert not wait.cancelled()
        for ask in (wait.result, wait.exception):
            with pytest.raises(asyncio.InvalidStateError, match="it has not ended yet"):
                ask()
        wait.add_done_callback(heard.append)
        several = asyncio.gather(wait, wait, asyncio.wait_for(wait, 5))
        await turns()
        peer.connection.terminate()
        reason = (await several)[0]
        assert reason == wait.result()
        assert wait.exception() is None
        await turns()
        assert heard == [wait]
        wait.add_done_callback(heard.append)
        assert heard == [wait]
        await turns()
        assert heard == [wait, wait]

    run(main)


def test_asyncio_wait_takes_one_beside_tasks_and_gives_it_back(run: Callable[[Main], None]) -> None:
    # `asyncio.wait` takes its callback back at the end: there was no way to.
    async def main() -> None:
        peer = Peer()
        wait = peer.connection.wait_closed()
        heard: list[Wait[Any]] = []
        wait.add_done_callback(heard.append)
        other = asyncio.create_task(asyncio.sleep(0))
        done, pending = await asyncio.wait({other, wait}, return_when=asyncio.FIRST_COMPLETED)
        assert (done, pending) == ({other}, {wait})
        assert wait.remove_done_callback(heard.append) == 1
        assert wait.remove_done_callback(heard.append) == 0
        peer.connection.terminate()
        done, pending = await asyncio.wait({wait}, timeout=5)
        assert (done, pending) == ({wait}, set())
        assert wait.remove_done_callback(heard.append) == 0
        assert not heard

    run(main)


def test_cancelling_one_who_waits_leaves_the_others_alone(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        peer = Peer()
        wait = peer.connection.wait_closed()

        async def waiting() -> object:
            return await wait

        first, second = asyncio.create_task(waiting()), asyncio.create_task(waiting())
        await turns()
        first.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait, 0.001)
        assert not wait.done()
        peer.connection.terminate()
        assert await second == await wait
        assert first.cancelled()

    run(main)


def test_a_callback_of_a_wait_runs_in_its_context(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        peer = Peer()
        found: list[str] = []
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        variable.set("mine")
        wait = peer.connection.wait_closed()
        wait.add_done_callback(lambda wait: found.append(variable.get()))
        wait.add_done_callback(lambda wait: found.append(variable.get()), context=context)
        variable.set("later")
        peer.connection.terminate()
        await turns(5)
        assert found == ["mine", "given"]

    run(main)
