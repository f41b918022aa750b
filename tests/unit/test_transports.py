"""Transports in memory keep asyncio's promises to a protocol: order, water marks, half-closing, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes import turns

from firefly_ws.testing import Link, MemoryTransport

Run = Callable[[Callable[[], Any]], None]


class Ear(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self, *, stays: bool = False) -> None:
        self.stays = stays
        self.heard: list[Any] = []
        self.got = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return self.stays

    def connection_lost(self, error: Exception | None) -> None:
        self.heard.append("lost" if error is None else type(error).__name__)

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")


async def pair(link: Link | None = None, *, stays: bool = False) -> tuple[Ear, Ear]:
    near, far = Ear(stays=stays), Ear(stays=stays)
    (link or Link()).connect(near, far)
    await turns()
    return near, far


def test_what_one_end_writes_the_other_gets_in_order_and_not_within_the_call(run: Run) -> None:
    async def main() -> None:
        near, far = await pair()
        near.transport.write(b"one ")
        near.transport.writelines([b"two ", bytearray(b"three "), memoryview(b"four")])
        far.transport.write(b"back")
        assert far.got == near.got == b""
        await turns()
        assert far.got == b"one two three four"
        assert near.got == b"back"

    run(main)


def test_the_ends_know_each_others_addresses_and_their_protocols(run: Run) -> None:
    async def main() -> None:
        near, far = await pair(Link(client_address=("192.0.2.1", 1), server_address="/run/server"))
        assert near.transport.get_extra_info("sockname") == far.transport.get_extra_info("peername") == ("192.0.2.1", 1)
        assert near.transport.get_extra_info("peername") == far.transport.get_extra_info("sockname") == "/run/server"
        assert near.transport.get_extra_info("socket") is None
        assert near.transport.get_protocol() is near
        other = Ear()
        far.transport.set_protocol(other)
        near.transport.write(b"x")
        await turns()
        assert (far.got, other.got) == (b"", b"x")
        assert "open" in repr(near.transport)

    run(main)


def test_a_write_above_high_water_waits_until_the_other_end_reads(run: Run) -> None:
    async def main() -> None:
        near, far = await pair(Link(capacity=100))
        far.transport.pause_reading()
        assert not far.transport.is_reading()
        near.transport.set_write_buffer_limits(high=50, low=10)
        assert near.transport.get_write_buffer_limits() == (10, 50)
        near.transport.write(bytes(100))
        near.transport.write(bytes(50))
        await turns()
        assert (near.heard, near.transport.get_write_buffer_size(), far.got) == ([], 50, b"")
        near.transport.write(b"x")
        assert near.heard == ["pause"]
        far.transport.resume_reading()
        assert far.got == b""
        await turns(5)
        assert near.heard == ["pause", "resume"]
        assert far.got == bytes(150) + b"x"
        assert near.transport.get_write_buffer_size() == 0

    run(main)


@pytest.mark.parametrize(
    ("given", "limits"),
    [({}, (16384, 65536)), ({"low": 5}, (5, 20)), ({"high": 8}, (2, 8)), ({"high": 0}, (0, 0))],
)
def test_water_marks_have_asyncios_defaults(run: Run, given: dict[str, int], limits: tuple[int, int]) -> None:
    async def main() -> None:
        near, _ = await pair()
        near.transport.set_write_buffer_limits(**given)
        assert near.transport.get_write_buffer_limits() == limits
        with pytest.raises(ValueError, match="low=5"):
            near.transport.set_write_buffer_limits(high=4, low=5)

    run(main)


def test_close_sends_what_was_written_first_and_hears_nothing_more(run: Run) -> None:
    async def main() -> None:
        near, far = await pair(Link(capacity=3))
        near.transport.write(b"goodbye")
        near.transport.close()
        assert near.transport.is_closing()
        far.transport.write(b"too late")
        near.transport.write(b"ignored")
        near.transport.close()
        near.transport.write_eof()
        await turns(12)
        assert (far.got, far.heard) == (b"goodbye", ["eof", "lost"])
        assert (near.got, near.heard) == (b"", ["lost"])
        assert "closed" in repr(near.transport)

    run(main)


def test_an_end_that_has_paused_and_closes_takes_what_waits_for_it_so_that_the_other_can_end(run: Run) -> None:
    async def main() -> None:
        for end in ("close", "abort"):
            near, far = await pair(Link(capacity=3), stays=True)
            far.transport.pause_reading()
            near.transport.write(b"more than the link holds")
            near.transport.close()
            await turns(12)
            assert near.heard == []
            getattr(far.transport, end)()
            await turns(30)
            assert (near.heard, far.heard, far.got) == (["ConnectionResetError"], ["lost"], b"")

    run(main)


def test_abort_loses_what_waits_and_not_what_is_in_flight(run: Run) -> None:
    async def main() -> None:
        near, far = await pair(Link(capacity=3))
        near.transport.write(b"abcdef")
        near.transport.abort()
        near.transport.abort()
        assert near.heard == []
        await turns(5)
        assert (near.heard, far.heard, far.got) == (["lost"], ["eof", "lost"], b"abc")

    run(main)


def test_write_eof_ends_one_direction_behind_what_waits(run: Run) -> None:
    async def main() -> None:
        near, far = await pair(Link(capacity=3), stays=True)
        assert near.transport.can_write_eof()
        near.transport.write(b"request")
        near.transport.write_eof()
        near.transport.write_eof()
        with pytest.raises(RuntimeError, match="behind write_eof"):
            near.transport.write(b"more")
        await turns(8)
        assert (far.got, far.heard) == (b"request", ["eof"])
        far.transport.write(b"answer")
        await turns(6)
        assert near.got == b"answer"
        far.transport.close()
        near.transport.close()
        await turns()
        assert far.heard == ["eof", "lost"]

    run(main)


def test_bytes_for_a_closed_end_come_back_as_a_reset(run: Run) -> None:
    async def main() -> None:
        near, far = await pair(stays=True)
        far.transport.close()
        await turns()
        assert near.heard == ["eof"]
        near.transport.write(b"anybody there?")
        await turns(4)
        assert near.heard == ["eof", "ConnectionResetError"]
        near.transport.write(b"no")
        assert near.heard == ["eof", "ConnectionResetError"]

    run(main)


def test_a_protocol_that_raises_is_reported_and_its_connection_ends() -> None:
    async def main(method: str) -> list[Any]:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        near, far = await pair()
        setattr(far, method, lambda *_: 1 / 0)
        near.transport.write(b"x")
        near.transport.close()
        await turns(6)
        assert far.heard == ["ZeroDivisionError"]
        return reported

    for method in ("data_received", "eof_received"):
        (error,) = asyncio.run(main(method))
        assert isinstance(error, ZeroDivisionError)


def test_a_buffered_protocol_gets_as_much_as_it_has_room_for(run: Run) -> None:
    class Small(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.room, self.got = bytearray(4), b""

        def get_buffer(self, hint: int) -> bytearray:
            return self.room

        def buffer_updated(self, size: int) -> None:
            self.got += self.room[:size]

    async def main() -> None:
        near, far = await pair()
        small = Small()
        far.transport.set_protocol(small)
        near.transport.write(b"0123456789")
        await turns()
        assert small.got == b"0123456789"
        near.transport.close()
        await turns(4)

    run(main)


def test_only_bytes_can_be_written(run: Run) -> None:
    async def main() -> None:
        near, far = await pair()
        with pytest.raises(TypeError, match="str"):
            near.transport.write("text")
        near.transport.write(b"")
        await turns()
        assert far.got == b""
        assert isinstance(near.transport, MemoryTransport)

    run(main)
