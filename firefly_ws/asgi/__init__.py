"""ASGI applications below the routes of our server (`HttpServer.asgi`)."""

from __future__ import annotations

from .events import ClientDisconnected

__all__ = ["ClientDisconnected"]
