"""Little that becomes much: a compressed message of 1 MiB that is 1 GiB, and what it costs to refuse it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from judge import BINARY, CONT, KEY, TEXT, frame
from peers import eventually, text

from firefly_ws import ConnectionClosedError, DeflateFrame, InflatesTooMuch, MessageTooBig, PerMessageDeflate

MIB = 1024 * 1024
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


def bomb(size: int) -> bytes:
    """The compressed payload of a message of *size* MiB of zeros."""
    compressor = zlib.compressobj(9, wbits=-15)
    compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    again = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return (again * size)[:-4]


def masked(opcode: int, payload: bytes, *, fin: bool, rsv: int) -> bytes:
    """A frame with the zero mask, which the judge need not apply."""
    return frame(opcode, b"", mask=bytes(4), fin=fin, rsv=rsv, declared=len(payload), length_form=64) + payload


def memory(what: str) -> int:
    """Bytes of this process that are (VmRSS) or at most were (VmHWM) in memory; Linux."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def forget_the_peak() -> int | None:
    """Have VmHWM begin anew; what it begins with, or ``None`` where the system does not do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return memory("VmRSS")


async def test_a_bomb_is_refused_with_1009_for_the_memory_of_a_message_and_others_are_served(net: Any) -> None:
    told: list[BaseException] = []
    route = net.route().on_text(lambda data, conn: conn.send(data)).on_error(lambda conn, error: told.append(error))
    server = await net.listen(route)
    payload = bomb(1024)
    assert MIB * 0.9 < len(payload) < MIB * 1.5
    assert len(zlib.decompressobj(-15).decompress(payload[: len(payload) // 64])) > 15 * MIB
    half = len(payload) // 2
    for stream in (
        masked(BINARY, payload, fin=True, rsv=4),
        masked(BINARY, payload[:half], fin=False, rsv=4) + masked(CONT, payload[half:], fin=True, rsv=0),
    ):
        other = await net.peer(server)
        peer = await net.peer(server, headers=DEFLATE)
        told.clear()
        resident = forget_the_peak()
        tracemalloc.start()
        try:
            peer.write(stream)
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            for number in range(5):
                other.write(text(str(number)))
                assert await other.texts(1) == [str(number)]
            closing = await peer.frame()
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        assert peak < 4 * MIB
        if resident is not None:
            # All memory there is, also that of the core and of zlib; what tracemalloc takes for its own is small.
            assert memory("VmHWM") - resident < 48 * MIB
        assert closing is not None
        assert closing.code == 1009
        assert "max_message_size" in closing.reason
        peer.abort()
        await eventually(lambda: told)
        assert isinstance(told[0], MessageTooBig)


async def test_messages_that_inflate_up_to_the_limit_leave_others_their_turns(plain: Any) -> None:
    got: list[int] = []
    turns: list[int] = []
    server = await plain.listen(plain.route().on_binary(lambda data, conn: got.append(len(data))))
    peer = await plain.peer(server, headers=DEFLATE)
    (connection,) = server.connections
    one = bomb(1)
    peer.write(frame(BINARY, one, mask=KEY, rsv=4) * 50)

    async def watch() -> None:
        while len(got) < 50:
            turns.append(len(got))
            await asyncio.sleep(0)

    await asyncio.wait_for(watch(), 30)
    assert got == [MIB] * 50
    # About one of them a turn of the loop, not all that a read has brought.
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 2
    assert connection.is_open


async def test_a_ratio_refuses_a_bomb_at_its_first_64_kib_by_every_way_of_receiving(plain: Any, caplog: Any) -> None:
    told: list[Any] = []
    honest = json.dumps([{"id": number, "name": "firefly", "tags": ["a", "b"]} for number in range(5000)])
    payload = bomb(4)

    async def handler(conn: Any) -> None:
        async for message in conn:
            await conn.send(f"{len(message)}")

    async def pieces(conn: Any) -> None:
        while True:
            size = 0
            async for piece in conn.receive_stream():
                size += len(piece)
            await conn.send(f"{size}")

    ways = {
        "callbacks": lambda r: r.on_message(lambda frame, conn: conn.send(f"{len(frame.payload)}")),
        "a handler": lambda r: r.handler(handler),
        "pieces": lambda r: r.handler(pieces),
        "frames": lambda r: r.on_message(lambda frame, conn: conn.send(f"{len(frame.payload)}")).extensions(
            [DeflateFrame()]
        ),
        "a chain": lambda r: r.on_message(lambda frame, conn: conn.send(f"{len(frame.payload)}")).extensions(
            ["identity", PerMessageDeflate()]
        ),
    }
    for name, way in ways.items():
        told.clear()
        caplog.clear()
        route = way(plain.route()).max_message_size(64 * MIB).max_inflate_ratio(200)
        server = await plain.listen(route.on_error(lambda conn, error: told.append(error)))
        offer = {"frames": "deflate-frame", "a chain": "identity, permessage-deflate"}.get(name, "permessage-deflate")
        peer = await plain.peer(server, headers=f"Sec-WebSocket-Extensions: {offer}\r\n")
        packer = zlib.compressobj(9, wbits=-15)
        packed = packer.compress(honest.encode()) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert len(honest) / len(packed) > 15
        peer.write(frame(TEXT, packed[:-4], mask=KEY, rsv=4))
        assert await peer.texts(1) == [f"{len(honest)}"], name
        peer.write(frame(BINARY, payload, mask=KEY, rsv=4))
        closing = await peer.closed()
        assert (closing.code, "max_inflate_ratio=200" in closing.reason) == (1009, True), name
        await eventually(lambda: told)
        (error,) = told
        assert isinstance(error, InflatesTooMuch), name
        assert error.size == 64 * 1024, name
        await eventually(lambda: [one for one in caplog.records if one.name == "firefly_ws.connection"])
        (record,) = [one for one in caplog.records if one.name == "firefly_ws.connection"]
        assert (record.levelno, record.began, record.error) == (logging.WARNING, "limit", "InflatesTooMuch"), name
        await server.close()


async def test_a_client_holds_its_server_to_a_ratio_too(plain: Any) -> None:
    route = plain.route().extensions(["permessage-deflate"]).on_text(lambda data, conn: conn.send(bytes(MIB)))
    server = await plain.listen(route)
    connection = await plain.connect(
        server, lambda builder: builder.extensions(["permessage-deflate"]).max_inflate_ratio(100).max_message_size(None)
    )
    connection.send("go")
    with pytest.raises(ConnectionClosedError) as caught:
        async with asyncio.timeout(5):
            await connection.receive()
    assert caught.value.sent.code == 1009
    assert isinstance(caught.value.details.error, InflatesTooMuch)
