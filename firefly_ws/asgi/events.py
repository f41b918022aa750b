"""What server and application say to each other in ASGI: the types of the calls; knows neither of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["Application", "ClientDisconnected", "Event", "Receive", "Scope", "Send", "is_gone", "kind_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[object]]  # of None, but not all keep to it


_STARLETTE = ("ClientDisconnect", "WebSocketDisconnect")
"""What Starlette and FastAPI raise for a disconnect: a handler that lets it out has ended as it should."""


class ClientDisconnected(ConnectionResetError):
    """An application's ``send`` found its client gone: the ``OSError`` that ASGI asks for (HTTP and websocket, 2.4).

    It may leave the application: that is no error.
    """


def kind_of(event: Any) -> str:
    """The event's type; ``TypeError`` for what is no event."""
    kind = event.get("type") if isinstance(event, MutableMapping) else None
    if not isinstance(kind, str):
        raise TypeError(f"send() takes a dict with a 'type', not {event!r:.200}")
    return kind


def is_gone(error: BaseException | None) -> bool:
    """Whether *error* says that the client is gone, itself or by what it was raised for."""
    seen = 0
    while error is not None and seen < 16:
        if isinstance(error, ClientDisconnected) or type(error).__name__ in _STARLETTE:
            return True
        error = error.__cause__ or error.__context__
        seen += 1
    return False
