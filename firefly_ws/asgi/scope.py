"""A request as an application is told of it, by ASGI's HTTP and websocket specification 2.5; knows no connection."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from firefly_ws.http.headers import split_list
from firefly_ws.http.request import Request

from .events import Scope

__all__ = ["http_scope", "websocket_scope"]

_ASGI = {"version": "3.0", "spec_version": "2.5"}
_DENIAL = "websocket.http.response"


def _scope(
    kind: str, scheme: str, request: Request, root_path: str, server: Any, state: dict[str, Any] | None
) -> Scope:
    path, _, query = request.target.partition("?")
    if path[:1] != "/":  # the absolute form
        path = request.raw_path
    raw_path = path.encode("latin-1")
    if "%" in path:
        path = unquote(path)
    if root_path:
        # As behind a proxy that takes the prefix away: the path is the one that the client asked for.
        path, raw_path = root_path + path, root_path.encode() + raw_path
    scope: Scope = {
        "type": kind,
        "asgi": _ASGI.copy(),
        "http_version": request.http_version,
        "scheme": scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": query.encode("latin-1"),
        "root_path": root_path,
        "headers": request.headers.raw_lower,
        "client": address(request.remote_address),
        "server": address(server),
    }
    if state is not None:
        scope["state"] = state.copy()
    return scope


def http_scope(request: Request, root_path: str, server: Any, state: dict[str, Any] | None) -> Scope:
    """The scope of *request*. *server* is our end's address, *state* what the lifespan left there."""
    scope = _scope("http", "https" if request.is_secure else "http", request, root_path, server, state)
    scope["method"] = request.method
    scope["extensions"] = {}
    return scope


def websocket_scope(request: Request, root_path: str, server: Any, state: dict[str, Any] | None) -> Scope:
    """The scope of an upgrade to websocket."""
    scope = _scope("websocket", "wss" if request.is_secure else "ws", request, root_path, server, state)
    scope["subprotocols"] = split_list(request.headers.get("sec-websocket-protocol", ""))
    scope["extensions"] = {_DENIAL: {}}
    return scope


def address(sockaddr: Any) -> tuple[str, int | None] | None:
    """An address as ASGI writes it: host and port, a unix socket's path without one, ``None`` where nobody knows."""
    if isinstance(sockaddr, tuple) and len(sockaddr) >= 2:
        return sockaddr if len(sockaddr) == 2 else sockaddr[:2]
    if isinstance(sockaddr, bytes):
        sockaddr = sockaddr.decode(errors="surrogateescape")
    return (sockaddr, None) if sockaddr else None
