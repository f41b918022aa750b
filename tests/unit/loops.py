"""What the tests of loops share: something open on one, what it logged, and a limit for waits."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from firefly_ws.runtime import (
    Runtime,
)

LIMIT = 20  # seconds; only a failing test comes near

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="nothing")


class Thing:
    """Something open, which notes what is done to it."""

    def __init__(self, keeper: Runtime, *, stubborn: bool = False, error: Exception | None = None) -> None:
        self.keeper = keeper
        self.stubborn = stubborn
        self.error = error
        self.did: list[str] = []
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()
        keeper.track(self)

    async def close_gracefully(self) -> None:
        self.did.append("close")
        self.asked.set()
        if self.error is not None:
            raise self.error
        if self.stubborn:
            await asyncio.Event().wait()
        self.end()

    async def wait_closed(self) -> None:
        await self.ended.wait()

    def abort(self) -> None:
        self.did.append("abort")
        self.end()

    def end(self) -> None:
        self.keeper.untrack(self)
        self.ended.set()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def in_thread(call: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
    return asyncio.wait_for(asyncio.to_thread(call), LIMIT)
