"""What a server has done, as numbers that can be added up; knows no server, and nobody who draws them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import TypedDict, TypeVar

from ._core.totals import Totals

__all__ = ["Counts", "Histogram", "ServerStats", "add"]

K = TypeVar("K")


class ServerStats(TypedDict):
    """What `Server.stats` tells: of now (connections, handshaking, buffered_amount, http_connections), else in all."""

    #: Websockets that are open or closing.
    connections: int
    #: Websockets that have been opened.
    opened: int
    #: Connections that have not sent a whole request yet, or wait for ``on_upgrade`` or a selector.
    handshaking: int
    #: Upgrades and other first requests that were refused, and the same by status (404, 403, 426 …).
    refused: int
    refused_by_status: dict[int, int]
    #: Connections that ended before their first request was whole.
    abandoned: int
    #: TLS's handshakes that failed, or took longer than ``open_timeout``. On Linux; elsewhere the loop makes them: 0.
    tls_failed: int
    #: Whole messages, by direction and type.
    messages_received: int
    messages_sent: int
    texts_received: int
    texts_sent: int
    binaries_received: int
    binaries_sent: int
    #: Messages that a slow peer was not sent, see ``slow_consumer``.
    messages_dropped: int
    #: Bytes of websockets: frames as on the wire, without the handshake and TLS.
    bytes_read: int
    bytes_written: int
    #: Bytes accepted by ``send`` and not yet taken by the operating system.
    buffered_amount: int
    #: Websockets that have ended, by the code of their `CloseReason`; 0 is what has no room (private codes).
    closed: dict[int, int]
    #: The same by the code that we, and that the peer sent.
    close_sent: dict[int, int]
    close_received: dict[int, int]
    #: Websockets ended by something other than a Close, by the name of the error.
    errors: dict[str, int]
    #: Exceptions that callbacks and handlers of websockets raised.
    callback_errors: int
    #: Connections that speak HTTP.
    http_connections: int
    #: HTTP requests that were answered, and the same by class of status ("2xx" …).
    http_requests: int
    http_answers: dict[str, int]
    #: HTTP handlers that raised.
    http_errors: int


class Histogram:
    """Durations in seconds: how many were no longer than each of `BOUNDS`, and their sum."""

    __slots__ = ("_counts", "sum")

    BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

    def __init__(self) -> None:
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.sum += seconds

    def merge(self, other: Histogram) -> None:
        """Add those of *other* to these."""
        self._counts = [ours + theirs for ours, theirs in zip(self._counts, other._counts, strict=True)]
        self.sum += other.sum

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, and how many were no longer; the last one is infinity."""
        total = 0
        for bound, count in zip((*self.BOUNDS, inf), list(self._counts), strict=True):
            total += count
            yield bound, total


@dataclass(slots=True)
class Counts:
    """The numbers of one server, or of several."""

    #: By the path of the route, as registered.
    routes: dict[str | None, Totals] = field(default_factory=dict)
    handshaking: int = 0
    #: By status.
    refused: dict[int, int] = field(default_factory=dict)
    abandoned: int = 0
    http_connections: int = 0
    #: By method and status.
    http_requests: dict[tuple[str, int], int] = field(default_factory=dict)
    http_errors: int = 0
    tls_failed: int = 0
    #: Round trips of Pings.
    pings: Histogram = field(default_factory=Histogram)
    #: Of those that became websockets, and of HTTP requests; only where somebody shows them.
    handshakes: Histogram = field(default_factory=Histogram)
    http_durations: Histogram = field(default_factory=Histogram)

    def merge(self, other: Counts) -> None:
        """Add those of *other* to these."""
        for route, totals in other.routes.items():
            self.routes.setdefault(route, Totals()).merge(totals)
        self.handshaking += other.handshaking
        add(self.refused, other.refused)
        self.abandoned += other.abandoned
        self.http_connections += other.http_connections
        add(self.http_requests, other.http_requests)
        self.http_errors += other.http_errors
        self.tls_failed += other.tls_failed
        self.pings.merge(other.pings)
        self.handshakes.merge(other.handshakes)
        self.http_durations.merge(other.http_durations)

    def websockets(self) -> Totals:
        """Those of all routes."""
        found = Totals()
        for totals in self.routes.values():
            found.merge(totals)
        return found

    @property
    def http_classes(self) -> dict[tuple[str, str], int]:
        """HTTP requests by method and class of status, as ``("GET", "2xx")``."""
        found: dict[tuple[str, str], int] = {}
        for (method, status), count in self.http_requests.items():
            add(found, {(method, f"{status // 100}xx"): count})
        return found

    def stats(self) -> ServerStats:
        """For a user to read."""
        all_ = self.websockets()
        answers: dict[str, int] = {}
        for (_, kind), count in self.http_classes.items():
            add(answers, {kind: count})
        return {
            "connections": all_.open,
            "opened": all_.opened,
            "handshaking": self.handshaking,
            "refused": sum(self.refused.values()),
            "refused_by_status": self.refused,
            "abandoned": self.abandoned,
            "tls_failed": self.tls_failed,
            "messages_received": all_.texts_received + all_.binaries_received,
            "messages_sent": all_.texts_sent + all_.binaries_sent,
            "texts_received": all_.texts_received,
            "texts_sent": all_.texts_sent,
            "binaries_received": all_.binaries_received,
            "binaries_sent": all_.binaries_sent,
            "messages_dropped": all_.dropped,
            "bytes_read": all_.bytes_read,
            "bytes_written": all_.bytes_written,
            "buffered_amount": all_.buffered,
            "closed": all_.closed,
            "close_sent": all_.close_sent,
            "close_received": all_.close_received,
            "errors": all_.errors,
            "callback_errors": all_.callback_errors,
            "http_connections": self.http_connections,
            "http_requests": sum(self.http_requests.values()),
            "http_answers": answers,
            "http_errors": self.http_errors,
        }


def add(counts: dict[K, int], more: dict[K, int]) -> None:
    """Add *more* to *counts*."""
    for key, count in more.items():
        counts[key] = counts.get(key, 0) + count
