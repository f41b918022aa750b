"""What the soak counts: something that stays is found, whatever it is."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import soak
from fakes import Peer

pytestmark = pytest.mark.slow  # it collects all garbage there is, many times

KEPT: list[object] = []


@contextmanager
def connections() -> Iterator[None]:
    async def make() -> None:
        KEPT.append(Peer().connection)

    asyncio.run(make())
    yield
    KEPT.clear()


@contextmanager
def futures() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    KEPT.extend(asyncio.Future(loop=loop) for _ in range(100))
    loop.close()
    yield
    KEPT.clear()


@contextmanager
def descriptors() -> Iterator[None]:
    opened = os.open(os.devnull, os.O_RDONLY)
    yield
    os.close(opened)


@contextmanager
def threads() -> Iterator[None]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(30,))
    thread.start()
    yield
    end.set()
    thread.join()


@contextmanager
def memory() -> Iterator[None]:
    # More than an allocator serves from what it has kept (32 MiB, glibc): it comes from the system and goes back.
    KEPT.append(bytearray(os.urandom(40 * 2**20)))
    yield
    KEPT.clear()


@pytest.mark.parametrize("leak", [connections, futures, descriptors, threads, memory])
def test_what_stays_is_found(leak: Callable[[], Iterator[None]]) -> None:
    before = soak.Counted()
    with leak():  # type: ignore[attr-defined]
        after = soak.Counted()
        with pytest.raises(soak.Left):
            after.compare(before, "planted")
    soak.Counted().compare(before, "and when it is gone")
