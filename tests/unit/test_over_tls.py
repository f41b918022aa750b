"""`OverTls` over a transport that is full as long as the one below it is: parts, order, the end behind all of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from firefly_ws.http.over_tls import LAST, PART, OverTls


class Tls:
    """As the loops': what it is given is out of sight at once unless the transport below, of *room* bytes, is full."""

    def __init__(self, room: int = 2 * PART) -> None:
        self.room = room
        self.below = self.kept = 0
        self.sent = b""
        self.ended: list[str] = []
        self.protocol: Any = None
        self.limits: tuple[int, int] | None = None

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.limits = (high, low)

    def write(self, data: bytes) -> None:
        assert len(data)
        assert not self.ended
        self.sent += data
        if self.below > self.room:
            self.kept += len(data)
        else:
            self.below += len(data)

    def get_write_buffer_size(self) -> int:
        return self.kept

    def taken(self) -> None:
        """The peer has read what the transport below held."""
        self.below, self.kept = self.kept, 0

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended.append("close")

    def abort(self) -> None:
        self.ended.append("abort")

    def get_extra_info(self, name: str) -> str:
        return f"its {name}"


def pair(room: int = 2 * PART) -> tuple[OverTls, Tls]:
    inner = Tls(room)
    return OverTls(inner), inner


def test_what_is_small_goes_at_once_and_the_rest_is_the_transports() -> None:
    one, inner = pair()
    assert inner.limits == (1, 0)
    one.write(b"x" * LAST)
    assert inner.below == LAST
    assert one.get_extra_info("peername") == "its peername"
    assert one.inner is inner
    one.close()
    assert inner.ended == ["close"]


def test_a_large_write_is_seen_until_its_last_part_has_left_and_is_closed_behind_it() -> None:
    one, inner = pair(room=0)
    data = bytes(range(256)) * 4000
    one.write(data)
    one.close()
    assert one.is_closing()
    seen = []
    while not inner.ended:
        seen.append(one.get_write_buffer_size())
        inner.taken()
        one.refill()
    assert inner.sent == data
    assert seen == sorted(seen, reverse=True)  # progress, as who looks for it sees it
    assert len(seen) > len(data) / PART
    assert inner.ended == ["close"]
    assert inner.below <= LAST


def test_a_farewell_of_the_client_is_answered_behind_all_that_waits() -> None:
    one, inner = pair(room=0)
    one.write(b"a" * PART * 4)
    assert len(inner.sent) < PART * 4
    one.give_all()
    assert len(inner.sent) == PART * 4
    assert one.get_write_buffer_size() == inner.kept


def test_what_ends_by_itself_is_not_closed_once_more() -> None:
    """asyncio's forgets then what it is to abort, and raises for who asks what it holds: a server's close() hung."""
    one, inner = pair()
    inner.ended.append("farewell")
    one.close()
    assert inner.ended == ["farewell"]


def test_a_single_byte_that_waits_below_holds_nothing_up() -> None:
    """A transport in memory is above its mark of 1 with two bytes, and calls nobody back for one."""
    one, inner = pair(room=0)
    inner.below = 1
    one.write(b"x" * (LAST + 1))
    inner.kept = 1
    one.refill()
    assert len(inner.sent) == LAST + 1
    one.close()
    inner.kept = 1
    assert one.refill()
    assert inner.ended[:1] == ["close"]


def test_abort_drops_what_waits() -> None:
    one, inner = pair(room=0)
    one.write(b"a" * PART * 4)
    one.abort()
    assert inner.ended == ["abort"]
    assert one.get_write_buffer_size() == inner.kept
    assert one.is_closing()


@given(st.lists(st.one_of(st.integers(0, 200_000), st.none()), max_size=20), st.integers(0, 300_000))
def test_everything_leaves_once_and_in_order(what: list[int | None], room: int) -> None:
    one, inner = pair(room)
    whole = b""
    for number, size in enumerate(what):
        if size is None:
            inner.taken()
            one.refill()
        elif size:
            data = bytes([number]) * size
            whole += data
            one.write(data)
    one.close()
    for _ in range(len(whole) // LAST + 10):
        if not inner.ended:
            inner.taken()
            one.refill()
    assert inner.sent == whole
    assert inner.ended == ["close"]
