"""The ways bytes may arrive: whole, one at a time, cut at random; knows no protocol."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["cuts"]


def cuts(data: bytes, rounds: int = 12, seed: int = 6455) -> Iterator[list[bytes]]:
    """Lists of packets that each join to *data*: whole, byte by byte, then *rounds* random ones."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(seed)
    for _ in range(rounds):
        marks = sorted(dice.sample(range(1, len(data)), min(dice.randint(1, 6), len(data) - 1)))
        yield [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]
