"""Sockets before a loop has them: addresses, binding, TCP options. Knows neither servers nor protocols."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["adopt", "bound", "bound_unix", "is_inherited", "keep_alive", "no_delay", "remove_unix", "shared"]

_PORT_TRIES = 16

#: The listening sockets that this process has been given by another one, which has them too.
_inherited: dict[int, socket.socket] = {}


def adopt(fd: int) -> socket.socket:
    """The socket of a descriptor that was handed over; the same object each time. ``OSError`` where there is none."""
    sock = _inherited.get(fd)
    if sock is None or sock.fileno() != fd:
        sock = socket.socket(fileno=fd)
        os.set_inheritable(fd, False)
        _inherited[fd] = sock
    return sock


def is_inherited(sock: Any) -> bool:
    """Whether another process has this listening socket too: one accepts what another leaves in its queue."""
    fd: int = sock.fileno()
    return fd >= 0 and fd in _inherited and _inherited[fd].fileno() == fd


async def bound(
    loop: asyncio.AbstractEventLoop, host: str | None, port: int, reuse_port: bool | None
) -> list[socket.socket]:
    """A socket bound to each address of *host*; with port 0 all get the port that the first one got."""
    infos = await _resolve(loop, host, port)
    tries = 1 if port or len(infos) == 1 else _PORT_TRIES
    while True:
        try:
            return _bind(infos, port, reuse_port)
        except OSError as error:
            # The port that was free at the first address may be taken at another one.
            tries -= 1
            if error.errno != errno.EADDRINUSE or not tries:
                raise


def _bind(infos: list[Any], port: int, reuse_port: bool | None) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in infos:
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            _prepare(sock, reuse_port=bool(reuse_port))
            if port == 0 and len(sockets) > 1:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sock.bind(address)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _prepare(sock: socket.socket, *, reuse_port: bool) -> None:
    sock.setblocking(False)
    if os.name == "posix":  # on Windows it would let two servers share a port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def shared(sockets: list[socket.socket], count: int) -> list[list[socket.socket]]:
    """Bound *sockets*, and for each of *count* processes some of the same addresses; where it is not for the system to
    share connections out among them (Linux does), the same ones for all."""
    every = [sockets]
    if sys.platform == "linux":
        try:
            # Only now: where another program listens there, binding has failed.
            for sock in sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            while len(every) < count:
                every.append([])
                for sock in sockets:
                    other = socket.socket(sock.family, sock.type, sock.proto)
                    every[-1].append(other)
                    _prepare(other, reuse_port=True)
                    other.bind(sock.getsockname())
        except BaseException:
            for each in every:
                for sock in each:
                    sock.close()
            raise
    return every if len(every) == count else every * count


def bound_unix(path: str) -> socket.socket:
    """A unix socket at *path*; one that an ended program has left there is replaced, one that is listened on is not."""
    if not path.startswith("\0"):  # Linux's abstract ones are no files
        try:
            stale = stat.S_ISSOCK(os.stat(path).st_mode)
        except OSError:
            stale = False
        if stale:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                if probe.connect_ex(path) == errno.ECONNREFUSED:
                    os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    return sock


def remove_unix(sock: socket.socket) -> Callable[[], None]:
    """What removes the file of a bound unix socket, unless it is another one's by then."""
    path = sock.getsockname()
    if not isinstance(path, str):
        return lambda: None
    made = os.stat(path)

    def remove() -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), made):
                os.unlink(path)

    return remove


async def _resolve(loop: asyncio.AbstractEventLoop, host: str | None, port: int) -> list[Any]:
    infos = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unique = list(dict.fromkeys(infos))
    if host is None or host == "localhost":
        # A machine may resolve ::1 and have no IPv6.
        unique = [info for info in unique if _usable(info)] or unique
    return unique


def _usable(info: Any) -> bool:
    if info[0] != socket.AF_INET6:
        return True
    try:
        with socket.socket(info[0], info[1], info[2]) as probe:
            probe.bind((info[4][0], 0, *info[4][2:]))
    except OSError:
        return False
    return True


def keep_alive(sock: socket.socket) -> None:
    """TCP keepalive: idle 60 s, then 3 probes 10 s apart. What its maker has switched on already keeps its own times.

    Linux gives a listening socket's to every accepted one, at no cost per connection.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        return
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    ):
        if hasattr(socket, name):
            sock.setsockopt(level, getattr(socket, name), value)


def no_delay(sock: socket.socket) -> None:
    """No waiting for more bytes (Nagle); a listening socket's goes to every accepted one, as keepalive does.

    asyncio does so only where the socket names its protocol, which one made by ``socket.socket()`` does not. Without
    it the last bytes of TLS waited 40 ms for the peer's delayed acknowledgement.
    """
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
