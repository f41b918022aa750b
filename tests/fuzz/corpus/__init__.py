"""What fuzzers have kept: streams that told two ways of receiving apart, one a file beside this one, and in texts/
those texts that between them go through all the code of a reader that any text has led through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.streams import Case

__all__ = ["keep_texts", "kept", "texts", "written"]

HERE = Path(__file__).parent


def kept() -> Iterator[tuple[str, Case]]:
    """Every stream of the corpus, by the name of its file."""
    for path in sorted(HERE.glob("*.json")):
        one = json.loads(path.read_text())
        yield path.stem, Case(one["role"], [bytes.fromhex(part) for part in one["parts"]], one["options"], one["cuts"])


def written(case: Case) -> dict[str, Any]:
    """*case* as a file has it; add ``why``."""
    return {
        "role": case.role, "parts": [part.hex() for part in case.parts], "options": case.options, "cuts": case.cuts,
    }  # fmt: skip


def texts(name: str) -> list[bytes]:
    """What is kept for the reader *name*: a JSON string each, a character a byte."""
    path = HERE / "texts" / f"{name}.json"
    return [one.encode("latin-1") for one in json.loads(path.read_text())] if path.exists() else []


def keep_texts(name: str, inputs: list[bytes]) -> None:
    """Write what `texts` reads, one a line."""
    path = HERE / "texts" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(one.decode("latin-1")) for one in inputs)
    path.write_text(f"[\n{lines}\n]\n")
