"""For the tests of those who use the library: connections in memory, with hooks to cut, delay or split what flows.

Loads neither pytest nor a socket; the fixtures are in `firefly_ws.testing.plugin`.
"""

from __future__ import annotations

from .conversation import Conversation, conversation
from .in_memory import MemoryServer, connect_in_memory, listen_in_memory
from .links import Flow, Link
from .transports import MemoryTransport

__all__ = [
    "Conversation",
    "Flow",
    "Link",
    "MemoryServer",
    "MemoryTransport",
    "connect_in_memory",
    "conversation",
    "listen_in_memory",
]
