"""Streams that once told two ways of receiving apart, or that are known to be hard, one a file beside this one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.streams import Case

__all__ = ["kept", "written"]


def kept() -> Iterator[tuple[str, Case]]:
    """Every stream of the corpus, by the name of its file."""
    for path in sorted(Path(__file__).parent.glob("*.json")):
        one = json.loads(path.read_text())
        yield path.stem, Case(one["role"], [bytes.fromhex(part) for part in one["parts"]], one["options"], one["cuts"])


def written(case: Case) -> dict[str, Any]:
    """*case* as a file has it; add ``why``."""
    return {
        "role": case.role, "parts": [part.hex() for part in case.parts], "options": case.options, "cuts": case.cuts,
    }  # fmt: skip
