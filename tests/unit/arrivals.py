"""What the tests of arrivals share: a server without a socket, and those who come to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from fakes import Transport, turns

from firefly_ws import HttpConfig, HttpServer, Response, http_server
from firefly_ws.accepting import ServerHandshake
from firefly_ws.testing.in_memory import MemoryServer

ADDRESS = ("192.0.2.7", 4711)


class Line(Transport):
    """As asyncio's: it knows its peer, and may be paused twice."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ADDRESS if name == "peername" else default

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Place:
    """A server without a socket, and what its hooks and callbacks hear."""

    def __init__(self, change: Callable[[HttpServer], object] = lambda app: None, config: HttpConfig | None = None):
        self.heard: list[Any] = []
        self.app = http_server(config)
        self.connections: list[Any] = []
        heard = self.heard
        for path in ("/", "/chat", "/both", "/refused", "/raises", "/slow", "/slowly-refused"):
            self.route(path)
        self.route("/room/{name}").sub_protocols(["superchat", "chat"]).extensions(["permessage-deflate"])
        self.route("/chosen").on_sub_protocol_select(self.choose)
        self.app.get("/page", lambda request: f"page for {request.headers.get('host')}")
        self.app.get("/both", lambda request: "both").post("/both", lambda request: "posted")
        change(self.app)
        self.server = MemoryServer(self.app, asyncio.get_running_loop())
        self.heard = heard

    def route(self, path: str) -> Any:
        """A websocket there."""
        route = self.app.websocket(path)
        route.on_open(self.connections.append)
        return route.on_message(lambda frame, connection: self.heard.append((frame.opcode, frame.payload)))

    def choose(self, offered: tuple[str, ...], request: Any) -> str | None:
        self.heard.append(("offered", offered, facts(request)))
        if "raises" in offered:
            raise RuntimeError("chosen")
        return offered[-1]

    def hook(self, request: Any) -> Any:
        """For on_upgrade."""
        self.heard.append(("asked", facts(request)))
        if request.path == "/raises":
            raise RuntimeError("asked")
        if request.path == "/refused":
            return Response(403, "not you", headers=[("X-Why", "because")])
        if request.path in ("/slow", "/slowly-refused"):
            return self.slowly(request)
        return None

    async def slowly(self, request: Any) -> Any:
        await asyncio.sleep(0)
        return Response(401, "later") if request.path == "/slowly-refused" else None

    def arrive(self, *, secure: bool = False) -> tuple[ServerHandshake, Line]:
        """Somebody connects."""
        transport = Line(self.server._loop)
        handshake = ServerHandshake(self.server._waiting, secure)
        transport.set_protocol(handshake)
        handshake.connection_made(transport)
        return handshake, transport

    async def verdict(self, packets: list[bytes], *, quickly: bool, secure: bool = False) -> dict[str, Any]:
        """All that can be told from outside of what becomes of a client that sends this."""
        self.heard.clear()
        self.connections.clear()
        before = self.server.stats()
        handshake, transport = self.arrive(secure=secure)
        for packet in packets:
            if transport.protocol is handshake and not quickly:
                handshake._read(packet)
            elif not transport.lost:
                transport.protocol.data_received(packet)
            if not transport.reading:
                await turns(4)
        if handshake._task is not None or transport.protocol is not handshake:
            await turns(6)
        after = self.server.stats()
        said = {
            "answer": re.sub(rb"Date: [^\r]*", b"Date", b"".join(transport.writes)),
            "ended": transport.ended,
            "eof": transport.eof_written,
            "heard": list(self.heard),
            "opened": after["opened"] - before["opened"],
            "refused": after["refused"] - before["refused"],
            "here": handshake._here,
            "silent": handshake.is_silent,
            "connections": [about(connection) for connection in self.connections],
            "protocol": type(transport.protocol).__name__,
        }
        for connection in self.connections:
            connection.terminate()
        handshake._leave()
        transport.abort()
        transport.lose()
        await turns(2)
        return said


def facts(request: Any) -> dict[str, Any]:
    """Of a request."""
    names = (
        "method", "target", "http_version", "raw_path", "path", "query", "path_params", "host", "cookies",
        "remote_address", "is_secure",
    )  # fmt: skip
    return {name: getattr(request, name) for name in names} | {"headers": request.headers.raw}


def about(connection: Any) -> dict[str, Any]:
    """Of a connection."""
    names = (
        "sub_protocol", "is_secure", "url", "path", "path_params", "remote_address", "bytes_read", "is_client", "state",
    )  # fmt: skip
    agreed = [(one.name, one.params) for one in connection.extensions]
    request = facts(connection.request)
    return {name: getattr(connection, name) for name in names} | {"agreed": agreed, "request": request}
