"""Awaiting what a callback returned, whatever it is; for callbacks that run once, not once a message."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["is_awaitable", "settled"]


async def settled(value: Any) -> Any:
    """The result of *value* where it can be awaited or is a ``concurrent.futures.Future``, else *value* itself."""
    if not is_awaitable(value):
        return value
    return await (value if hasattr(value, "__await__") else asyncio.wrap_future(value))


def is_awaitable(value: Any) -> bool:
    """Whether `settled` waits for *value*."""
    return hasattr(value, "__await__") or (hasattr(value, "add_done_callback") and hasattr(value, "result"))
