"""Of many inputs for a reader of text, the few that go where no other goes; knows Python's tracing and no fuzzer.

A step is one line of the library behind another of the same call. What is compiled shows none.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import firefly_ws

__all__ = ["chosen", "steps"]

HERE = str(Path(firefly_ws.__file__).parent)
LONGEST = 600  # bytes; what a longer one shows, a shorter one does, too
Step = tuple[str, int, int]


def steps(target: Callable[[bytes], None], data: bytes) -> set[Step]:
    """Where *target* goes with *data*; what it raises is a step as well."""
    found: set[Step] = set()

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(HERE):
            return None
        last = 0

        def went(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            found.add((name, last, -frame.f_lineno if event == "exception" else frame.f_lineno))
            last = frame.f_lineno
            return went

        return went

    before = sys.gettrace()
    sys.settrace(called)
    try:
        with contextlib.suppress(Exception):  # it is for the test to tell of it
            target(data)
    finally:
        sys.settrace(before)
    return found


def chosen(target: Callable[[bytes], None], known: Iterable[bytes], found: Iterable[bytes]) -> list[bytes]:
    """Those of *found* to be kept beside *known*, the shortest first."""
    seen: set[Step] = set()
    for data in known:
        seen |= steps(target, data)
    kept = []
    for data in sorted(set(found), key=lambda one: (len(one), one)):
        if len(data) <= LONGEST and (more := steps(target, data) - seen):
            seen |= more
            kept.append(data)
    return kept
