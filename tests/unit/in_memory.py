"""What the tests of connections in memory share: an echo server, and a client that keeps what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from firefly_ws import (
    http_client,
    http_server,
)
from firefly_ws.per_loop import runtime_of

Run = Callable[[Callable[[], Any]], None]


def echo() -> Any:
    return http_server().websocket("/echo").on_message(lambda frame, connection: connection.send(frame))


class Client:
    """A client's builder, and what its connection has heard."""

    def __init__(self, url: str = "ws://example.com/echo") -> None:
        self.heard: list[Any] = []
        self.more = asyncio.Event()
        self.builder = (
            http_client()
            .websocket(url)
            .on_text(self.hear)
            .on_binary(self.hear)
            .on_error(lambda _, error: self.hear(error))
            .on_close(lambda _, reason: self.hear(reason.code))
        )

    def hear(self, what: Any, _: Any = None) -> None:
        self.heard.append(what)
        self.more.set()

    async def has(self, count: int) -> list[Any]:
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                self.more.clear()
                await self.more.wait()
        return self.heard


async def idle() -> None:
    async with asyncio.timeout(5):
        await runtime_of(asyncio.get_running_loop()).wait_idle()
