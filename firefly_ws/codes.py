"""The numbers of RFC 6455 under their names; knows nothing of connections or errors."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple

__all__ = ["CloseCode", "CloseReason", "ConnectionState", "Opcode", "is_sendable"]


class CloseCode(IntEnum):
    """Status codes of a Close frame (RFC 6455 §7.4.1 and the IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE_FAILED = 1015


class Opcode(IntEnum):
    """Frame opcodes (RFC 6455 §5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class ConnectionState(IntEnum):
    """Where a connection stands (RFC 6455 §4, §7); printed and formatted by its name, compared as a number."""

    __str__ = Enum.__str__
    __format__ = Enum.__format__

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


def is_sendable(code: int) -> bool:
    """Whether *code* may stand in a Close frame (RFC 6455 §7.4).

    1004, 1005, 1006 and 1015 are for local use; below 1000 nothing is defined,
    1016 to 2999 belong to the protocol's future.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class CloseReason(NamedTuple):
    """Why a connection ended: a close code and the words that came with it."""

    code: int
    message: str = ""

    def __str__(self) -> str:
        try:
            name = f" ({CloseCode(self.code).name})"
        except ValueError:
            name = ""
        return f"{int(self.code)}{name}{': ' + self.message if self.message else ''}"
