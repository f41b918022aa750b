"""ASGI applications below the routes of our server (`HttpServer.asgi`), and our websockets below uvicorn's HTTP."""

from __future__ import annotations

from .events import ClientDisconnected
from .uvicorn import WebSocketProtocol

__all__ = ["ClientDisconnected", "WebSocketProtocol"]
