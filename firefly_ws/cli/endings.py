"""How a connection of the command line begins and ends: exit codes, and the line that says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from firefly_ws.codes import CloseCode

from .show import plain

if TYPE_CHECKING:
    from firefly_ws.client_builder import WebSocketClient
    from firefly_ws.codes import CloseReason
    from firefly_ws.connection import WebSocketConnection
    from firefly_ws.details import Began, CloseDetails
    from firefly_ws.errors import WebSocketConnectionException

__all__ = ["OTHER_CODE", "connected", "exit_code", "why_closed", "why_not_connected"]

#: Exit code: the connection was closed with another code than 1000.
OTHER_CODE: Final = 3

_GOODBYE: Final = 1.0  # seconds for the server to answer the Close of one who has pressed Ctrl-C
# 1005: the peer closed, and gave no code (RFC 6455 §7.1.5).
_NORMAL: Final = (CloseCode.NORMAL, CloseCode.NO_STATUS)
_WHO: Final[dict[Began | None, str]] = {
    "local": "this side",
    "remote": "the server",
    "network": "the network",
    "timeout": "a time limit of this side",
    "limit": "a limit of this side",
    "protocol": "this side for a rule that the server broke",
    "error": "an error on this side",
}


@asynccontextmanager
async def connected(
    builder: WebSocketClient, closed: Callable[[CloseDetails], object]
) -> AsyncIterator[WebSocketConnection]:
    """An open connection; left by an exception or a signal, it says 1001 and does not wait for long.

    However it ends, *closed* is told last.
    """
    connection: WebSocketConnection = await builder.connect()
    try:
        yield connection
    finally:
        try:
            if not connection.is_closed:
                try:
                    async with asyncio.timeout(_GOODBYE):
                        await connection.close(CloseCode.GOING_AWAY)
                finally:
                    connection.terminate()
        finally:
            details = connection.close_details
            assert details is not None  # its end has begun
            closed(details)


def exit_code(reason: CloseReason) -> int:
    """0 for a normal end, else `OTHER_CODE`."""
    return 0 if reason.code in _NORMAL else OTHER_CODE


def why_closed(details: CloseDetails) -> str:
    """The end, for people: who began, the code and its name, and what was said."""
    reason, sent = details.reason, details.sent
    who = _WHO.get(details.began)
    by = "" if who is None else f" by {who}"
    if reason is None:
        return f"ended{by}: the server did not answer within {_GOODBYE:g} s"
    if reason.code == CloseCode.ABNORMAL_CLOSURE and sent is not None and details.began not in ("remote", "network"):
        return f"closed{by} with {plain(str(sent))}; no Close came from the server (1006 ABNORMAL_CLOSURE)"
    if reason.code == CloseCode.ABNORMAL_CLOSURE:
        ended = "" if who is None else f", ended{by}"
        return f"the connection was lost{ended}: {plain(str(reason))}"
    if details.began == "remote" or sent is None:
        return f"closed{by} with {plain(str(reason))}"
    # Its own words, and the server's where they are others; an answer repeats the code as a rule (RFC 6455 §5.5.1).
    answer = "" if reason in (sent, (sent.code, "")) else f"; the server answered {plain(str(reason))}"
    return f"closed{by} with {plain(str(sent))}{answer}"


def why_not_connected(error: WebSocketConnectionException) -> str:
    """Why there is no connection, for people; the text quotes an answer that refuses."""
    return plain(str(error))
