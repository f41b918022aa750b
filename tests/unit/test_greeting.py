"""`Greetings` without TLS: what becomes of a descriptor whose handshake never begins."""

from __future__ import annotations

import asyncio
import os
import socket
import weakref
from typing import Any

import pytest

from firefly_ws.greeting import Greetings


class Guest(asyncio.Protocol):
    """Somebody, until TLS has begun."""


class Served:
    """A server."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._greeting: weakref.WeakSet[asyncio.Protocol] = weakref.WeakSet()
        self.failed = 0

    def make(self) -> asyncio.Protocol:
        one = Guest()
        self._greeting.add(one)
        return one

    def count_ungreeted(self) -> None:
        self.failed += 1


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def test_who_has_come_as_the_server_ends_is_let_go_and_is_no_failure() -> None:
    server: Any = Served()
    greetings = Greetings(server, server.make, {"ssl_handshake_timeout": 5})
    ours, theirs = socket.socketpair()
    fd = ours.detach()
    with theirs:
        theirs.settimeout(5)
        greetings(fd)
        assert len(server._greeting) == 1
        greetings.cancel()
        assert await asyncio.to_thread(theirs.recv, 1) == b""
    assert not is_open(fd)
    assert (len(server._greeting), server.failed) == (0, 0)


async def test_a_socket_that_the_loop_has_taken_is_its_transports_to_close() -> None:
    """asyncio keeps its number in the selector until then: the next one with that number would hear nothing."""
    taken: list[socket.socket] = []

    class Loop:
        create_task = staticmethod(asyncio.get_running_loop().create_task)

        async def connect_accepted_socket(self, make: Any, sock: socket.socket, **options: Any) -> None:
            taken.append(sock)
            await asyncio.Event().wait()

    server: Any = Served()
    server._loop = Loop()
    greetings = Greetings(server, server.make, {"ssl_handshake_timeout": 5})
    ours, theirs = socket.socketpair()
    greetings(ours.detach())
    await asyncio.sleep(0)
    (sock,) = taken
    with theirs, sock:
        greetings.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not greetings._under_way
        assert sock.fileno() >= 0


async def test_what_cannot_begin_leaves_no_descriptor_behind() -> None:
    server: Any = Served()

    def fail() -> asyncio.Protocol:
        raise ValueError("no")

    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()
    with theirs:
        fd = ours.detach()
        for descriptor, make, expected in ((reading, server.make, OSError), (fd, fail, ValueError)):
            with pytest.raises(expected):
                Greetings(server, make, {"ssl_handshake_timeout": 5})(descriptor)
            assert not is_open(descriptor)
    os.close(writing)
