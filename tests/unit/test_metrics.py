"""What a registry is told of servers, without a server, and the lag of a loop, without waiting."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from firefly_ws import Request, http_server
from firefly_ws._core.totals import Totals
from firefly_ws.counts import Counts, Histogram
from firefly_ws.http.headers import Headers
from firefly_ws.metrics import EVERY, LoopLag, Metrics, Page, counted_in


class Timers:
    """A loop, of which only its timers are asked for."""

    def __init__(self) -> None:
        self.set: list[Any] = []

    def call_later(self, delay: float, callback: Any) -> Any:
        self.set.append(callback)
        return self

    def cancel(self) -> None:
        self.set.clear()


class Served:
    """A server."""

    paths: list[str]

    def __init__(self, **counts: Any) -> None:
        self.paths = ["/chat"]
        self.is_over = False
        self._counts = Counts(**counts)

    def counts(self) -> Counts:
        return self._counts


def values(registry: CollectorRegistry) -> dict[str, float]:
    """Names with labels to values, by prometheus-client's own parser."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name.removeprefix('firefly_ws_')}{{{labels}}}"] = sample.value
    return found


def test_servers_of_one_registry_add_up_and_what_has_ended_is_kept() -> None:
    registry, metrics = counted_in(None)
    loop: Any = Timers()
    first, second = Served(refused={404: 2}), Served(refused={404: 1, 403: 1}, routes={"/x": Totals(), None: Totals()})
    for server in (first, second):
        metrics.began(server, loop)
    assert len(loop.set) == 1
    for over in (False, True):
        found = values(registry)
        assert found["handshakes_refused_total{status=404}"] == 3
        assert found["handshakes_refused_total{status=403}"] == 1
        for route in ("/chat", "/x", "asgi"):
            assert (f"connections{{route={route}}}" in found) is not (over and route == "/chat")
        for server in (first, second):
            server.is_over = True
            metrics.ended(server)
            metrics.ended(server)
        assert loop.set == []


def test_a_server_with_callbacks_that_go_on_is_asked_until_they_have_ended() -> None:
    registry, metrics = counted_in(None)
    server = Served(http_errors=1)
    loop: Any = Timers()
    metrics.began(server, loop)
    metrics.ended(server)
    assert loop.set == []
    server._counts.http_errors = 2
    assert values(registry)["http_handler_errors_total{}"] == 2
    server.is_over = True
    assert values(registry)["http_handler_errors_total{}"] == 2
    server._counts.http_errors = 3
    assert values(registry)["http_handler_errors_total{}"] == 2


def test_the_lag_of_a_loop_is_how_late_its_timer_is() -> None:
    now = 100.0
    timers: Any = Timers()
    histogram = Histogram()
    lag = LoopLag(timers, histogram, lambda: now)
    for late in (0.0, 0.2, -0.1):
        now += EVERY + late
        timers.set.pop()()
    assert histogram.sum == pytest.approx(0.2)
    assert [count for _, count in histogram.cumulative()][-1] == 3
    lag.stop()
    assert timers.set == []


def test_every_name_has_its_help_and_a_registry_finds_what_is_there_twice() -> None:
    registry = CollectorRegistry()
    _, metrics = counted_in(registry)
    assert counted_in(registry) == (registry, metrics)
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        assert family.name.startswith("firefly_ws_")
        assert family.documentation.endswith(".")
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Metrics())
    taken = CollectorRegistry()
    Gauge("firefly_ws_connections", "theirs", registry=taken)
    with pytest.raises(ValueError, match="Duplicated"):
        http_server().metrics(registry=taken)


def test_metrics_without_prometheus_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"pip install 'firefly-ws\[metrics\]'"):
        http_server().metrics()


def test_what_metrics_is_not_given_right_is_named() -> None:
    with pytest.raises(TypeError, match=r"registry='mine'\) must be a prometheus_client.CollectorRegistry"):
        http_server().metrics(registry="mine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"path=None\) needs registry="):
        http_server().metrics(None)
    with pytest.raises(ValueError, match="set already"):
        http_server().metrics().metrics("/more")
    with pytest.raises(ValueError, match="'/metrics' is already registered"):
        http_server().get("/metrics", lambda request: "").metrics()
    app = http_server()
    with pytest.raises(ValueError, match="must begin with"):
        app.metrics("metrics")
    app.metrics()  # nothing was set


async def test_the_page_speaks_what_is_asked_for_and_may_be_asked_for_some() -> None:
    registry, _ = counted_in(None)
    page = Page(registry, False)
    plain = page(Request("GET", "/metrics", Headers([("Accept", "*/*")])))
    assert (plain.status, plain.headers["cache-control"]) == (200, "no-store")
    assert plain.content_type.startswith("text/plain; version=")
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    opened = page(Request("GET", "/metrics", Headers([("Accept", accept)])))
    assert opened.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert opened.body.endswith(b"# EOF\n")
    some = page(Request("GET", "/metrics?name[]=firefly_ws_http_connections", Headers([])))
    assert [line for line in some.body.decode().splitlines() if line[0] != "#"] == ["firefly_ws_http_connections 0.0"]


async def test_what_others_have_registered_is_collected_in_a_thread() -> None:
    registry = CollectorRegistry()
    counted_in(registry)
    Counter("mine", "Mine.", registry=registry).inc(3)
    asked = Page(registry, True)(Request("GET", "/metrics", Headers([])))
    response = await asyncio.wait_for(asked, 10)
    assert b"mine_total 3.0\n" in response.body
