"""What Prometheus reads of a server, over sockets: exact after a session that is known."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from http_support import answer, request
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format
from support import (
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
    url_of,
)

from firefly_ws import HandshakeError, Server, http_client, http_server


async def scraped(server: Server, accept: str = "*/*", path: str = "/metrics") -> dict[str, float]:
    """What the page says: names and values of labels, to numbers."""
    async with raw_client(server.port) as peer:
        peer.send(request("GET", path, accept=accept))
        got = await answer(peer, "GET")
    assert got.status == 200
    text = got.body.decode()
    found: dict[str, float] = {}
    for family in (open_metrics if text.endswith("# EOF\n") else text_format)(text):
        for sample in family.samples:
            name = " ".join([sample.name.removeprefix("firefly_ws_"), *sample.labels.values()])
            assert name not in found
            found[name] = sample.value
    return found


async def test_every_count_is_exact_after_a_session_of_all_kinds() -> None:
    def on_message(frame: Any, connection: Any) -> Any:
        if frame.payload == b"fail":
            raise ValueError("secret")
        return connection.send_frame(frame)

    def broken(asked: Any) -> None:
        raise ValueError("secret")

    app = (
        http_server().metrics().get("/page", lambda _: "x").get("/broken", broken)
        .websocket("/chat/{room}").on_message(on_message).max_message_size(2000).origins("https://a.example")
    )  # fmt: skip
    async with app.listen("127.0.0.1", 0) as server:
        before = await scraped(server)
        assert before["connections /chat/{room}"] == before["messages_sent_total /chat/{room} text"] == 0
        with logged():
            for extensions in ([], ["permessage-deflate"]):
                client = http_client().websocket(url_of(server, "/chat/secret")).extensions(extensions)
                async with client.connect() as connection:
                    for message in ("a", "b" * 1000, b"c"):
                        connection.send(message)
                        await soon(connection.receive())
                    (theirs,) = server.connections
                    await soon(theirs.ping())
                    assert (await scraped(server))["connections /chat/{room}"] == 1
            client = http_client().websocket(url_of(server, "/chat/x"))
            for last in ("fail", "x" * 2001):
                failing = await client.connect()
                failing.send(last)
                await soon(failing.wait_closed())
            for path, origin in (("/nothing", None), ("/chat/x", "https://b.example")):
                refused = http_client().websocket(url_of(server, path))
                with pytest.raises(HandshakeError):
                    await (refused.origin(origin) if origin else refused).connect()
            async with raw_client(server.port) as peer:
                peer.send(upgrade("/chat/x", sec_websocket_version="8"))
                await soon(peer.rest())
            async with raw_client(server.port) as peer:
                peer.send(b"GET /")
                await eventually(lambda: server.stats()["handshaking"] == 1)
            async with raw_client(server.port) as peer:
                for method, path in (("GET", "/page"), ("HEAD", "/page"), ("POST", "/page"), ("GET", "/broken")):
                    peer.send(request(method, path))
                    await answer(peer, method)
        await eventually(lambda: not server.stats()["connections"] and server.stats()["abandoned"])
        for accept in ("*/*", "application/openmetrics-text;version=1.0.0"):
            found = await scraped(server, accept)
            route = "/chat/{room}"
            expected = {
                f"connections {route}": 0, f"connections_opened_total {route}": 4, f"buffered_bytes {route}": 0,
                "connections_closed_total 1000": 2, "connections_closed_total 1011": 1,
                "connections_closed_total 1006": 1, "close_frames_sent_total 1000": 2,
                "close_frames_sent_total 1011": 1, "close_frames_sent_total 1009": 1,
                "close_frames_received_total 1000": 2, f"callback_errors_total {route}": 1,
                f"connection_errors_total callback {route}": 1, f"connection_errors_total MessageTooBig {route}": 1,
                "handshakes_refused_total 404": 1, "handshakes_refused_total 403": 1,
                "handshakes_refused_total 426": 1, "handshakes_abandoned_total": 1,
                f"messages_received_total {route} text": 5, f"messages_received_total {route} binary": 2,
                f"messages_sent_total {route} text": 4, f"messages_sent_total {route} binary": 2,
                f"messages_dropped_total {route}": 0, "http_requests_total HEAD 2xx": 1,
                "http_requests_total POST 4xx": 1, "http_requests_total GET 5xx": 1, "http_handler_errors_total": 1,
                "ping_latency_seconds_count": 2, "ping_latency_seconds_bucket +Inf": 2,
                "handshake_duration_seconds_count": 4, "tls_handshakes_failed_total": 0,
            }  # fmt: skip
            assert {name: found.get(name) for name in expected} == expected
            answered = sum(value for name, value in found.items() if name.startswith("http_requests_total"))
            assert found["http_request_duration_seconds_count"] == answered
            assert found[f"received_bytes_total {route}"] == server.stats()["bytes_read"]
            assert found[f"sent_bytes_total {route}"] == server.stats()["bytes_written"]
            assert not [name for name in found if "secret" in name]


async def test_servers_with_one_registry_are_read_at_another_port_and_are_kept_when_they_have_closed() -> None:
    registry = CollectorRegistry()
    public = http_server().metrics(None, registry=registry).websocket("/").discard()
    inside = http_server().metrics("/internal", registry=registry)
    async with inside.listen("127.0.0.1", 0) as scrapes:
        for opened in (1, 2):
            async with public.listen("127.0.0.1", 0) as server:
                async with http_client().websocket(url_of(server)).connect():
                    assert (await scraped(scrapes, path="/internal"))["connections /"] == 1
                async with raw_client(server.port) as peer:
                    peer.send(request("GET", "/internal"))
                    assert (await answer(peer, "GET")).status == 404
            found = await scraped(scrapes, path="/internal")
            assert (found["connections /"], found["connections_opened_total /"]) == (0, opened)


async def test_a_loop_that_is_blocked_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firefly_ws.metrics.EVERY", 0.001)
    app = http_server().metrics()
    async with app.listen("127.0.0.1", 0) as server:
        found: dict[str, float] = {}
        async with asyncio.timeout(10):
            while not found.get("event_loop_lag_seconds_count"):
                found = await scraped(server)
        assert found["event_loop_lag_seconds_bucket +Inf"] == found["event_loop_lag_seconds_count"]
