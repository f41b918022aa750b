"""What can be done to the bytes of a connection in memory: split, delayed, held, changed, cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes import turns
from hypothesis import given, settings
from hypothesis import strategies as st
from test_transports import Ear, pair

from firefly_ws.testing import Link

Run = Callable[[Callable[[], Any]], None]


class Pieces(Ear):
    """Keeps the reads apart."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)


async def pieces_of(link: Link, data: bytes) -> list[bytes]:
    near, far = Ear(), Pieces()
    link.connect(near, far)
    await turns()
    near.transport.write(data)
    while sum(map(len, far.pieces)) < len(data):  # noqa: ASYNC110
        await asyncio.sleep(0)
    near.transport.close()
    await turns(4)
    return far.pieces


def test_split_delivers_pieces_of_its_size(run: Run) -> None:
    async def main() -> None:
        assert await pieces_of(Link().split(3), b"abcdefgh") == [b"abc", b"def", b"gh"]
        sizes = iter([1, 0, 4, 2])
        assert await pieces_of(Link().split(lambda: next(sizes)), b"abcdefgh") == [b"a", b"b", b"cdef", b"gh"]
        assert await pieces_of(Link().split(3).split(), b"abcdefgh") == [b"abcdefgh"]

    run(main)


def test_split_by_a_seed_is_the_same_each_time(run: Run) -> None:
    async def main() -> None:
        data = bytes(range(256))
        first, again = await pieces_of(Link().split(seed=7), data), await pieces_of(Link().split(seed=7), data)
        assert first == again
        assert b"".join(first) == data
        assert len({len(piece) for piece in first}) > 1
        assert max(map(len, await pieces_of(Link().split(5, seed=7), data))) <= 5

    run(main)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=50), max_size=8),
    st.integers(1, 64),
    st.integers(1, 200),
    st.lists(st.sampled_from([0.0, 0.0, 0.0001, 0.0003]), min_size=1, max_size=4),
)
def test_no_split_delay_or_capacity_changes_what_arrives(
    writes: list[bytes], size: int, capacity: int, delays: list[float]
) -> None:
    async def main() -> None:
        turn = iter(delays * 1000)
        link = Link(capacity=capacity).split(size, seed=size).delay(lambda: next(turn))
        near, far = await pair(link)
        for data in writes:
            near.transport.write(data)
        near.transport.close()
        while "lost" not in far.heard or not near.heard:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert far.got == b"".join(writes)
        assert far.heard == ["eof", "lost"]

    asyncio.run(main())


def test_delay_keeps_the_order_of_what_was_written(run: Run) -> None:
    async def main() -> None:
        seconds = iter([0.01, 0.0, 0.005])
        link = Link()
        link.to_server.delay(lambda: next(seconds))
        near, far = await pair(link)
        sooner: list[bytes] = []
        asyncio.get_running_loop().call_later(0.007, lambda: sooner.append(far.got))
        for data in (b"a", b"b", b"c"):
            near.transport.write(data)
        near.transport.close()
        while not far.heard:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert far.got == b"abc"
        assert sooner == [b""]
        await turns()

    run(main)


def test_a_delay_in_seconds_holds_for_each_write_and_0_ends_it(run: Run) -> None:
    async def main() -> None:
        link = Link().delay(0.006)
        near, far = await pair(link)
        sooner: list[bytes] = []
        asyncio.get_running_loop().call_later(0.003, lambda: sooner.append(far.got))
        near.transport.write(b"a")
        while not far.got:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert sooner == [b""]
        link.delay(0)
        near.transport.write(b"b")
        await turns()
        assert far.got == b"ab"

    run(main)


def test_an_end_that_pauses_gets_nothing_more_though_it_was_on_its_way(run: Run) -> None:
    async def main() -> None:
        near, far = await pair()
        near.transport.write(b"x")
        far.transport.pause_reading()
        far.transport.pause_reading()
        await turns()
        assert far.got == b""
        far.transport.resume_reading()
        await turns()
        assert far.got == b"x"

    run(main)


