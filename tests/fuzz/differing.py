"""Holds every way of receiving against the judge, on streams from a seed; knows no test.

The stages alone, a connection with callbacks, one whose callbacks take their time, one that is read by asking, for
messages or for pieces of them, a raw session, and one that sends all back: each gets the stream whole, a byte at a time
and in random cuts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import judge as judging
from fakes import Peer, turns
from judge import Event

from firefly_ws import ConnectionClosed, ConnectionState, ProtocolError
from firefly_ws._core.deflate import Deflate
from firefly_ws._core.probe import events
from firefly_ws.receiving import Receiving

from .streams import Case, cut

__all__ = ["WAYS", "Difference", "compare", "shrink"]

DROPPED = ("max_message_size", "max_text_message_size", "max_binary_message_size", "max_frame_size", "max_fragments")
PATIENT = {"max_queue": None, "write_timeout": None, "close_timeout": None}


class Difference(AssertionError):
    """A way of receiving disagrees with the judge."""

    def __init__(self, case: Case, way: str, how: str, got: object, expected: object) -> None:
        self.case = case
        super().__init__(
            f"{way}, {how}, differs from the judge\n  as {case.role} with {case.options}, cuts={case.cuts}\n"
            f"  stream   {' '.join(part.hex() for part in case.parts)}\n  got      {got!r}\n  expected {expected!r}"
        )


def _deflate(case: Case) -> Deflate | None:
    if not case.options.get("deflate"):
        return None
    takeover = case.options.get("takeover", False)
    return Deflate(decompress_takeover=takeover, compress_takeover=takeover, threshold=1)


def _peer(case: Case, **how: Any) -> Peer:
    limits = PATIENT | {name: case.options[name] for name in DROPPED if name in case.options}
    return Peer(is_client=case.role == "client", deflate=_deflate(case), limits=limits, **how)


async def _stages(case: Case, pieces: list[bytes], expected: list[Event]) -> tuple[object, object]:
    options = case.options
    limit = options.get("max_message_size", 1024 * 1024)
    text, binary = options.get("max_text_message_size"), options.get("max_binary_message_size")
    got = events(
        pieces,
        expect_masked=case.role == "server",
        deflate=_deflate(case),
        text_limit=limit if text is None else text,
        binary_limit=limit if binary is None else binary,
        max_frame_size=options.get("max_frame_size"),
        max_fragments=options.get("max_fragments", 131072),
    )
    return got, expected


class _Heard:
    """What the callbacks of a connection have heard, with the one that must come last."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closes = 0
        self.late: list[object] = []

    def put(self, *event: object) -> None:
        if self.closes:
            self.late.append(event)
        self.events.append(event)

    def closed(self, connection: Any, reason: Any) -> None:
        self.closes += 1

    def callbacks(self) -> dict[str, Any]:
        return {
            "text": lambda text, connection: self.put("text", text),
            "binary": lambda data, connection: self.put("binary", bytes(data)),
            "ping": lambda payload, connection: self.put("ping", bytes(payload)),
            "pong": lambda payload, connection: self.put("pong", bytes(payload)),
            "error": lambda connection, error: None,
            "close": self.closed,
        }


def _answered(peer: Peer, expected: list[Event]) -> tuple[Any, Any]:
    """What was sent for the peer's Close or violation, and for its pings, and what should have been."""
    # In one read, many pings may have one pong (RFC 6455 §5.5.3); the last is owed.
    pings = [event[1] for event in expected if event[0] == "ping"]
    pongs = [event[1] for event in peer.got if event[0] == "pong"]
    rest = iter(pings)
    in_order = all(any(pong == ping for ping in rest) for pong in pongs)
    got: tuple[object, ...] = (in_order, pongs[-1:], [event[1] for event in peer.got if event[0] == "close"])
    # A received code is echoed; a broken rule is told by its code.
    owed = [expected[-1][1]] if expected and expected[-1][0] in ("close", "error") else []
    return got, (True, pings[-1:], owed)


async def _end(peer: Peer) -> None:
    peer.connection.terminate()
    await turns(4)
    assert peer.connection.state is ConnectionState.CLOSED


async def _callbacks(case: Case, pieces: list[bytes], expected: list[Event]) -> tuple[object, object]:
    heard = _Heard()
    peer = _peer(case, **heard.callbacks())
    for piece in pieces:
        peer.feed(piece)
    await turns(2)
    seen = [event for event in expected if event[0] not in ("close", "error")]
    answers, owed = _answered(peer, expected)
    await _end(peer)
    return (heard.events, answers, heard.closes, heard.late), (seen, owed, 1, [])


async def _slow_callbacks(case: Case, pieces: list[bytes], expected: list[Event]) -> tuple[object, object]:
    """Each message waits for the one before it; control frames, and how the connection ends, do not overtake."""
    got: list[Event] = []
    working = 0

    async def hears(kind: str, message: Any) -> None:
        nonlocal working
        working += 1
        got.append((kind, message if isinstance(message, str) else bytes(message)))
        await asyncio.sleep(0)
        working -= 1

    ended: list[int] = []
    peer = _peer(
        case,
        text=lambda text, connection: hears("text", text),
        binary=lambda data, connection: hears("binary", data),
        close=lambda connection, reason: ended.append(working),
    )
    for piece in pieces:
        peer.feed(piece)
    await turns(4 + 3 * len(expected))
    answers, owed = _answered(peer, expected)
    await _end(peer)
    messages = [event for event in expected if event[0] in ("text", "binary")]
    return (got, answers, ended), (messages, owed, [0])


