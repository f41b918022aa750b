"""Real proxies over real sockets: HTTP CONNECT (RFC 9110 §9.3.6), SOCKS 4 and 5 (RFC 1928, 1929). Know no WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from support import RawPeer, raw_server, soon

__all__ = ["Proxying", "http_proxy", "socks4_proxy", "socks5_proxy"]


class Proxying:
    """What a proxy was asked, and where it is."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.port = 0
        self.asked: list[Any] = []
        """One (host, port) for each connection."""
        self.heads: list[dict[str, str]] = []
        """The header fields of each CONNECT."""

    def url(self, userinfo: str = "") -> str:
        return f"{self.scheme}://{userinfo}{'@' if userinfo else ''}127.0.0.1:{self.port}"


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, NotImplementedError, RuntimeError):  # uvloop's word for one that is closed
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()


async def _leave(peer: RawPeer) -> None:
    """Wait for the client to go, however it does."""
    with contextlib.suppress(OSError):
        await peer.rest()


async def _join(peer: RawPeer, host: str, port: int, opened: bytes) -> None:
    """Carry bytes both ways until both ends are done."""
    reader, writer = await asyncio.open_connection(host, port)
    peer.send(opened)
    try:
        await asyncio.gather(_pipe(peer.reader, writer), _pipe(reader, peer.writer))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def _proxy(scheme: str, serve: Callable[[Proxying, RawPeer], Any], **options: Any) -> AsyncIterator[Proxying]:
    proxy = Proxying(scheme)
    async with raw_server(lambda peer: serve(proxy, peer), **options) as port:
        proxy.port = port
        yield proxy


@asynccontextmanager
async def http_proxy(refusal: bytes = b"", *, opened: bytes = b"", ssl: Any = None) -> AsyncIterator[Proxying]:
    """A proxy that answers CONNECT with *refusal*, or with *opened* (a 200) and the server's bytes."""

    async def serve(proxy: Proxying, peer: RawPeer) -> None:
        line, fields = await peer.request()
        method, target, version = line.split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        host, _, port = target.rpartition(":")
        proxy.asked.append((host, int(port)))
        proxy.heads.append(fields)
        if refusal:
            peer.send(refusal)
            await _leave(peer)
        else:
            await _join(peer, host.strip("[]"), int(port), opened or b"HTTP/1.1 200 Connection established\r\n\r\n")

    async with _proxy("http" if ssl is None else "https", serve, ssl=ssl) as proxy:
        yield proxy


@asynccontextmanager
async def socks5_proxy(
    *,
    reply: int = 0,
    user: tuple[bytes, bytes] | None = None,
    scheme: str = "socks5",
    away: tuple[str, ...] = (),
) -> AsyncIterator[Proxying]:
    """A SOCKS 5 proxy that wants *user* (name and password), and answers with *reply* (0: it connects).

    Hosts that are *away* it cannot reach.
    """

    async def serve(proxy: Proxying, peer: RawPeer) -> None:
        async def read(size: int) -> bytes:
            data: bytes = await soon(peer.reader.readexactly(size))
            return data

        version, count = await read(2)
        assert version == 5
        methods = await read(count)
        method = 0 if user is None else 2
        if method not in methods:
            peer.send(b"\x05\xff")
            return
        peer.send(bytes((5, method)))
        if user is not None:
            assert await read(1) == b"\x01"
            name = await read((await read(1))[0])
            password = await read((await read(1))[0])
            fine = (name, password) == user
            peer.send(b"\x01\x00" if fine else b"\x01\x01")
            if not fine:
                return
        _, command, _, kind = await read(4)
        assert command == 1
        if kind == 1:
            host = socket.inet_ntop(socket.AF_INET, await read(4))
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, await read(16))
        else:
            host = (await read((await read(1))[0])).decode()
        port = int.from_bytes(await read(2), "big")
        proxy.asked.append((host, port))
        code = 4 if host in away else reply
        answer = bytes((5, code, 0, 1)) + bytes(6)
        if code:
            peer.send(answer)
            await _leave(peer)
        else:
            await _join(peer, host, port, answer)

    async with _proxy(scheme, serve) as proxy:
        yield proxy


@asynccontextmanager
async def socks4_proxy(*, reply: int = 0x5A, scheme: str = "socks4") -> AsyncIterator[Proxying]:
    """A SOCKS 4 proxy; ``asked`` has (host, port, user)."""

    async def serve(proxy: Proxying, peer: RawPeer) -> None:
        head = await soon(peer.reader.readexactly(8))
        assert head[:2] == b"\x04\x01"
        user = (await soon(peer.reader.readuntil(b"\0")))[:-1].decode()
        host = socket.inet_ntop(socket.AF_INET, head[4:])
        if host.startswith("0.0.0."):
            host = (await soon(peer.reader.readuntil(b"\0")))[:-1].decode()
        port = int.from_bytes(head[2:4], "big")
        proxy.asked.append((host, port, user))
        answer = bytes((0, reply)) + bytes(6)
        if reply == 0x5A:
            await _join(peer, host, port, answer)
        else:
            peer.send(answer)
            await _leave(peer)

    async with _proxy(scheme, serve) as proxy:
        yield proxy
