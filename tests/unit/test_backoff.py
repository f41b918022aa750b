"""Trying again: what is worth it, the delays, the ceilings, and what is raised at the end; no clock, no sleep."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from every import for_each

from firefly_ws import (
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeError,
    ProxyError,
    WebSocketConnectionException,
)
from firefly_ws.backoff import Backoff, Reconnect, is_worth_retrying


def drawn(*values: float) -> Callable[[], float]:
    """A source of randomness that is none; the last value again and again."""

    def all_of() -> Iterator[float]:
        yield from values
        while True:
            yield values[-1]

    source = all_of()
    return lambda: next(source)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


REFUSED = WebSocketConnectionException("refused")
CERTIFICATE = ssl.SSLCertVerificationError("expired")


@for_each(
    ("error", "worth"),
    [
        (REFUSED, True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (caused(WebSocketConnectionException("no name"), OSError()), True),
        (caused(WebSocketConnectionException("TLS"), ssl.SSLEOFError()), True),
        (caused(WebSocketConnectionException("TLS"), CERTIFICATE), False),
        *[(HandshakeError(status), True) for status in (0, 429, 500, 502, 503, 504)],
        *[(HandshakeError(status), False) for status in (101, 200, 302, 400, 401, 403, 404, 426)],
        *[(ProxyError("", status), True) for status in (429, 500, 502, 503, 1, 3, 4, 5, 6, 91)],
        *[(ProxyError("", status), False) for status in (200, 403, 407, 2, 7, 8, 92, 93)],
        (ProxyError("not this user"), False),
        (caused(ProxyError("not reached"), ConnectionRefusedError()), True),
        (caused(ProxyError("TLS"), CERTIFICATE), False),
        *[(ConnectionClosedError(CloseReason(code)), True) for code in (1005, 1006, 1008, 1011, 1012, 4000)],
        (ConnectionClosedOK(CloseReason(1000)), True),
        (ValueError(), False),
        (KeyError(), False),
    ],
)
def test_what_may_pass_is_worth_another_try(error: Exception, worth: bool) -> None:
    assert is_worth_retrying(error) is worth


def delays(backoff: Backoff, errors: Iterable[Exception]) -> list[float]:
    return [backoff.failed(error) for error in errors]


def test_the_delay_doubles_up_to_its_ceiling() -> None:
    backoff = Backoff(Reconnect(base_delay=1, max_delay=10), drawn(1.0))
    assert delays(backoff, [REFUSED] * 6) == [1, 2, 4, 8, 10, 10]


def test_the_jitter_is_full_from_nothing_to_all_of_it() -> None:
    backoff = Backoff(Reconnect(base_delay=2, factor=3, max_delay=100), drawn(0.0, 0.5, 0.25, 1.0))
    assert delays(backoff, [REFUSED] * 4) == [0, 3, 4.5, 54]


def test_a_thousand_tries_overflow_nothing() -> None:
    backoff = Backoff(Reconnect(factor=1e300, max_delay=60), drawn(1.0))
    assert delays(backoff, [REFUSED] * 1000)[-1] == 60


def test_the_last_try_raises_how_often_and_why() -> None:
    backoff = Backoff(Reconnect(max_tries=3), drawn(0.0))
    assert delays(backoff, [REFUSED] * 2) == [0, 0]
    last = HandshakeError(503)
    last.errno = 111
    with pytest.raises(WebSocketConnectionException, match=r"gave up after 3 tries \(max_tries\).*503") as raised:
        backoff.failed(last)
    assert (raised.value.tries, raised.value.errno) == (3, 111)
    assert raised.value.__cause__ is last


def test_a_single_try_raises_its_own_error() -> None:
    with pytest.raises(WebSocketConnectionException) as raised:
        Backoff(Reconnect(max_tries=1)).failed(REFUSED)
    assert raised.value is REFUSED


def test_what_is_not_worth_it_is_raised_as_it_is_and_knows_how_often_it_was_tried() -> None:
    backoff = Backoff(Reconnect(), drawn(0.0))
    backoff.failed(REFUSED)
    with pytest.raises(HandshakeError) as raised:
        backoff.failed(HandshakeError(401))
    assert (raised.value.status, raised.value.tries) == (401, 2)


def test_the_users_predicate_decides() -> None:
    strategy = Reconnect(retry_if=lambda error: isinstance(error, KeyError))
    assert Backoff(strategy, drawn(1.0)).failed(KeyError()) == 1
    with pytest.raises(WebSocketConnectionException):
        Backoff(strategy).failed(REFUSED)
    with pytest.raises(ConnectionClosedError):
        Backoff(strategy).lost(ConnectionClosedError(CloseReason(1006)), 100)


@pytest.mark.parametrize(
    ("value", "expected"), [("7", 7), ("900", 60), ("0", 1), ("Fri, 31 Dec 1999 23:59:59 GMT", 1), ("-5", 1), ("", 1)]
)
def test_an_answer_may_ask_for_more_time_up_to_the_ceiling(value: str, expected: float) -> None:
    for error in (HandshakeError(503, {"retry-after": value}), ProxyError("x", 503, {"retry-after": value})):
        assert Backoff(Reconnect(), drawn(1.0)).failed(error) == expected


@for_each(
    ("value", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10), ("Sunday, 06-Nov-94 08:49:47 GMT", 10), ("Sun Nov  6 08:49:47 1994", 10),
        ("Sun, 06 Nov 1994 09:49:37 GMT", 60), ("Sun, 06 Nov 1994 08:49:30 GMT", 1),
        ("Sun, 99 Nov 1994 08:49:47 GMT", 1), ("Sun, 06 Nov 99999 08:49:47 GMT", 1), ("soon", 1),
        ("Sun, 06 Nov 1994 08:49:47 +9999", 1),
    ],
)  # fmt: skip
def test_a_date_to_try_again_is_read_by_the_clock_of_the_answer(value: str, expected: float) -> None:
    error = HandshakeError(503, {"retry-after": value, "date": "Sun, 06 Nov 1994 08:49:37 GMT"})
    assert Backoff(Reconnect(), drawn(1.0)).failed(error) == expected


def test_a_date_without_the_answers_own_is_read_by_ours() -> None:
    for ahead, least in ((30, 20), (-30, 1)):
        error = HandshakeError(503, {"retry-after": formatdate(time.time() + ahead, usegmt=True)})
        assert least <= Backoff(Reconnect(), drawn(1.0)).failed(error) <= max(1, ahead)


LOST = ConnectionClosedError(CloseReason(1006))


def test_an_open_connection_begins_the_count_of_tries_anew() -> None:
    backoff = Backoff(Reconnect(max_tries=3), drawn(0.0))
    for _ in range(5):
        delays(backoff, [REFUSED] * 2)
        backoff.opened()
        backoff.lost(LOST, 0)


def test_a_connection_that_lasted_begins_the_delay_anew_and_a_short_one_does_not() -> None:
    backoff = Backoff(Reconnect(base_delay=1), drawn(1.0))
    assert [backoff.lost(LOST, 0.1) for _ in range(4)] == [1, 2, 4, 8]
    assert backoff.lost(LOST, 15.9) == 16
    assert backoff.lost(LOST, 32) == 1


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"base_delay": -1}, ValueError, "base_delay=-1 must be at least 0 and finite"),
        ({"base_delay": "1"}, TypeError, "base_delay='1' must be a number, not str"),
        ({"base_delay": True}, TypeError, "base_delay=True must be a number"),
        ({"base_delay": 5, "max_delay": 4}, ValueError, r"max_delay=4 must be at least 5 \(base_delay\)"),
        ({"max_delay": float("inf")}, ValueError, "max_delay=inf must be at least 1"),
        ({"max_delay": float("nan")}, ValueError, "max_delay=nan must be"),
        ({"factor": 0.5}, ValueError, "factor=0.5 must be at least 1"),
        ({"max_tries": 0}, ValueError, "max_tries=0 must be an int, at least 1, or None"),
        ({"max_tries": 1.5}, ValueError, "max_tries=1.5 must be an int"),
        ({"retry_if": 5}, TypeError, "retry_if=5: a callback must be callable"),
        ({"retry_if": None}, TypeError, "retry_if=None: a callback must be callable"),
        ({"before_try": 5}, TypeError, "before_try=5: a callback must be callable"),
    ],
)
def test_a_bad_option_is_refused_by_name(options: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Reconnect(**options)
