"""How a connection of the command line begins and ends: exit codes, and the line that says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from firefly_ws.codes import CloseCode
from firefly_ws.errors import HandshakeError

from .show import plain

if TYPE_CHECKING:
    from firefly_ws.client_builder import WebSocketClient
    from firefly_ws.codes import CloseReason
    from firefly_ws.connection import WebSocketConnection
    from firefly_ws.errors import WebSocketConnectionException

__all__ = ["OTHER_CODE", "connected", "exit_code", "why_closed", "why_not_connected"]

#: Exit code: the connection was closed with another code than 1000.
OTHER_CODE: Final = 3

_GOODBYE: Final = 1.0  # seconds for the server to answer the Close of one who has pressed Ctrl-C
_QUOTED: Final = 200  # characters of an answer
# 1005: the peer closed, and gave no code (RFC 6455 §7.1.5).
_NORMAL: Final = (CloseCode.NORMAL, CloseCode.NO_STATUS)


@asynccontextmanager
async def connected(builder: WebSocketClient) -> AsyncIterator[WebSocketConnection]:
    """An open connection; left by an exception or a signal, it says 1001 and does not wait for long."""
    connection: WebSocketConnection = await builder.connect()
    try:
        yield connection
    finally:
        if not connection.is_closed:
            try:
                async with asyncio.timeout(_GOODBYE):
                    await connection.close(CloseCode.GOING_AWAY)
            finally:
                connection.terminate()


def exit_code(reason: CloseReason) -> int:
    """0 for a normal end, else `OTHER_CODE`."""
    return 0 if reason.code in _NORMAL else OTHER_CODE


def why_closed(reason: CloseReason) -> str:
    """The end, for people."""
    if reason.code == CloseCode.ABNORMAL_CLOSURE:
        why = f": {plain(reason.message)}" if reason.message else ""
        return f"the connection was lost, without a Close from the server (1006){why}"
    return f"closed with {plain(str(reason))}"


def why_not_connected(error: WebSocketConnectionException) -> str:
    """Why there is no connection, for people: an answer that refuses is quoted, its first line."""
    said = error.body.decode(errors="replace").strip()[:_QUOTED] if isinstance(error, HandshakeError) else ""
    return f"{plain(str(error))}{': ' if said else ''}{plain(said.partition(chr(10))[0])}"
