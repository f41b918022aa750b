"""Times in buckets that grow with them, as HDR histograms have it: a fixed size, each within 0.8 %. Knows no clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

__all__ = ["Histogram"]

# 128 buckets for each doubling: a bucket is at most 1/128 of the times in it.
_BITS: Final = 7
_LONGEST: Final = 1 << 44  # nanoseconds, nearly five hours


class Histogram:
    """Whole numbers of nanoseconds; it forgets their order, and keeps the largest as it was."""

    __slots__ = ("_counts", "largest")

    def __init__(self) -> None:
        self._counts = [0] * (_bucket(_LONGEST) + 1)
        self.largest = 0

    def add(self, time: int) -> None:
        """One more; it is called for each message, so `_bucket` stands here once more."""
        if time > self.largest:
            self.largest = time
            if time > _LONGEST:
                time = _LONGEST
        shift = time.bit_length() - _BITS - 1
        if shift < 0:
            shift = 0
        self._counts[(shift << _BITS) + (time >> shift)] += 1

    def clear(self) -> None:
        """Forget all."""
        self._counts[:] = bytes(len(self._counts))
        self.largest = 0

    def __len__(self) -> int:
        return sum(self._counts)

    def percentile(self, percent: float) -> float:
        """The time in nanoseconds that *percent* of them are not above; 0 where there are none."""
        wanted = max(1, math.ceil(len(self) * percent / 100))
        return next((time for below, time in self.curve() if below >= wanted), 0.0)

    def curve(self) -> Iterator[tuple[int, float]]:
        """For each bucket with something in it: how many are not above it, and its upper end in nanoseconds."""
        below = 0
        for bucket, count in enumerate(self._counts):
            if count:
                below += count
                yield below, float(min(_end(bucket), self.largest))


def _bucket(time: int) -> int:
    shift = max(0, time.bit_length() - _BITS - 1)
    return (shift << _BITS) + (time >> shift)


def _end(bucket: int) -> int:
    """The largest time of a bucket."""
    shift = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
