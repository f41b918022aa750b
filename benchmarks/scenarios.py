"""What is measured, and what is asked of it: one table. Knows names, numbers and bounds; runs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OURS = "firefly"
PEERS = ("picows", "websockets", "aiohttp")
FLOOR = "c-floor"
"""The C echo server: no Python, no checks, two system calls a batch. What is left below it is the kernel's."""
EVERYBODY = (OURS, *PEERS)
KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Target:
    """`subject.metric`, or its ratio to `against.metric` of the same round, is at most or at least `bound`."""

    text: str
    metric: str
    bound: float
    at_most: bool = True
    subject: str = OURS
    against: str | None = None
    denominator: str | None = None
    """Another metric of the same subject to divide by, instead of another subject."""


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    kind: str
    """A key of `KINDS`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the load generator."""
    subjects: tuple[str, ...] = EVERYBODY
    reference: str = "picows"
    """Whom the column of ratios compares with."""
    targets: tuple[Target, ...] = ()
    most_rounds: int | None = None


@dataclass(frozen=True)
class Kind:
    """Which columns a kind of scenario has, and which of them says who is better."""

    columns: tuple[str, ...]
    compared: str
    higher_is_better: bool = False


KINDS = {
    "load": Kind(("rate", "cpu_us", "p50_us", "p99_us", "load_share"), "cpu_us"),
    "http": Kind(("rate", "cpu_us", "p50_us", "p99_us", "load_share"), "cpu_us"),
    "connect": Kind(("seconds", "cpu_us", "p50_us", "p99_us"), "seconds"),
    "churn": Kind(("rate", "cpu_us", "p50_us", "p99_us"), "cpu_us"),
    "idle": Kind(("idle_kib", "again_kib", "left_kib", "given_back"), "idle_kib"),
    "keepalive": Kind(("cpu_ms", "pings", "idle_kib"), "cpu_ms"),
    "client": Kind(("rate", "cpu_us"), "rate", higher_is_better=True),
}

COLUMN_TITLES = {
    "rate": "per second",
    "cpu_us": "CPU µs each",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "load_share": "load's core",
    "seconds": "seconds",
    "cpu_ms": "CPU ms a second",
    "pings": "Pings a second",
    "idle_kib": "KiB each",
    "again_kib": "KiB, 2nd fill",
    "left_kib": "KiB left",
    "given_back": "given back",
}


def _times(bound: float, text: str) -> tuple[Target, ...]:
    return (Target(text, "per_cpu_second", bound, at_most=False, against="picows"),)


def _small(connections: int, size: int) -> Scenario:
    return Scenario(
        f"single-{connections}-{size}",
        f"{connections} connections, 1 in flight, {size} B text",
        "load",
        {"connections": connections, "depth": 1, "size": size, "text": True},
        subjects=(*EVERYBODY, FLOOR),
        targets=(Target("CPU per message, of picows'", "cpu_us", 0.65, against="picows"),),
    )


def _asynchronous(depth: int, bound: float) -> Scenario:
    return Scenario(
        f"async-{depth}",
        f"`async def on_message` that awaits its send; 16 connections, {depth} in flight, 32 B text",
        "load",
        {"connections": 16, "depth": depth, "size": 32, "text": True},
        subjects=(OURS, "firefly-async"),
        reference=OURS,
        targets=(
            Target("CPU per message, of the plain callback's", "cpu_us", bound, subject="firefly-async", against=OURS),
        ),
    )


