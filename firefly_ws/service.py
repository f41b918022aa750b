"""One object that takes what happens at a path, as Kitura's services do; knows only which methods it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .callables import check_callable

if TYPE_CHECKING:
    from .codes import CloseReason
    from .connection import WebSocketConnection

__all__ = ["WebSocketService", "callbacks_of"]


class WebSocketService:
    """Base of an object for ``.service(obj)``; each method may be plain or ``async``.

    It is there to be read and for type checkers: any object with a method ``received``
    will do, and `connected` and `disconnected` may be missing. One object may serve any
    number of paths and connections.
    """

    #: Seconds of silence after which a connection is dropped, a ping being sent after half of it (float);
    #: None: as the route's policy has it.
    connection_timeout: float | None = None

    def connected(self, connection: WebSocketConnection) -> object:
        """A connection has opened; before its first message."""

    def received(self, message: str | bytes, connection: WebSocketConnection) -> object:
        """A message came: ``str`` from a text message, ``bytes`` from a binary one."""
        raise NotImplementedError(f"{type(self).__name__} must have a method received(message, connection)")

    def disconnected(self, connection: WebSocketConnection, reason: CloseReason) -> object:
        """A connection has ended, whoever ended it; once, and last."""


def callbacks_of(service: Any) -> dict[str, Callable[..., object]]:
    """The slots of a route's callbacks, and the methods of *service* that take them; raises ``TypeError``."""
    if isinstance(service, type):
        raise TypeError(f"service({service.__name__}): give an object, {service.__name__}(), not its class")
    found: dict[str, Callable[..., object]] = {}
    for name, (slots, arguments) in _SLOTS.items():
        method = getattr(service, name, None)
        if method is None or getattr(type(service), name, None) is getattr(WebSocketService, name):
            continue
        check_callable(f"service({service!r}): its {name}={method!r}", method, *arguments)
        found.update(dict.fromkeys(slots, method))
    if "text" not in found:
        raise TypeError(f"service({service!r}): it must have a method received(message, connection)")
    return found


_SLOTS = {
    "connected": (("accept",), ("connection",)),
    "received": (("text", "binary"), ("message", "connection")),
    "disconnected": (("close",), ("connection", "reason")),
}
