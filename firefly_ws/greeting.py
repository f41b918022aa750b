"""TLS's handshakes with those that a `Listener` has accepted, until each may ask or has failed; knows no request.

The loop makes them, and does not accept as well: without a descriptor left asyncio's would try as often as its backlog
is long, with a line in the log for each, and uvloop end whoever comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .seldom import seldom

if TYPE_CHECKING:
    from .server import Server

__all__ = ["Greetings"]

_log = logging.getLogger("firefly_ws")


class Greetings:
    """The handshakes of one listening socket of *server*; called for each descriptor that has been accepted.

    *make* makes what becomes the protocol, *options* are those of the loop's ``connect_accepted_socket``.
    """

    def __init__(self, server: Server, make: Callable[[], asyncio.Protocol], options: dict[str, Any]) -> None:
        self._server = server
        self._make = make
        self._options = options
        self._under_way: set[asyncio.Task[None]] = set()
        self._ours: set[socket.socket] = set()  # the loop has not got them yet

    def __call__(self, fd: int) -> None:
        """Begin with one: the descriptor is ours from here on."""
        try:
            protocol = self._make()  # at once, not in the task: a server that drains knows of it from here on
            sock = socket.socket(fileno=fd)
        except BaseException:
            os.close(fd)
            raise
        self._ours.add(sock)
        task = self._server._loop.create_task(self._greet(sock, protocol))
        self._under_way.add(task)
        task.add_done_callback(partial(self._ended, sock, protocol))

    async def _greet(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        server = self._server
        peer = _peer(sock) if _log.isEnabledFor(logging.INFO) else None
        error: Exception | None = None
        self._ours.discard(sock)
        try:
            await server._loop.connect_accepted_socket(lambda: protocol, sock, **self._options)
        except Exception as failure:
            error = failure
        if protocol in server._greeting:  # nobody has heard of it
            server.count_ungreeted()
            seldom("refused TLS", logging.INFO, "TLS's handshake with %s failed: %s", peer, self._why(error))

    def _why(self, error: Exception | None) -> str:
        limit = self._options["ssl_handshake_timeout"]
        if isinstance(error, ConnectionAbortedError) and limit is not None:
            return f"not done within open_timeout={limit:g} s; .open_timeout(seconds) allows more"
        return (str(error) if error else "") or "the client ended the connection"

    def _ended(self, sock: socket.socket, protocol: asyncio.Protocol, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._server._greeting.discard(protocol)
        if sock in self._ours:  # cancelled before its first step
            self._ours.discard(sock)
            sock.close()
        # One that the loop has is its transport's to close: who closed it here would leave a number in the loop's
        # selector, and the next connection, which gets that number, would hear nothing.

    def cancel(self) -> None:
        """The server ends."""
        for task in list(self._under_way):
            task.cancel()


def _peer(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None
