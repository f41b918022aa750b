"""A server's counts as Prometheus reads them; knows names and labels, and of a server nothing but its `Counts`.

Nothing here runs while messages do: all is added up when somebody asks. The one
exception is the lag of the event loop, a timer that runs only where metrics are on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from ._core.totals import Totals
from .counts import Counts, Histogram
from .http.request import Request
from .http.response import Response

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

__all__ = ["LoopLag", "Metrics", "Page", "counted_in"]

PREFIX = "firefly_ws_"
EVERY = 0.5
"""Seconds between two looks at the event loop's lag."""
SHOWN = 100
"""Routes that are told of before anybody has been there, so that their first connection is a rise from 0."""
_APPLICATION = "asgi"  # the route of an ASGI application's websockets; those of ours begin with a slash

# Name, help, labels, and what there is of it. A counter's name gets its `_total`.
_Samples = Callable[[Counts], Iterable[tuple[tuple[str, ...], float]]]


class Counting(Protocol):
    """What is counted: a server."""

    @property
    def paths(self) -> list[str]:
        """Its websockets' routes."""

    @property
    def is_over(self) -> bool:
        """Nothing will be counted any more."""

    def counts(self) -> Counts:
        """What has been done; may be asked by any thread."""


class Metrics:
    """The collector of one registry: the servers that are counted in it, added up."""

    def __init__(self) -> None:
        self._servers: list[Counting] = []
        self._past = Counts()  # of servers that are gone: a counter never falls
        self._lag = Histogram()
        self._lags: dict[asyncio.AbstractEventLoop, LoopLag] = {}
        self._open: dict[Counting, asyncio.AbstractEventLoop] = {}
        # Servers come and go in their loops' threads, and who asks may do so in another.
        self._changing = threading.Lock()

    # --- from servers

    def began(self, server: Counting, loop: asyncio.AbstractEventLoop) -> None:
        """Count *server* too, in the thread of its *loop*."""
        with self._changing:
            self._tidy()
            self._servers.append(server)
            self._open[server] = loop
            if loop not in self._lags:
                self._lags[loop] = LoopLag(loop, self._lag)

    def ended(self, server: Counting) -> None:
        """*server* has closed; it may still have callbacks that go on."""
        with self._changing:
            self._tidy()
            loop = self._open.pop(server, None)
            if loop is not None and loop not in self._open.values():
                self._lags.pop(loop).stop()

    def _tidy(self) -> None:
        for server in [server for server in self._servers if server.is_over]:
            self._past.merge(server.counts())
            self._servers.remove(server)

    # --- for the registry

    def counts(self) -> tuple[Counts, Histogram]:
        """All there is, and the lag of the loops."""
        found, lag = Counts(), Histogram()
        with self._changing:
            self._tidy()
            for server in self._servers:
                found.merge(server.counts())
                for path in server.paths[:SHOWN]:
                    found.routes.setdefault(path, Totals())
            found.merge(self._past)
            lag.merge(self._lag)
        return found, lag

    def describe(self) -> Iterator[Metric]:
        """The names alone, so that a registry can find two of the same."""
        return _metrics(None, None)

    def collect(self) -> Iterator[Metric]:
        """What the registry writes."""
        return _metrics(*self.counts())


def _metrics(counts: Counts | None, lag: Histogram | None) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    families: tuple[tuple[Any, tuple[Any, ...]], ...] = (
        (GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS),
    )  # fmt: skip
    for family, table in families:
        for name, text, labels, samples in table:
            metric = family(PREFIX + name, text, labels=labels)
            if counts is not None:
                for values, value in samples(counts):
                    metric.add_metric(values, value)
            yield metric
    taken = (None, None, None) if counts is None else (counts.pings, counts.handshakes, counts.http_durations)
    histograms: tuple[tuple[str, str, Histogram | None], ...] = (
        ("ping_latency_seconds", "From a Ping of ours to its Pong.", taken[0]),
        ("handshake_duration_seconds", "From accepting to an open websocket, TLS excepted.", taken[1]),
        ("http_request_duration_seconds", "From a request's head to the end of its answer.", taken[2]),
        ("event_loop_lag_seconds", f"How late a timer of {EVERY} s fires.", lag),
    )
    for name, text, histogram in histograms:
        metric = HistogramMetricFamily(PREFIX + name, text, labels=())
        if histogram is not None:
            buckets = [("+Inf" if bound == inf else str(bound), count) for bound, count in histogram.cumulative()]
            metric.add_metric((), buckets, histogram.sum)
        yield metric


def _by_route(value: Callable[[Totals], float]) -> _Samples:
    def samples(counts: Counts) -> Iterator[tuple[tuple[str, ...], float]]:
        for route, totals in counts.routes.items():
            yield (route or _APPLICATION,), value(totals)

    return samples


def _by_type(texts: Callable[[Totals], float], binaries: Callable[[Totals], float]) -> _Samples:
    def samples(counts: Counts) -> Iterator[tuple[tuple[str, ...], float]]:
        for route, totals in counts.routes.items():
            yield (route or _APPLICATION, "text"), texts(totals)
            yield (route or _APPLICATION, "binary"), binaries(totals)

    return samples


def _by_code(codes: Callable[[Totals], dict[int, int]]) -> _Samples:
    def samples(counts: Counts) -> Iterator[tuple[tuple[str, ...], float]]:
        for code, count in codes(counts.websockets()).items():
            yield (str(code) if code else "other",), count

    return samples


