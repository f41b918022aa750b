"""Servers on unix sockets: their files, whose they are, and when they go."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from support import (
    echo,
    frame,
    nothing_leaks,  # noqa: F401
    soon,
    upgrade,
)

from firefly_ws import WebSocketConnectionException, http_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no unix sockets")


def echo_server() -> Any:
    return http_server().websocket("/").on_message(echo)


async def answers(path: str | Path) -> bool:
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, str(path))
    reader, writer = await asyncio.open_unix_connection(sock=sock)  # uvloop takes no abstract path
    writer.write(upgrade() + frame(1, "hello"))
    assert (await soon(reader.readuntil(b"\r\n\r\n"))).startswith(b"HTTP/1.1 101")
    answer = await soon(reader.readexactly(7))
    writer.close()
    await writer.wait_closed()
    return bool(answer == b"\x81\x05hello")


async def test_a_unix_socket_is_listened_on_and_its_file_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    async with echo_server().listen(path=path) as server:
        assert server.addresses == (str(path),)
        assert server.port is None
        assert str(path) in repr(server)
        assert await answers(path)
    assert not path.exists()


@pytest.mark.parametrize("kind", [str, os.fsencode])
async def test_the_path_may_be_text_or_bytes(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "echo.sock"
    async with echo_server().listen(path=kind(path)):
        assert await answers(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
async def test_an_abstract_socket_is_no_file() -> None:
    async with echo_server().listen(path="\0firefly test") as server:
        assert await answers("\0firefly test")
        assert "@firefly test" in repr(server)


async def test_a_file_that_an_ended_program_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.is_socket()
    async with echo_server().listen(path=path):
        assert await answers(path)


async def test_a_socket_that_is_listened_on_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    async with echo_server().listen(path=path):
        with pytest.raises(WebSocketConnectionException, match=r"echo\.sock: Address already in use") as raised:
            await echo_server().listen(path=path)
        assert raised.value.errno == errno.EADDRINUSE
        assert await answers(path)


async def test_a_file_that_is_another_servers_by_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    server = await echo_server().listen(path=path)
    path.unlink()
    async with echo_server().listen(path=path):
        await server.close()
        assert await answers(path)


async def test_a_file_that_is_no_socket_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(WebSocketConnectionException, match="file") as raised:
        await echo_server().listen(path=path)
    assert raised.value.errno == errno.EADDRINUSE
    assert path.read_text() == "mine"


async def test_a_socket_in_a_directory_that_is_missing_says_which(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "echo.sock"
    with pytest.raises(WebSocketConnectionException, match=r"missing/echo\.sock") as raised:
        await echo_server().listen(path=path)
    assert raised.value.errno == errno.ENOENT
