"""A connection made as often as it takes, without a socket: delays are recorded instead of waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from firefly_ws import WebSocketConnectionException
from firefly_ws.backoff import Backoff, Reconnect
from firefly_ws.client import Again
from firefly_ws.per_loop import runtime_of
from firefly_ws.url import parse

URL = parse("ws://localhost/")
Run = Callable[[Callable[[], Any]], None]


class Failing:
    """Tries that all fail, and the delays between them."""

    def __init__(self, strategy: Reconnect) -> None:
        self.delays: list[float] = []
        self.tries = 0
        self.again = Again(URL, self.attempt, Backoff(strategy, lambda: 0.5), self.sleep)

    def attempt(self) -> Any:
        self.tries += 1
        raise ConnectionRefusedError(f"try {self.tries}")

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        assert self.again in runtime_of(asyncio.get_running_loop()).tracked


def test_it_waits_behind_each_failed_try_and_gives_up(run: Run) -> None:
    failing = Failing(Reconnect(base_delay=2, max_delay=10, max_tries=6))

    async def main() -> None:
        with pytest.raises(WebSocketConnectionException, match=r"gave up after 6 tries.*: try 6"):
            await failing.again.open()
        assert runtime_of(asyncio.get_running_loop()).tracked == ()

    run(main)
    assert failing.delays == [1, 2, 4, 5, 5]
    assert failing.tries == 6


def test_the_fifth_failure_in_a_row_is_told_to_who_has_set_up_no_logging(run: Run, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "firefly_ws")
    failing = Failing(Reconnect(max_tries=12))

    async def main() -> None:
        with pytest.raises(WebSocketConnectionException):
            await failing.again.open()

    run(main)
    levels = [record.levelname for record in caplog.records]
    assert levels == [*["INFO"] * 4, "WARNING", *["INFO"] * 6]
    assert "try 5 of ws://localhost/ failed" in caplog.records[4].getMessage()


def test_without_a_delay_it_does_not_sleep(run: Run) -> None:
    failing = Failing(Reconnect(base_delay=0, max_delay=0, max_tries=3))

    async def main() -> None:
        with pytest.raises(WebSocketConnectionException):
            await failing.again.open()

    run(main)
    assert failing.delays == []


def test_an_error_of_the_hook_that_is_worth_it_is_tried_again(run: Run) -> None:
    strategy = Reconnect(base_delay=0, max_delay=0, max_tries=2, retry_if=lambda error: isinstance(error, KeyError))
    failing = Failing(strategy)

    async def hook() -> None:
        failing.tries += 1
        raise KeyError("no token yet")

    failing.again._attempt = lambda: (hook(), failing.attempt)

    async def main() -> None:
        with pytest.raises(WebSocketConnectionException, match="gave up after 2 tries") as raised:
            await failing.again.open()
        assert isinstance(raised.value.__cause__, KeyError)

    run(main)
    assert failing.tries == 2


def test_the_runtime_can_end_it_while_it_waits(run: Run) -> None:
    failing = Failing(Reconnect())

    async def main() -> None:
        waiting = asyncio.Event()

        async def wait(seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        failing.again._sleep = wait
        task = asyncio.create_task(failing.again.open())
        await waiting.wait()
        await runtime_of(asyncio.get_running_loop()).close_all()
        assert task.cancelled()
        assert failing.again.stopped

    run(main)