SCENARIOS = (
    Scenario(
        "burst-text",
        "16 connections, 16 in flight, 32 B text",
        "load",
        {"connections": 16, "depth": 16, "size": 32, "text": True},
        subjects=(OURS, "firefly-typed", *PEERS, FLOOR),
        targets=_times(8, "messages per CPU second, times picows'"),
    ),
    Scenario(
        "burst-binary",
        "16 connections, 16 in flight, 1 KiB binary",
        "load",
        {"connections": 16, "depth": 16, "size": KIB},
        subjects=(OURS, "firefly-typed", *PEERS, FLOOR),
        targets=_times(8, "messages per CPU second, times picows'"),
    ),
    _small(16, 32),
    _small(16, 256),
    _small(256, 32),
    _small(256, 256),
    Scenario(
        "large-64k",
        "8 connections, 4 in flight, 64 KiB binary",
        "load",
        {"connections": 8, "depth": 4, "size": 64 * KIB},
        subjects=(*EVERYBODY, FLOOR),
        targets=_times(1.2, "messages per CPU second, times picows'"),
    ),
    Scenario(
        "large-1m",
        "4 connections, 2 in flight, 1 MiB binary",
        "load",
        {"connections": 4, "depth": 2, "size": MIB},
        subjects=(*EVERYBODY, FLOOR),
        targets=_times(1, "messages per CPU second, times picows'"),
    ),
    _asynchronous(1, 1.5),
    _asynchronous(16, 2),
    Scenario(
        "deflate",
        "permessage-deflate without context takeover; 16 connections, 4 in flight, about 1 KB of JSON",
        "load",
        {"connections": 16, "depth": 4, "text": True, "deflate": True},
        subjects=("firefly-deflate", "websockets-deflate", "websockets-deflate1"),
        reference="websockets-deflate",
        targets=(
            Target(
                "CPU per message, of websockets'",
                "cpu_us",
                0.6,
                subject="firefly-deflate",
                against="websockets-deflate",
            ),
        ),
    ),
    Scenario(
        "chain",
        "fragment and permessage-deflate in a chain; 16 connections, 4 in flight, about 1 KB of JSON",
        "load",
        {"connections": 16, "depth": 4, "text": True, "deflate": True, "chain": True},
        subjects=("firefly-chain", "firefly-deflate"),
        reference="firefly-deflate",
    ),
    Scenario(
        "connect",
        "500 connects at one instant, until the last is upgraded",
        "connect",
        {"connections": 500},
        subjects=(*EVERYBODY, FLOOR),
        targets=(Target("seconds until all are upgraded", "seconds", 0.2),),
    ),
    Scenario(
        "churn",
        "accept, handshake, close; 8 at a time",
        "churn",
        {"connections": 8, "count": 4000},
        subjects=(*EVERYBODY, FLOOR),
        # 35 µs on the machine the target was set on, where picows took 75: the machine cancels out of the ratio.
        targets=(Target("CPU of one connection, of picows'", "cpu_us", 0.47, against="picows"),),
    ),
    Scenario(
        "churn-hooks",
        "the same with a parameter in the route, a plain on_upgrade, and an Origin that is sent and checked",
        "churn",
        {"connections": 8, "count": 4000, "path": "/room/garden", "origin": True},
        subjects=("firefly-hooks", "picows", FLOOR),
        targets=(
            Target("CPU of one connection, of picows'", "cpu_us", 0.54, subject="firefly-hooks", against="picows"),
        ),
    ),
    Scenario(
        "idle",
        "5,000 idle connections after their handshake",
        "idle",
        {"connections": 5000, "touch": 0},
        targets=(
            Target("KiB of an idle connection", "idle_kib", 4),
            # Whether what closed connections held serves those that come: an allocator may keep its pages, a column
            # ("given back") tells how many, but a second fill that needs new ones is a leak.
            Target("5,000 others take, of what the first took", "again_kib", 1.05, denominator="idle_kib"),
        ),
        most_rounds=1,
    ),
    Scenario(
        "idle-deflate",
        "2,000 idle connections that have echoed one compressed message",
        "idle",
        {"connections": 2000, "touch": 1, "text": True, "deflate": True},
        subjects=("firefly-deflate", "websockets-deflate"),
        reference="websockets-deflate",
        targets=(Target("KiB of an idle connection", "idle_kib", 12, subject="firefly-deflate"),),
        most_rounds=1,
    ),
    Scenario(
        "keepalive",
        "100,000 connections in memory with ping_interval=20, which answer Pings and say nothing else",
        "keepalive",
        {"connections": 100_000, "interval": 20},
        subjects=(OURS, "firefly-none"),
        reference="firefly-none",
        most_rounds=1,
    ),
    Scenario(
        "client",
        "one client, 1 in flight, 256 B binary, against the C echo server on the same core",
        "client",
        {"size": 256},
        targets=(Target("rate, of picows'", "rate", 1, at_most=False, against="picows"),),
    ),
    Scenario(
        "uvicorn",
        "a Starlette echo on uvicorn by its websocket classes and ours; 16 connections, 1 in flight, 32 B text",
        "load",
        {"connections": 16, "depth": 1, "size": 32, "text": True},
        subjects=("uvicorn-firefly", "uvicorn-websockets", "uvicorn-sansio", "uvicorn-wsproto", "firefly-starlette"),
        reference="uvicorn-websockets",
        targets=(
            Target(
                "messages per CPU second, times uvicorn's websockets'",
                "per_cpu_second",
                2,
                at_most=False,
                subject="uvicorn-firefly",
                against="uvicorn-websockets",
            ),
        ),
    ),
    Scenario(
        "http-get",
        "GET, 13 bytes of text on a route, beside uvicorn with a bare ASGI application; 16 connections, 1 in flight",
        "http",
        {"connections": 16, "depth": 1, "size": 13},
        subjects=("firefly-http", "firefly-asgi", "uvicorn-http"),
        reference="uvicorn-http",
        targets=(
            Target("rate, of uvicorn's", "rate", 1, at_most=False, subject="firefly-http", against="uvicorn-http"),
            Target("CPU per answer, of uvicorn's", "cpu_us", 1, subject="firefly-http", against="uvicorn-http"),
        ),
    ),
)
