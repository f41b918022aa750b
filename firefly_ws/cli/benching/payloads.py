"""What is sent: messages of one size, a few different ones in turn, the same in every run."""

from __future__ import annotations

import random
from typing import Final

__all__ = ["payloads"]

_SEED: Final = 6455
_DIFFERENT: Final = 64
_ALL: Final = 4 * 2**20  # bytes of all of them together, unless one is larger
# What comes twice after more than 32 KiB is out of reach of deflate's window.
_BLOCK: Final = 2**16
_WORDS: Final = (
    *("amber", "birch", "cedar", "dune", "ember", "fern", "grove", "heath", "iris", "jade", "kelp", "larch"),
    *("moss", "north", "oak", "pine", "quartz", "reed", "slate", "thorn", "umber", "vale", "willow", "yarrow"),
)


def payloads(size: int, *, binary: bool) -> list[bytes]:
    """Messages of *size* bytes: random ones, which nothing compresses, or JSON as an API writes it, which is ASCII."""
    dice = random.Random(_SEED)
    count = max(1, min(_DIFFERENT, _ALL // max(1, size)))
    return [dice.randbytes(size) if binary else _json(dice, size) for _ in range(count)]


def _json(dice: random.Random, size: int) -> bytes:
    text = bytearray(b"[")
    while len(text) < min(size, _BLOCK):
        name, tag = dice.choices(_WORDS, k=2)
        row = f'{{"id": {dice.randrange(10**6)}, "name": "{name}", "tag": "{tag}", "at": {dice.random():.5f}}}, '
        text += row.encode()
    return bytes(text * (size // len(text) + 1))[:size]