def _errors(counts: Counts) -> Iterator[tuple[tuple[str, ...], float]]:
    for route, totals in counts.routes.items():
        for name, count in totals.errors.items():
            yield (route or _APPLICATION, name), count


def _one(value: Callable[[Counts], float]) -> _Samples:
    return lambda counts: (((), value(counts)),)


_ROUTE = ("route",)

_GAUGES: tuple[tuple[str, str, tuple[str, ...], _Samples], ...] = (
    ("connections", "Websockets that are open or closing.", _ROUTE, _by_route(lambda of: of.open)),
    ("buffered_bytes", "Bytes sent that the operating system has not taken yet.", _ROUTE,
     _by_route(lambda of: of.buffered)),
    ("handshakes_in_progress", "Connections whose first request is not decided yet.", (),
     _one(lambda counts: counts.handshaking)),
    ("http_connections", "Connections that speak HTTP.", (), _one(lambda counts: counts.http_connections)),
)  # fmt: skip

_COUNTERS: tuple[tuple[str, str, tuple[str, ...], _Samples], ...] = (
    ("connections_opened", "Websockets that have been opened.", _ROUTE, _by_route(lambda of: of.opened)),
    ("connections_closed", "Websockets that have ended, by close code.", ("code",), _by_code(lambda of: of.closed)),
    ("close_frames_sent", "Close frames sent.", ("code",), _by_code(lambda of: of.close_sent)),
    ("close_frames_received", "Close frames received.", ("code",), _by_code(lambda of: of.close_received)),
    ("connection_errors", "Websockets ended by something other than a Close.", ("route", "error"), _errors),
    ("callback_errors", "Exceptions of callbacks and handlers of websockets.", _ROUTE,
     _by_route(lambda of: of.callback_errors)),
    ("handshakes_refused", "Upgrades and other first requests that were refused.", ("status",),
     lambda counts: (((str(status),), count) for status, count in counts.refused.items())),
    ("handshakes_abandoned", "Connections that ended before their first request was whole.", (),
     _one(lambda counts: counts.abandoned)),
    ("tls_handshakes_failed", "TLS handshakes that failed.", (), _one(lambda counts: counts.tls_failed)),
    ("messages_received", "Whole messages received.", ("route", "type"),
     _by_type(lambda of: of.texts_received, lambda of: of.binaries_received)),
    ("messages_sent", "Whole messages sent.", ("route", "type"),
     _by_type(lambda of: of.texts_sent, lambda of: of.binaries_sent)),
    ("messages_dropped", "Messages that slow peers were not sent.", _ROUTE, _by_route(lambda of: of.dropped)),
    ("received_bytes", "Bytes of frames received.", _ROUTE, _by_route(lambda of: of.bytes_read)),
    ("sent_bytes", "Bytes of frames sent.", _ROUTE, _by_route(lambda of: of.bytes_written)),
    ("http_requests", "HTTP requests answered.", ("method", "status"),
     lambda counts: counts.http_classes.items()),
    ("http_handler_errors", "HTTP handlers that raised.", (), _one(lambda counts: counts.http_errors)),
)  # fmt: skip


class LoopLag:
    """How late *loop* is, looked at each `EVERY` seconds, into *histogram*."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, histogram: Histogram, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._histogram = histogram
        self._clock = clock  # a loop's own stands still within a turn
        self._arm(clock())

    def _arm(self, now: float) -> None:
        self._due = now + EVERY
        self._timer = self._loop.call_later(EVERY, self._tick)

    def _tick(self) -> None:
        now = self._clock()
        self._histogram.observe(max(now - self._due, 0.0))
        self._arm(now)

    def stop(self) -> None:
        """Look no more; in the loop's thread."""
        self._timer.cancel()


_counted: WeakKeyDictionary[CollectorRegistry, Metrics] = WeakKeyDictionary()


def counted_in(registry: CollectorRegistry | None) -> tuple[CollectorRegistry, Metrics]:
    """A registry and what collects for it: all that name the same registry are counted together.

    Raises ``ImportError`` naming the extra where prometheus-client is missing, ``TypeError`` for what is no registry,
    and ``ValueError`` where another's metrics have our names.
    """
    try:
        from prometheus_client import CollectorRegistry
    except ImportError:
        raise ImportError(
            "metrics() needs prometheus-client, which is not installed: pip install 'firefly-ws[metrics]'"
        ) from None
    if registry is None:
        registry = CollectorRegistry(auto_describe=False)
    elif not isinstance(registry, CollectorRegistry):
        raise TypeError(f"metrics(registry={registry!r}) must be a prometheus_client.CollectorRegistry")
    metrics = _counted.get(registry)
    if metrics is None:
        metrics = Metrics()
        registry.register(metrics)
        _counted[registry] = metrics
    return registry, metrics


class Page:
    """Shows a registry: the text format, or OpenMetrics where ``Accept`` asks for it; ``?name[]=`` asks for some."""

    def __init__(self, registry: CollectorRegistry, of_others: bool) -> None:
        self._registry = registry
        self._of_others = of_others

    def __call__(self, request: Request) -> Any:
        """A `Response`, or a future of one."""
        if not self._of_others:
            return self._answer(request)
        # What others have registered may take its time, as prometheus-client's look at the process's files does.
        return asyncio.get_running_loop().run_in_executor(None, self._answer, request)

    def _answer(self, request: Request) -> Response:
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        names = request.query_all.get("name[]")
        registry: Any = self._registry.restricted_registry(names) if names else self._registry
        return Response(200, encode(registry), [("Cache-Control", "no-store")], content_type)
