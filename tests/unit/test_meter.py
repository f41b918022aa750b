"""How fast a peer may send: what a burst holds, how it fills, and what a pause of ours is worth; on a test's clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from clock import wait
from fakes import ROLES, Peer, turns
from judge import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload

from firefly_ws import RateExceeded
from firefly_ws._core.probe import armed, pass_time, wheel_of


def metered(*, messages: float | None = None, size: float | None = None, burst: float = 1, how: str = "close",
            **more: Any) -> tuple[Peer, list[str]]:  # fmt: skip
    """A connection with these limits, and the texts its callback got."""
    got: list[str] = []
    limits = {"max_message_rate": messages, "max_byte_rate": size, "rate_burst": burst, "over_rate": how}
    callback = more.pop("text", lambda text, connection: got.append(text))
    return Peer(limits={**limits, **more.pop("limits", {})}, text=callback, **more), got


def ended(peer: Peer) -> Any:
    """The Close that the peer got."""
    return next((event for event in peer.got if event[0] == "close"), None)


@ROLES
async def test_a_burst_passes_and_what_is_more_ends_with_1008_and_says_which_limit(is_client: bool) -> None:
    peer, got = metered(messages=10, burst=2, is_client=is_client)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(25)])
    assert got == [str(number) for number in range(20)], "those before it are delivered"
    _, code, text = ended(peer)
    assert code == 1008
    assert "max_message_rate=10 a second for 2 s" in text
    error = peer.connection.error
    assert isinstance(error, RateExceeded)
    assert (error.limit, error.burst, error.option) == (10, 2, "max_message_rate")


async def test_the_bucket_fills_with_time_and_no_further_than_its_burst() -> None:
    peer, got = metered(messages=10)
    for _ in range(3):
        for _ in range(10):
            peer.send(TEXT, b"x")
        pass_time(100)
    assert len(got) == 30
    for _ in range(10):
        peer.send(TEXT, b"x")
    pass_time(0.55)
    for _ in range(5):
        peer.send(TEXT, b"x")
    assert ended(peer) is None
    peer.send(TEXT, b"x")
    assert ended(peer)[1] == 1008


async def test_pings_and_pongs_count_as_messages_and_a_close_and_further_fragments_do_not() -> None:
    peer, _ = metered(messages=3)
    peer.send(TEXT, b"a", fin=False)
    peer.send(PING)
    for _ in range(9):
        peer.send(CONT, b"a", fin=False)
    peer.send(PONG)
    assert ended(peer) is None
    peer.send(CLOSE, close_payload(1000))
    assert ended(peer)[1] == 1000
    peer, _ = metered(messages=3)
    peer.feed(*[peer.frame(PING)] * 4)
    assert ended(peer)[1] == 1008


async def test_bytes_are_counted_as_on_the_wire_and_as_they_come() -> None:
    peer, got = metered(size=1000)
    for _ in range(10):
        peer.send(TEXT, b"x" * 94)  # with a head of 6: 100
    assert ended(peer) is None
    peer.send(TEXT)
    assert ended(peer)[1] == 1008
    peer, got = metered(size=1000)
    large = peer.frame(TEXT, b"x" * 3000)
    for at in range(0, len(large), 500):
        peer.feed(large[at : at + 500])
        pass_time(0.5)
    assert len(got) == 1
    assert ended(peer) is None
    peer.feed(large[:1200])
    assert ended(peer)[1] == 1008


async def test_a_rate_below_one_a_burst_is_still_one_message() -> None:
    peer, got = metered(messages=0.1)
    peer.send(TEXT, b"1")
    pass_time(10)
    peer.send(TEXT, b"2")
    assert got == ["1", "2"]
    peer.send(TEXT, b"3")
    assert ended(peer)[1] == 1008


@ROLES
async def test_a_pause_stops_reading_until_the_debt_is_paid_and_loses_nothing(is_client: bool) -> None:
    peer, got = metered(messages=10, how="pause", is_client=is_client)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(25)])
    assert len(got) == 11
    assert not peer.transport.reading
    await wait(0.05)
    assert len(got) == 11
    await wait(0.08)
    assert len(got) == 12
    await wait(0.65)
    assert 17 <= len(got) <= 19
    for _ in range(10):
        await wait(0.12)
    assert got == [str(number) for number in range(25)]
    assert peer.transport.reading
    assert ended(peer) is None


async def test_a_large_frame_is_paused_in_its_middle() -> None:
    peer, got = metered(size=1000, how="pause")
    large = peer.frame(TEXT, b"x" * 5000)
    peer.feed(large[:2000])
    assert not peer.transport.reading
    await wait(0.9)
    assert not peer.transport.reading
    await wait(0.2)
    assert peer.transport.reading
    peer.feed(large[2000:])
    assert len(got) == 1


@pytest.mark.parametrize("how", ["eof", "lost"])
async def test_behind_the_end_what_has_come_does_not_wait(how: str) -> None:
    peer, got = metered(messages=10, how="pause")
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(25)])
    assert len(got) == 11
    if how == "eof":
        peer.eof()
    else:
        peer.lose()
    await turns()
    assert len(got) == 25
    assert armed(wheel_of(asyncio.get_running_loop())) is None
    peer.lose()
    await turns()


async def test_behind_our_close_nothing_is_counted_and_reading_goes_on() -> None:
    peer, got = metered(messages=10, how="pause")
    peer.feed(*[peer.frame(TEXT, b"x")] * 25)
    ending = peer.connection.close()
    assert peer.transport.reading
    await turns()
    peer.feed(*[peer.frame(TEXT, b"x")] * 100, peer.frame(CLOSE, close_payload(1000)))
    assert (await ending).code == 1000
    assert len(got) == 11


async def test_what_waited_while_we_did_not_read_does_not_end_the_connection() -> None:
    peer, got = metered(messages=10)
    peer.connection.pause_reading()
    pass_time(10)
    peer.connection.resume_reading()
    await turns()
    peer.feed(*[peer.frame(TEXT, b"x")] * 105)
    assert len(got) == 105
    assert ended(peer) is None
    pass_time(20)
    peer.feed(*[peer.frame(TEXT, b"x")] * 11)
    assert ended(peer)[1] == 1008, "the credit is not kept"


async def test_a_callback_that_pends_and_a_throttle_go_together() -> None:
    gate = asyncio.Event()
    got: list[str] = []

    async def on_text(text: str, connection: Any) -> None:
        got.append(text)
        await gate.wait()

    peer, _ = metered(messages=2, how="pause", text=on_text)
    peer.feed(*[peer.frame(TEXT, b"%d" % number) for number in range(6)])
    assert got == ["0"]
    gate.set()
    await turns(10)
    assert got == ["0", "1", "2"]
    for _ in range(12):
        await wait(0.55)
        await turns(5)
    assert got == ["0", "1", "2", "3", "4", "5"]


async def test_it_stands_before_on_frame_and_in_raw_sessions() -> None:
    seen: list[Any] = []
    peer, got = metered(messages=1, frame=lambda frame, connection: seen.append(frame))
    peer.feed(*[peer.frame(TEXT, b"x")] * 2)
    assert (len(seen), len(got), ended(peer)[1]) == (1, 1, 1008)
    peer, _ = metered(messages=1, raw=True, binary=lambda frame, connection: seen.append(frame), text=None)
    peer.feed(*[peer.frame(BINARY, b"x")] * 2)
    assert (len(seen), ended(peer)[1]) == (2, 1008)
