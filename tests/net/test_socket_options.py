"""What a server sets on the socket it listens on: every accepted one has it too."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any


async def test_a_socket_of_a_users_own_has_keepalive_and_no_nagle(plain: Any) -> None:
    """``socket.socket()`` names no protocol, and for such a one asyncio leaves Nagle's algorithm on."""
    server = await plain.listen(plain.route().discard())
    (listening,) = server._servers[0].sockets
    assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def tcp_options() -> dict[Any, list[int]]:
    """Of each connected TCP socket of this process, by its own address: whether it is kept alive, and when."""
    options = (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    )  # fmt: skip
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as sock:
                    if sock.family == socket.AF_INET and sock.getpeername():
                        found[sock.getsockname()] = [sock.getsockopt(*option) for option in options]
    return found


async def test_both_ends_of_a_connection_are_kept_alive_by_tcp_as_documented(net: Any) -> None:
    server = await net.listen(net.route().discard())
    client = await net.connect(server, lambda builder: builder.discard())
    (accepted,) = server.connections
    for connection in (client, accepted):
        assert tcp_options()[connection.local_address] == [1, 60, 10, 3, 1]


async def test_a_connected_socket_of_a_users_own_is_kept_alive_and_keeps_what_it_has_of_that(plain: Any) -> None:
    server = await plain.listen(plain.route().discard())
    for idle in (None, 7):
        sock = socket.create_connection(("127.0.0.1", server.port))
        if idle is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
        connection = await plain.builder(server).discard().connect(sock=sock)
        plain.connections.append(connection)
        alive, after, *_, no_delay = tcp_options()[connection.local_address]
        assert (alive, after, no_delay) == (1, idle or 60, 1)


async def test_a_unix_socket_of_a_users_own_needs_neither(plain: Any, tmp_path: Any) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "socket"))
    server = await plain.route().discard().listen(sock=sock)
    plain.servers.append(server)
    assert server.is_listening
