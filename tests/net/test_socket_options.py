"""What a server sets on the socket it listens on: every accepted one has it too."""

from __future__ import annotations

import socket
from typing import Any


async def test_a_socket_of_a_users_own_has_keepalive_and_no_nagle(plain: Any) -> None:
    """``socket.socket()`` names no protocol, and for such a one asyncio leaves Nagle's algorithm on."""
    server = await plain.listen(plain.route().discard())
    (listening,) = server._servers[0].sockets
    assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_unix_socket_of_a_users_own_needs_neither(plain: Any, tmp_path: Any) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "socket"))
    server = await plain.route().discard().listen(sock=sock)
    plain.servers.append(server)
    assert server.is_listening
