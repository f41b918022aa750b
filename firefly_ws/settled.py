"""Awaiting what a callback returned, whatever it is; for callbacks that run once, not once a message."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["settled"]


async def settled(value: Any) -> Any:
    """The result of *value* where it can be awaited or is a ``concurrent.futures.Future``, else *value* itself."""
    if hasattr(value, "__await__"):
        return await value
    if hasattr(value, "add_done_callback") and hasattr(value, "result"):
        return await asyncio.wrap_future(value)
    return value
