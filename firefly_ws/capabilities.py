"""What a client may be asked about itself; has no ability of its own."""

from __future__ import annotations

from typing import Final

__all__ = ["Capability", "WebSocketCapability", "WebSocketExtensionsCapability"]


class Capability:
    """Something that `HttpClient.is_supported` can be asked for."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


WebSocketCapability: Final = Capability("WebSocketCapability")
"""WebSocket connections (RFC 6455)."""
WebSocketExtensionsCapability: Final = Capability("WebSocketExtensionsCapability")
"""Extensions of them (RFC 6455 §9); `HttpClient.supported_extensions` has their names."""
