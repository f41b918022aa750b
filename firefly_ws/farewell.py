"""The one log record of a connection's end: its fields, and how many of a kind there may be.

To the logger ``firefly_ws.connection``. Where that one takes DEBUG every end is told; above DEBUG, ends that a peer
can cause at will are one of a kind a second, see `Seldom`.
"""

from __future__ import annotations

import logging
from typing import Any

from .details import CloseDetails
from .seldom import Seldom

__all__ = ["logger", "say_farewell"]

logger = logging.getLogger("firefly_ws.connection")

_seldom = Seldom(logger)


def say_farewell(connection: Any, details: CloseDetails, level: int) -> None:
    """Log how *connection* has ended, at *level*, which is one that the logger takes."""
    left_out = 0
    if not logger.isEnabledFor(logging.DEBUG):
        before = _seldom.turn(type(details.error).__name__ if details.error else f"{details.began}")
        if before is None:
            return
        left_out = before
    more = f" (and {left_out} more of this kind)" if left_out else ""
    logger.log(level, "%r: %s%s", connection, details, more, extra=_fields(connection, details, left_out))


def _fields(connection: Any, details: CloseDetails, left_out: int) -> dict[str, object]:
    """What stands in the record's ``extra``: plain values alone, so that it can become JSON."""
    remote = getattr(connection, "remote_address", None)
    return {
        "connection_id": connection.id,
        "role": "client" if connection.is_client else "server",
        "remote": f"{remote[0]}:{remote[1]}" if isinstance(remote, tuple) else remote,
        "path": getattr(connection, "path", None),
        "code": None if details.reason is None else int(details.reason.code),
        "reason": "" if details.reason is None else details.reason.message,
        "code_sent": None if details.sent is None else int(details.sent.code),
        "code_received": None if details.received is None else int(details.received.code),
        "was_clean": details.was_clean,
        "began": details.began,
        "cause": details.cause,
        "error": None if details.error is None else type(details.error).__name__,
        "errno": None if details.transport_error is None else details.transport_error.errno,
        "duration": round(details.duration, 6),
        "last_read": None if details.last_read is None else round(details.last_read, 6),
        "last_write": None if details.last_write is None else round(details.last_write, 6),
        "bytes_in": connection.bytes_read,
        "bytes_out": connection.bytes_written,
        "messages_in": connection.messages_received,
        "messages_out": connection.messages_sent,
        "bytes_unsent": details.unsent_bytes,
        "left_out": left_out,
    }
