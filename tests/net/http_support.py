"""What the tests of HTTP share: requests and answers as bytes; knows no test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from support import Answer, RawPeer, raw_client, soon

from firefly_ws import HttpConfig, HttpServer, Server, http_server


def request(method: str = "GET", path: str = "/", body: bytes = b"", version: str = "1.1", **fields: str) -> bytes:
    """A request's bytes; a body brings its Content-Length."""
    lines = {"host": "example.com", **{name.replace("_", "-"): value for name, value in fields.items()}}
    if body and "transfer-encoding" not in lines:
        lines.setdefault("content-length", f"{len(body)}")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode("latin-1") + body


async def answer(peer: RawPeer, method: str = "GET") -> Answer:
    """The next answer, by its own framing."""
    got = await peer.head()
    if method != "HEAD" and got.status not in (204, 304) and got.status >= 200:
        if got.headers.get("transfer-encoding") == "chunked":
            while size := int(await soon(peer.reader.readline()), 16):
                got.body += (await soon(peer.reader.readexactly(size + 2)))[:-2]
            await soon(peer.reader.readline())
        elif "content-length" in got.headers:
            got.body = await soon(peer.reader.readexactly(int(got.headers["content-length"])))
        else:
            got.body = await peer.rest()
    return got


@asynccontextmanager
async def serving(
    change: Callable[[HttpServer], object], config: HttpConfig | None = None
) -> AsyncIterator[tuple[Server, RawPeer]]:
    """A server that *change* has configured, and a client of bytes."""
    app = http_server(config)
    change(app)
    async with app.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        yield server, peer
