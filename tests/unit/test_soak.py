"""What the soak counts: something that stays is found, whatever it is."""

from __future__ import annotations

import asyncio
import ctypes
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


@contextmanager
def small_objects() -> Iterator[None]:
    # No collector of garbage knows them, and all of them are less than what a page of memory may vary by.
    KEPT.extend(bytes(60) + number.to_bytes(4) for number in range(2 * soak.BLOCKS))
    yield
    KEPT.clear()


@contextmanager
def memory_of_c() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    blocks = [libc.malloc(2048) for _ in range(soak.IN_USE // 1024)]
    yield
    for block in blocks:
        libc.free(block)


@pytest.mark.parametrize("leak", [connections, futures, descriptors, threads, memory, small_objects, memory_of_c])
def test_what_stays_is_found(leak: Callable[[], Iterator[None]]) -> None:
    before = soak.Counted()
    with leak():  # type: ignore[attr-defined]
        after = soak.Counted()
        with pytest.raises(soak.Left):
            after.compare(before, "planted")
    soak.Counted().compare(before, "and when it is gone")
