"""The last line of `firefly-ws connect`: who began, the code and its name, what was said; without a connection."""

from __future__ import annotations

from firefly_ws import CloseReason
from firefly_ws.cli.endings import exit_code, why_closed
from firefly_ws.details import BEGAN, CloseDetails

AWAY = CloseReason(1001, "away")


def test_the_line_names_who_began_and_both_codes_where_they_differ() -> None:
    cases = [
        (CloseDetails(began="remote", reason=AWAY, received=AWAY, sent=AWAY),
         "closed by the server with 1001 (GOING_AWAY): away"),
        (CloseDetails(began="local", reason=CloseReason(1000), sent=CloseReason(1000, "bye")),
         "closed by this side with 1000 (NORMAL): bye"),
        (CloseDetails(began="limit", reason=AWAY, sent=CloseReason(1009, "too big")),
         "closed by a limit of this side with 1009 (MESSAGE_TOO_BIG): too big; "
         "the server answered 1001 (GOING_AWAY): away"),
        (CloseDetails(began="remote", reason=CloseReason(4001, "no\x1b token")),
         "closed by the server with 4001: no\\x1b token"),
        (CloseDetails(began="network", reason=CloseReason(1006, "the connection was lost: reset")),
         "the connection was lost, ended by the network: 1006 (ABNORMAL_CLOSURE): the connection was lost: reset"),
        (CloseDetails(began="protocol", reason=CloseReason(1006, "ProtocolError: odd"), sent=CloseReason(1002, "odd")),
         "closed by this side for a rule that the server broke with 1002 (PROTOCOL_ERROR): odd; "
         "no Close came from the server (1006 ABNORMAL_CLOSURE)"),
        (CloseDetails(began="local", sent=AWAY), "ended by this side: the server did not answer within 1 s"),
        (CloseDetails(reason=AWAY), "closed with 1001 (GOING_AWAY): away"),
    ]  # fmt: skip
    for details, line in cases:
        assert why_closed(details) == line


def test_everyone_who_may_begin_has_words() -> None:
    for began in BEGAN:
        for code in (1000, 1006):
            assert " by " in why_closed(CloseDetails(began=began, reason=CloseReason(code))), began
    assert [exit_code(CloseReason(code)) for code in (1000, 1005, 1001, 1006, 4000)] == [0, 0, 3, 3, 3]
