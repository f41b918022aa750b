"""Raw sessions over sockets: what a user sees and has to do by hand, and what the other end makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

from peers import Frame as Seen
from peers import close, eventually, ping, text

from firefly_ws import BinaryFrame, CloseFrame, ContinuationFrame, Frame, PingFrame, PongFrame, TextFrame


async def test_a_raw_session_shows_every_frame_and_is_answered_by_hand(net: Any) -> None:  # C5, S7
    shown: list[Frame] = []

    async def serve(connection: Any) -> None:
        async for frame in connection.incoming:
            shown.append(frame)
            match frame:
                case PingFrame(payload):
                    connection.send_frame(PongFrame(payload + b" by hand"))
                case CloseFrame():
                    connection.send_frame(frame)

    server = await net.listen(net.route().raw().handler(serve))
    peer = await net.peer(server, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n")
    assert b"extensions" not in peer.head.lower()
    peer.write(text("a", fin=False), ping(b"p"), close(3000, "bye"))
    assert await peer.frame() == Seen(10, b"p by hand")
    end = await peer.frame()
    assert (end.opcode, end.code, end.reason) == (8, 3000, "bye")
    assert await peer.frame() is None
    assert shown == [TextFrame("a", fin=False), PingFrame(b"p"), CloseFrame(3000, "bye")]


async def test_on_message_of_a_raw_route_gets_the_frames(net: Any) -> None:  # S7
    shown: list[Frame] = []
    peer = await net.serve(net.route().raw().on_message(lambda frame, connection: shown.append(frame)))
    peer.write(text("a", fin=False), ping(b"p"), close(1000))
    await eventually(lambda: len(shown) == 3)
    assert shown == [TextFrame("a", fin=False), PingFrame(b"p"), CloseFrame(1000)]
    assert await peer.silent()


async def test_a_raw_client_sends_fragments_and_reads_the_pong_and_the_close(net: Any) -> None:  # C5, S7
    got: list[Any] = []
    route = net.route().on_text(lambda said, connection: got.append(said) or connection.send(said * 2))
    server = await net.listen(route)
    connection = await net.connect(server, lambda builder: builder.raw())
    for frame in (
        TextFrame("a", fin=False),
        PingFrame(b"between"),
        ContinuationFrame(b"b", fin=False),
        ContinuationFrame(b"c"),
    ):
        connection.send_frame(frame)
    async with asyncio.timeout(5):
        assert await connection.receive_frame() == PongFrame(b"between")
        assert await connection.receive_frame() == TextFrame("abcabc")
        connection.send_frame(CloseFrame(1000, "enough"))
        assert [frame async for frame in connection.incoming] == [CloseFrame(1000, "enough")]
    assert got == ["abc"]
    assert connection.close_reason == (1000, "enough")


async def test_a_raw_echo_gives_back_what_no_other_session_may_say(net: Any) -> None:  # C5, S7
    async def serve(connection: Any) -> None:
        async for frame in connection.incoming:
            connection.send_frame(frame)

    peer = await net.peer(await net.listen(net.route().raw().handler(serve)))
    peer.write(text(b"\xff\xfe"), text("ä"), close(1000))
    assert await peer.frame() == Seen(1, b"\xff\xfe")
    assert await peer.frame() == Seen(1, "ä".encode())
    assert (await peer.frame()).opcode == 8
    assert await peer.frame() is None


async def test_messages_of_a_raw_session_are_counted_by_type_though_they_come_in_frames(net: Any) -> None:  # S7
    async def serve(connection: Any) -> None:
        async for frame in connection.incoming:
            if not frame.is_control:
                connection.send_frame(frame)

    server = await net.listen(net.route().raw().handler(serve))
    connection = await net.connect(server)
    for number in range(3):
        await connection.send_stream([bytes(20_000), bytes(20_000)] if number else ["a" * 20_000, "b"])
        await asyncio.wait_for(connection.receive(), 5)
    stats = server.stats()
    for way in ("received", "sent"):
        assert (stats[f"texts_{way}"], stats[f"binaries_{way}"]) == (1, 2)


async def test_a_large_frame_of_a_raw_session_comes_whole(net: Any) -> None:
    async def serve(connection: Any) -> None:
        connection.send_frame(await connection.receive_frame())

    server = await net.listen(net.route().raw().handler(serve))
    connection = await net.connect(server)
    data = bytes(range(256)) * 3000
    connection.send(data)
    async with asyncio.timeout(5):
        assert await connection.receive_frame() == BinaryFrame(data)
