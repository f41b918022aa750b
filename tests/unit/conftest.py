"""What the tests of the core share: a run on each of the two loops, with a look at what is left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from fakes import turns

Main = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a test on one of the two loops, and looks for what it has left behind."""

    def runs(main: Main) -> None:
        async def checked() -> None:
            await main()
            await turns()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert others == set()

        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            errors: list[Any] = []
            runner.get_loop().set_exception_handler(lambda loop, context: errors.append(context))
            runner.run(checked())
            gc.collect(1)  # the young ones: all of a test run takes longer than the tests
        assert errors == []

    return runs
