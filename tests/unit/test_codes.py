"""The numbers of the RFC under their names."""

from __future__ import annotations

import pytest

from firefly_ws import CloseCode, CloseReason, ConnectionState, Opcode
from firefly_ws.codes import is_sendable


def test_the_close_codes_are_those_of_the_registry() -> None:  # C8
    assert {code.name: int(code) for code in CloseCode} == {
        "NORMAL": 1000, "GOING_AWAY": 1001, "PROTOCOL_ERROR": 1002, "UNSUPPORTED_DATA": 1003, "NO_STATUS": 1005,
        "ABNORMAL_CLOSURE": 1006, "INVALID_PAYLOAD": 1007, "POLICY_VIOLATION": 1008, "MESSAGE_TOO_BIG": 1009,
        "MANDATORY_EXTENSION": 1010, "INTERNAL_ERROR": 1011, "SERVICE_RESTART": 1012, "TRY_AGAIN_LATER": 1013,
        "BAD_GATEWAY": 1014, "TLS_HANDSHAKE_FAILED": 1015,
    }  # fmt: skip


def test_the_opcodes_are_those_of_the_rfc() -> None:
    assert [int(opcode) for opcode in Opcode] == [0, 1, 2, 8, 9, 10]
    assert [state.name for state in ConnectionState] == ["CONNECTING", "OPEN", "CLOSING", "CLOSED"]
    state = ConnectionState.OPEN
    assert str(state) == f"{state}" == "%s" % state == "ConnectionState.OPEN"  # noqa: UP031
    assert state == 1
    assert ConnectionState.CONNECTING < state < ConnectionState.CLOSING


def test_which_codes_may_be_sent() -> None:
    sendable = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert {code for code in range(-10, 70000) if is_sendable(code)} == sendable


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (CloseReason(1000), "1000 (NORMAL)"),
        (CloseReason(1001, "restart"), "1001 (GOING_AWAY): restart"),
        (CloseReason(CloseCode.NO_STATUS, ""), "1005 (NO_STATUS)"),
        (CloseReason(4000, "ours"), "4000: ours"),
    ],
)
def test_a_reason_reads_well(reason: CloseReason, text: str) -> None:
    assert str(reason) == text
    assert reason == (reason.code, reason.message)