async def _asking(case: Case, pieces: list[bytes], expected: list[Event]) -> tuple[object, object]:
    peer = _peer(case, kind=Receiving, pull=True)
    got: list[Event] = []

    async def read() -> None:
        try:
            while True:
                message = await peer.connection.receive()
                got.append(("text", message) if isinstance(message, str) else ("binary", message))
        except ConnectionClosed:
            pass

    reader = asyncio.create_task(read())
    await turns(1)
    for piece in pieces:
        peer.feed(piece)
    await turns(3)
    answers, owed = _answered(peer, expected)
    await _end(peer)
    await asyncio.wait_for(reader, 5)
    if expected and expected[-1] == ("error", 1009):
        # A message above a limit is refused when it is asked for as a whole. What its rest breaks may come first.
        answers, owed = len(answers[2]), 1
    return (got, answers), ([event for event in expected if event[0] in ("text", "binary")], owed)


async def _in_pieces(case: Case, pieces: list[bytes], expected: list[Event]) -> tuple[object, object]:
    """No limit of a message holds for who takes its pieces: the judge is asked again, without."""
    unlimited = {name: None for name in DROPPED if name != "max_frame_size"}
    expected = judging.judge(case.data, case.role, **{**case.options, **unlimited})
    peer = _peer(case, kind=Receiving, pull=True)
    got: list[Event] = []

    async def read() -> None:
        while True:
            stream = peer.connection.receive_stream()
            try:
                parts = [piece async for piece in stream]
            except (ProtocolError, ConnectionClosed):
                return
            assert all(parts), "an empty piece"
            got.append(("text", "".join(parts)) if stream.is_text else ("binary", b"".join(parts)))

    reader = asyncio.create_task(read())
    await turns(1)
    for piece in pieces:
        peer.feed(piece)
    await turns(8 + 3 * len(case.parts))  # no message is read before the one before it has been taken
    answers, owed = _answered(peer, expected)
    await _end(peer)
    await asyncio.wait_for(reader, 5)
    if case.options.get("deflate"):
        # What is compressed is inflated when it is asked for; what the frames behind it break may come first.
        answers, owed = len(answers[2]), len(owed[2])
    return (got, answers), ([event for event in expected if event[0] in ("text", "binary")], owed)


async def _raw(case: Case, pieces: list[bytes], expected: list[Event]) -> tuple[object, object]:
    """No judge has a word on messages here: every cut must show the frames that the whole stream shows."""

    async def frames(given: list[bytes]) -> tuple[list[object], list[object]]:
        got: list[object] = []
        peer = _peer(case, raw=True, frame=lambda frame, connection: got.append(frame))
        for piece in given:
            peer.feed(piece)
        await turns(2)
        sent: list[object] = [event[1] for event in peer.got if event[0] == "close"]
        await _end(peer)
        return got, sent

    return await frames(pieces), await frames([case.data])


async def _sending_back(case: Case, pieces: list[bytes], expected: list[Event]) -> tuple[object, object]:
    """What goes out is read by the judge: masks, lengths and the compressor of our own."""
    peer = _peer(case, text=lambda text, conn: conn.send(text), binary=lambda data, conn: conn.send(data))
    for piece in pieces:
        peer.feed(piece)
    await turns(2)
    takeover = case.options.get("takeover", False)
    role = "server" if peer.is_client else "client"
    out = judging.judge(b"".join(peer.transport.writes), role, deflate=peer.deflated, takeover=takeover)
    await _end(peer)
    got = [event for event in out if event[0] not in ("pong", "close")]
    return got, [event for event in expected if event[0] in ("text", "binary")]


Way = Callable[[Case, list[bytes], list[Event]], Coroutine[Any, Any, tuple[object, object]]]
WAYS: dict[str, Way] = {
    "the stages": _stages,
    "callbacks": _callbacks,
    "callbacks that take their time": _slow_callbacks,
    "receive()": _asking,
    "receive_stream()": _in_pieces,
    "a raw session": _raw,
    "an echo": _sending_back,
}


async def compare(case: Case, ways: dict[str, Way] = WAYS) -> None:
    """Raises `Difference` where one of *ways* makes something else of *case* than the judge."""
    data = case.data
    expected = judging.judge(data, case.role, **case.options)
    for way, look in ways.items():
        for how, pieces in (
            ("whole", [data] if data else []),
            ("a byte at a time", cut(data, case.cuts, bytewise=True)),
            ("cut", cut(data, case.cuts, bytewise=False)),
        ):
            got, wanted = await look(case, pieces, expected)
            if got != wanted:
                raise Difference(case, way, how, got, wanted)


async def shrink(case: Case, ways: dict[str, Way] = WAYS) -> Difference | None:
    """The difference of *case* with as few frames and options as still show it; ``None`` where there is none."""
    smallest: Difference | None = None
    going = True
    while going:
        going = False
        smaller = [case.without(index) for index in range(len(case.parts))]
        smaller += [
            Case(case.role, case.parts, {k: v for k, v in case.options.items() if k != name}, case.cuts)
            for name in case.options
        ]
        for one in [case, *smaller] if smallest is None else smaller:
            try:
                await compare(one, ways)
            except Difference as difference:
                going = one is not case or going
                smallest, case = difference, one
                if one.parts is not case.parts or going:
                    break
    return smallest
