"""What the tests of the core share: a run on each of the two loops, with a look at what is left behind."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from fakes import turns

from firefly_ws.runtime import Handle, Runtime, runtime_of, stop_background, submit

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


@pytest.fixture
async def here() -> Runtime:
    return runtime_of(asyncio.get_running_loop())


@pytest.fixture
def default_signals() -> Iterator[None]:
    """A test run that is itself a background job of a shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def script() -> Iterator[Callable[..., Handle[Any]]]:
    """`submit`, onto a background loop that ends with the test."""
    yield submit
    stop_background()