def test_what_is_held_arrives_when_it_is_released(run: Run) -> None:
    async def main() -> None:
        link = Link()
        near, far = await pair(link)
        near.transport.write(b"before ")
        link.hold()
        near.transport.write(b"after")
        near.transport.close()
        await turns(5)
        assert (far.got, far.heard, link.to_server.passed) == (b"", [], 0)
        link.release()
        await turns(5)
        assert (far.got, far.heard, link.to_server.passed) == (b"before after", ["eof", "lost"], 12)

    run(main)


def test_change_sees_each_piece_and_may_replace_or_lose_it(run: Run) -> None:
    async def main() -> None:
        seen: list[bytes] = []
        answers = iter([None, b"XX", b""])

        def change(data: bytes) -> bytes | None:
            seen.append(data)
            return next(answers)

        link = Link().split(2)
        link.to_server.change(change)
        near, far = await pair(link)
        near.transport.write(b"aabbcc")
        await turns(6)
        assert (seen, far.got) == ([b"aa", b"bb", b"cc"], b"aaXX")

    run(main)


def test_a_cut_is_seen_though_the_link_is_held(run: Run) -> None:
    async def main() -> None:
        link = Link().hold()
        near, far = await pair(link)
        near.transport.write(b"lost")
        link.cut()
        await turns(5)
        assert (near.heard, far.heard, far.got) == (["eof", "lost"], ["eof", "lost"], b"")

    run(main)


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_loses_what_is_in_flight_and_both_ends_see_it(run: Run, reset: bool) -> None:
    async def main() -> None:
        link = Link()
        near, far = await pair(link)
        near.transport.write(b"lost")
        link.cut(reset=reset)
        assert near.heard == far.heard == []
        near.transport.write(b"also lost" * 100000)
        await turns(5)
        assert near.heard == far.heard == (["ConnectionResetError"] if reset else ["eof", "lost"])
        assert near.got == far.got == b""

    run(main)


def test_a_cut_comes_behind_exactly_so_many_bytes(run: Run) -> None:
    async def main() -> None:
        link = Link()
        near, far = await pair(link)
        near.transport.write(b"12")
        await turns()
        link.to_server.cut(after=3)
        near.transport.write(b"34567")
        await turns(6)
        assert (far.got, far.heard, near.heard) == (b"12345", ["eof", "lost"], ["eof", "lost"])

    run(main)


def test_a_cut_may_be_set_before_the_link_is_connected(run: Run) -> None:
    async def main() -> None:
        near, far = await pair(Link().cut(reset=True))
        await turns()
        assert near.heard == far.heard == ["ConnectionResetError"]

    run(main)


def test_a_writer_that_waits_for_room_is_released_by_a_cut(run: Run) -> None:
    async def main() -> None:
        link = Link(capacity=10)
        near, far = await pair(link, stays=True)
        far.transport.pause_reading()
        near.transport.write(bytes(100_000))
        assert near.heard == ["pause"]
        link.cut()
        await turns(5)
        assert near.heard == ["pause", "resume", "eof"] or near.heard == ["pause", "eof", "resume"]
        near.transport.close()
        far.transport.close()
        await turns()
        assert far.got == b""

    run(main)


def test_a_link_connects_once(run: Run) -> None:
    async def main() -> None:
        link = Link()
        await pair(link)
        with pytest.raises(RuntimeError, match="one for each connection"):
            link.connect(Ear(), Ear())

    run(main)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Link(capacity=0), ValueError, "capacity=0"),
        (lambda: Link(capacity=True), ValueError, "capacity=True"),
        (lambda: Link().split(0), ValueError, "at least 1 byte"),
        (lambda: Link().split("x"), TypeError, "'x'"),
        (lambda: Link().delay(-1), ValueError, "-1"),
        (lambda: Link().delay(float("nan")), ValueError, "nan"),
        (lambda: Link().delay("x"), TypeError, "'x'"),
        (lambda: Link().to_server.cut(-1), ValueError, "-1"),
        (lambda: Link().to_server.cut("x"), TypeError, "'x'"),
        (lambda: Link().to_server.change(1), TypeError, "change"),
    ],
)
def test_a_bad_value_is_refused_by_the_call_that_got_it(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
