"""Trying again: what is worth it, how long to wait, when to give up. Knows no loop and no socket."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from ssl import SSLCertVerificationError
from typing import Any, Final

from .callables import check_callable
from .errors import ConnectionClosed, HandshakeError, ProxyError, WebSocketConnectionException

__all__ = ["Backoff", "Reconnect", "is_worth_retrying"]

_SOCKS_PASSING: Final = frozenset({1, 3, 4, 5, 6, 91})
"""SOCKS replies about the network rather than about us (RFC 1928 §6; 91 is SOCKS 4's "rejected or failed")."""


def is_worth_retrying(error: Exception) -> bool:
    """Whether the same may succeed later: the default of ``retry_if``.

    Yes: the network's errors (name look-up, refused, reset, TLS ended early), timeouts, no answer, the answers 429 and
    5xx, a lost connection whatever its close code. No: any other answer, a certificate that is not valid, a proxy
    that knows or wants us not, and every error of the program itself.
    """
    if isinstance(error, ConnectionClosed):
        return True
    if isinstance(error, ProxyError):
        if error.status == 0:
            return isinstance(error.__cause__, OSError) and not _is_certificate(error.__cause__)
        return error.status in _SOCKS_PASSING or _is_passing(error.status)
    if isinstance(error, HandshakeError):
        return error.status == 0 or _is_passing(error.status)
    return isinstance(error, OSError) and not _is_certificate(error.__cause__)


def _is_passing(status: int) -> bool:
    return status == 429 or status >= 500


def _is_certificate(cause: BaseException | None) -> bool:
    return isinstance(cause, SSLCertVerificationError)


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How to try again: what ``.reconnect()`` takes. Times are seconds; raises ``ValueError`` or ``TypeError``."""

    base_delay: float = 1.0
    max_delay: float = 60.0
    factor: float = 2.0
    max_tries: int | None = None
    retry_if: Callable[[Exception], object] = is_worth_retrying
    before_try: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        _check_number("base_delay", self.base_delay, 0.0)
        _check_number("max_delay", self.max_delay, self.base_delay, " (base_delay)")
        _check_number("factor", self.factor, 1.0)
        if self.max_tries is not None and (type(self.max_tries) is not int or self.max_tries < 1):
            raise ValueError(f"max_tries={self.max_tries!r} must be an int, at least 1, or None")
        check_callable(f"retry_if={self.retry_if!r}", self.retry_if, "error", plain=True)
        if self.before_try is not None:
            check_callable(f"before_try={self.before_try!r}", self.before_try, "builder")


def _check_number(name: str, value: object, least: float, why: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r} must be a number, not {type(value).__name__}")
    if not least <= value < float("inf"):
        raise ValueError(f"{name}={value!r} must be at least {least:g}{why} and finite")


class Backoff:
    """The tries of one connection, and the wait before the next: exponential, with full jitter.

    Full jitter, a random part of the delay from nothing to all of it, keeps the clients of a server that has just
    restarted from coming all at once.
    """

    def __init__(self, strategy: Reconnect, draw: Callable[[], float] = random.random) -> None:
        self._strategy = strategy
        self._draw = draw
        self._ceiling = strategy.base_delay
        self.tries = 0
        """Since it was last open."""

    def opened(self) -> None:
        """A try has succeeded."""
        self.tries = 0

    def failed(self, error: Exception) -> float:
        """A try has failed: the seconds to wait before the next. Raises what ends it if there is to be none."""
        strategy = self._strategy
        self.tries += 1
        if not strategy.retry_if(error):
            if isinstance(error, WebSocketConnectionException):
                error.tries = self.tries
            raise error
        if strategy.max_tries is not None and self.tries >= strategy.max_tries:
            if self.tries == 1:
                raise error
            over = WebSocketConnectionException(f"gave up after {self.tries} tries (max_tries); the last one: {error}")
            over.tries = self.tries
            over.errno = getattr(error, "errno", None)
            raise over from error
        return max(self._next(), min(_asked_for(error), strategy.max_delay))

    def lost(self, error: ConnectionClosed, lasted: float) -> float:
        """A connection ended after *lasted* seconds: the seconds to wait; raises *error* if it is not worth it.

        One that lasted as long as the wait could have been begins anew with ``base_delay``. A shorter one does not,
        so that a server that accepts and then ends every connection is not asked in ever the same rhythm.
        """
        if not self._strategy.retry_if(error):
            raise error
        if lasted >= self._ceiling:
            self._ceiling = self._strategy.base_delay
        return self._next()

    def _next(self) -> float:
        delay = self._draw() * self._ceiling
        self._ceiling = min(self._ceiling * self._strategy.factor, self._strategy.max_delay)
        return delay


def _asked_for(error: Exception) -> float:
    """The seconds of an answer's Retry-After, a number or a date (RFC 9110 §10.2.3); 0 where it is neither."""
    if isinstance(error, HandshakeError | ProxyError):
        value = error.headers.get("retry-after", "")
        if value.isascii() and value.isdigit():
            return float(value)
        until = _seconds_of(value)
        if until is not None:
            # By the clock of who has set the date, where that is known.
            now = _seconds_of(error.headers.get("date", ""))
            return max(0.0, until - (time.time() if now is None else now))
    return 0.0


def _seconds_of(date: str) -> float | None:
    """An HTTP date (RFC 9110 §5.6.7) in seconds since 1970."""
    try:
        read = parsedate_to_datetime(date)
        # All HTTP dates are of UTC; the form of asctime does not say so.
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
