"""ASGI both ways: applications on our server (`HttpServer.asgi`), our websockets in uvicorn (`WebSocketProtocol`)."""

from __future__ import annotations

from .events import ClientDisconnected

__all__ = ["ClientDisconnected"]
