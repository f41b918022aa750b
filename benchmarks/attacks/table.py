"""The table of attacks: name, what it is, the bound that stops it, whom else it can be tried on. Knows no process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.attacks import crowds, floods

MEMORY = 4.0  # MiB that an attack may cost
WAIT = 20.0  # milliseconds that the well-behaved client may wait

ALL = ("picows", "websockets", "aiohttp")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack."""

    name: str
    title: str
    bound: str
    """What of ours stops it."""
    run: Callable[[int, int], dict[str, Any]]
    """``run(port, pid)`` gives ``saw`` and whatever else was found out."""
    server: str = "plain"
    peers: tuple[str, ...] = ALL
    limit: float = 90.0
    """Seconds for the attack."""


ATTACKS = (
    Attack(
        name="crowd",
        title="2,000 idle connections, and 500 heads that come byte by byte",
        run=crowds.idle_crowd,
        bound="memory of an idle connection",
    ),
    Attack(name="silence", title="500 connections that say nothing", run=crowds.silence, bound="`open_timeout`"),
    Attack(
        name="slow-heads",
        title="500 heads, a byte a second",
        run=crowds.slow_heads,
        bound="`open_timeout`",
    ),
    Attack(
        name="tls",
        title="200 handshakes of TLS that stop in the middle",
        run=crowds.unfinished_tls,
        bound="`open_timeout`",
        server="tls",
        peers=("websockets", "aiohttp"),
    ),
    Attack(
        name="pings",
        title="a million Pings, no Pong is read",
        run=floods.ping_flood,
        bound="one Pong is owed at most",
    ),
    Attack(
        name="pings-read",
        title="a million Pings, all Pongs are read",
        run=floods.ping_flood_read,
        bound="work of a turn",
    ),
    Attack(
        name="never-read",
        title="a GiB to be echoed, nothing is read",
        run=floods.never_read,
        bound="`write_high_water`, `write_timeout`",
    ),
    Attack(
        name="byte-reader",
        title="a GiB to be echoed, a byte a second is read",
        run=floods.byte_reader,
        bound="`write_high_water`",
    ),
    Attack(name="echo", title="a GiB to be echoed, all is read", run=floods.all_read, bound="work of a turn"),
    Attack(
        name="empty-fragments",
        title="a message of a million empty fragments",
        run=floods.empty_fragments,
        bound="`max_fragments`",
    ),
    Attack(
        name="tiny-fragments",
        title="a message of a million fragments of a byte",
        run=floods.tiny_fragments,
        bound="`max_fragments`",
    ),
    Attack(
        name="tiny-frames",
        title="a million messages of a byte at once",
        run=floods.tiny_frames,
        bound="work of a turn",
    ),
    Attack(
        name="tiny-unread",
        title="20 million messages of a byte, nothing is read",
        run=floods.tiny_frames_unread,
        bound="`write_high_water`",
    ),
    Attack(
        name="bomb",
        title="1 MiB that inflates to 1 GiB",
        run=floods.bomb,
        bound="`max_message_size`",
        peers=("websockets", "aiohttp"),
    ),
    Attack(
        name="bombs",
        title="2,000 messages of half a MiB, compressed to one MiB",
        run=floods.bombs_in_a_row,
        bound="inflating of a turn",
        peers=("websockets", "aiohttp"),
    ),
    Attack(
        name="idle-deflate",
        title="500 connections that have used permessage-deflate",
        run=crowds.idle_deflate,
        bound="compressors are shared",
        peers=("websockets", "aiohttp"),
    ),
    Attack(
        name="headers",
        title="header lines without end",
        run=floods.endless_head,
        bound="`max_header_size`, `max_header_count`",
    ),
    Attack(name="line", title="a request line without end", run=floods.endless_line, bound="`max_header_size`"),
    Attack(
        name="body",
        title="a body without end",
        run=floods.endless_body,
        bound="`max_body_size`",
        server="http",
        peers=("aiohttp",),
    ),
    Attack(
        name="pipelined",
        title="10,000 GETs at once",
        run=floods.pipelined,
        bound="requests of a turn",
        server="http",
        peers=("aiohttp",),
    ),
    Attack(
        name="pipelined-unread",
        title="GETs without end, nothing is read",
        run=floods.pipelined_unread,
        bound="answers that wait",
        server="http",
        peers=("aiohttp",),
    ),
    Attack(
        name="handshakes",
        title="5,000 times connect, upgrade, reset",
        run=crowds.handshake_flood,
        bound="accepts of a turn",
    ),
    Attack(name="at-once", title="500 connects at one instant", run=crowds.five_hundred, bound="accepts of a turn"),
    Attack(name="burst", title="1,000 connects at one instant", run=crowds.thousand, bound="`backlog`"),
    Attack(
        name="vanished",
        title="100 stopped clients with answers unread, with `ping_interval(1)` and `ping_timeout(1)`",
        run=crowds.vanished,
        bound="`ping_timeout`",
        server="keepalive",
        peers=(),
    ),
    Attack(
        name="descriptors",
        title="200 connections to a server with 64 open files",
        run=crowds.descriptors,
        bound="accepting pauses for a second",
        server="few",
    ),
)
