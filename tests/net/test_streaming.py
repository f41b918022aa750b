"""Messages piece by piece over sockets: to ourselves and to the `websockets` library."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from judge import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, frame
from peers import binary, close, eventually, ping
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

import firefly_ws
from firefly_ws import ConnectionClosedError, MessageTooBig, PerMessageDeflate, http_client
from firefly_ws._core.steps import Wait

KIB, MIB = 1024, 1024 * 1024
DEFLATE = pytest.mark.parametrize(
    "extensions", [[], ["permessage-deflate"], [PerMessageDeflate(context_takeover=True)]], ids=["plain", "pmd", "kept"]
)


async def spaced(*pieces: Any) -> AsyncIterator[Any]:
    """Pieces that come one after the other."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0.002)


async def accepted(net: Any, route: Any) -> tuple[Any, Any]:
    """A server's connection, and its raw peer."""
    server = await net.listen(route)
    peer = await net.peer(server)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


@DEFLATE
async def test_a_stream_arrives_as_one_message_in_both_directions(net: Any, extensions: Any) -> None:  # K4
    heard: list[Any] = []

    async def back(text: str, connection: Any) -> None:
        await connection.send_stream(spaced(*(text[at : at + 50_000] for at in range(0, len(text), 50_000))))

    server = await net.listen(net.route().on_text(back).extensions(extensions))
    connection = await net.connect(
        server, lambda builder: builder.on_text(lambda text, _: heard.append(text)).extensions(extensions)
    )
    text = "".join(chr(0x20 + number % 0x3000) for number in range(150_000))
    await connection.send_stream(spaced(text[:7], "", text[7:90_000], text[90_000:]))
    connection.send("behind")
    await eventually(lambda: len(heard) == 2)
    assert heard == [text, "behind"]


async def test_pings_pass_between_the_fragments_and_messages_wait(plain: Any) -> None:  # C5, K4
    connection, peer = await accepted(plain, plain.route().discard())
    gate = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        yield "one"
        await gate.wait()
        yield "two"

    task = asyncio.ensure_future(connection.send_stream(pieces()))
    await eventually(lambda: connection.bytes_written)
    waiting = connection.send("behind")
    assert isinstance(waiting, Wait)
    peer.write(ping(b"?"))
    own = connection.ping(b"!")
    seen = [await peer.frame() for _ in range(3)]
    assert [one.opcode for one in seen] == [TEXT, PING, PONG]
    gate.set()
    await asyncio.gather(task, waiting)
    seen = [await peer.frame() for _ in range(2)]
    assert [tuple(one) for one in seen] == [(CONT, b"two"), (TEXT, b"behind")]
    assert not own.done()


async def test_a_peer_that_does_not_read_holds_the_source_back(net: Any) -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield bytes(64 * KIB)

    server = await net.listen(net.route().discard().write_high_water(256 * KIB), send_buffer=8 * KIB)
    peer = await net.peer(server, receive_buffer=8 * KIB)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    task = asyncio.ensure_future(connection.send_stream(pieces()))
    await eventually(lambda: connection.buffered_amount > 256 * KIB)
    await asyncio.sleep(0.03)
    assert taken < 100
    assert connection.buffered_amount < MIB
    size = 0
    while (one := await peer.frame()).payload:
        size += len(one.payload)
    assert one.opcode == CONT
    await task
    assert size == 200 * 64 * KIB


async def test_a_source_that_fails_ends_the_connection_on_both_sides(net: Any) -> None:  # C8
    ended: list[Any] = []

    async def fails(connection: Any) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"some"
            await asyncio.sleep(0.002)
            raise LookupError("no more")

        try:
            await connection.send_stream(pieces())
        except LookupError as error:
            ended.append(error)
        with pytest.raises(ConnectionClosedError):
            connection.send("more")

    server = await net.listen(net.route().on_accept(fails).on_error(lambda connection, error: ended.append(error)))
    connection = await net.connect(server, lambda builder: builder.on_binary(lambda data, _: ended.append(data)))
    assert (await connection.wait_closed()).code == 1011
    await eventually(lambda: len(ended) == 2)
    assert ended[0] is ended[1]


async def test_from_another_thread(plain: Any) -> None:
    heard: list[str] = []
    server = await plain.listen(plain.route().on_text(lambda text, _: heard.append(text)))
    connection = await plain.connect(server, lambda builder: builder.discard())
    await asyncio.to_thread(lambda: connection.threadsafe.send_stream(["a", "b"]).result(5))
    await eventually(lambda: heard == ["ab"])


@DEFLATE
async def test_websockets_receives_our_stream_piece_by_piece(plain: Any, extensions: Any) -> None:
    pieces: list[Any] = []
    done = asyncio.Event()

    async def handler(theirs: ServerConnection) -> None:
        async for piece in theirs.recv_streaming():
            pieces.append(piece)
        pieces.append(await theirs.recv())
        done.set()

    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await http_client().ws("127.0.0.1", port, "/").extensions(extensions).discard().connect()
        await connection.send_stream(spaced("one " * 30, "two " * 30, "three"))
        connection.send("whole")
        await asyncio.wait_for(done.wait(), 5)
        await connection.close()
    assert len(pieces) > 3
    assert "".join(pieces) == "one " * 30 + "two " * 30 + "threewhole"


async def test_a_websockets_client_gets_our_stream(plain: Any) -> None:
    async def send(connection: Any) -> None:
        await connection.send_stream(spaced(b"one", b"two" * 30_000))

    server = await plain.listen(plain.route().on_accept(send))
    async with connect(f"ws://127.0.0.1:{server.port}/", proxy=None) as theirs:
        assert await theirs.recv() == b"one" + b"two" * 30_000


# ---- receiving -----------------------------------------------------------------------------------------------------


async def collected(connection: Any, **how: Any) -> Any:
    pieces = [piece async for piece in connection.receive_stream(**how)]
    return type(pieces[0])().join(pieces)


@DEFLATE
async def test_a_message_of_any_size_is_received_in_pieces(net: Any, extensions: Any) -> None:  # K4
    async def back(connection: Any) -> None:
        for _ in range(3):
            async with connection.receive_stream() as stream:
                await connection.send_stream(stream, text=stream.is_text)

    server = await net.listen(net.route().handler(back).extensions(extensions))
    connection = await net.connect(server, lambda builder: builder.extensions(extensions))
    for message in (bytes(range(256)) * 5_000, "aé€😀" * 150_000, "small"):
        size = 40_000
        pieces = (message[at : at + size] for at in range(0, len(message), size))
        sent = asyncio.ensure_future(connection.send_stream(pieces))
        assert await collected(connection) == message
        await sent
    assert (await connection.wait_closed()).code == 1000


@pytest.mark.parametrize("fragments", [False, True])
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_what_websockets_sends_is_received_in_pieces(plain: Any, fragments: bool, compression: Any) -> None:
    got: list[Any] = []

    async def handler(connection: Any) -> None:
        got.append(await collected(connection))
        got.append(await connection.receive())

    server = await plain.listen(plain.route().handler(handler).extensions(["permessage-deflate"]))
    data = bytes(range(256)) * 16 * KIB
    async with connect(f"ws://127.0.0.1:{server.port}/", proxy=None, compression=compression) as theirs:
        await theirs.send([data[at : at + MIB] for at in range(0, len(data), MIB)] if fragments else data)
        await theirs.send("whole")
        await theirs.wait_closed()
    assert got == [data, "whole"]


async def test_pings_are_answered_while_a_message_is_received(net: Any) -> None:  # C5
    pieces: list[bytes] = []

    async def handler(connection: Any) -> None:
        async for piece in connection.receive_stream():
            pieces.append(piece)

    peer = await net.serve(net.route().handler(handler))
    peer.write(frame(BINARY, b"one", mask=KEY, fin=False))
    await eventually(lambda: pieces == [b"one"])
    peer.write(ping(b"?"), frame(CONT, b"two", mask=KEY))
    assert await peer.frame() == (PONG, b"?")
    one = await peer.frame()
    assert (one.opcode, one.code) == (CLOSE, 1000)
    assert pieces == [b"one", b"two"]


async def test_a_peer_that_vanishes_in_the_middle_is_an_error_of_the_stream(net: Any) -> None:  # C8
    errors: list[Any] = []

    async def handler(connection: Any) -> None:
        try:
            async for _ in connection.receive_stream():
                pass
        except ConnectionClosedError as error:
            errors.append(error)

    peer = await net.serve(net.route().handler(handler))
    peer.write(binary(bytes(2 * MIB))[: MIB + 10])
    await peer.end()
    await eventually(lambda: errors)
    assert errors[0].code == 1006


async def test_more_than_max_size_is_refused_with_1009(net: Any) -> None:  # C8
    errors: list[Any] = []

    async def handler(connection: Any) -> None:
        try:
            await collected(connection, max_size=100_000)
        except MessageTooBig as error:
            errors.append(error)

    peer = await net.serve(net.route().handler(handler).on_error(lambda connection, error: errors.append(error)))
    peer.write(binary(bytes(150_000)))
    one = await peer.frame()
    assert (one.opcode, one.code) == (CLOSE, 1009)
    await peer.end()
    await eventually(lambda: len(errors) == 2)
    assert errors[0] is errors[1]


async def test_a_peers_fault_that_leaves_a_handler_is_no_error_of_the_handler(plain: Any, errors: Any) -> None:  # C8
    """No peer fills the log with tracebacks: it is told the code, and on_error what it was."""
    told: list[Any] = []

    async def serve(connection: Any) -> None:
        async for _ in connection.receive_stream(100):
            pass

    route = plain.route().handler(serve).on_error(lambda connection, error: told.append(type(error).__name__))
    server = await plain.listen(route)
    for data, code in ((frame(TEXT, b"ok\xff", mask=KEY), 1007), (frame(BINARY, bytes(101), mask=KEY), 1009)):
        peer = await plain.peer(server)
        peer.write(data)
        assert (await peer.frame()).code == code
        peer.write(close(code))
        await peer.end()
    await eventually(lambda: told == ["InvalidPayload", "MessageTooBig"])
    assert errors() == []
    assert server.stats()["callback_errors"] == 0


async def test_a_reader_that_stands_still_holds_the_peer_back(net: Any) -> None:
    gate = asyncio.Event()
    sizes: list[int] = []

    async def handler(connection: Any) -> None:
        async with connection.receive_stream() as stream:
            await anext(stream)
            await gate.wait()
            sizes.append(connection.bytes_read)
            async for _ in stream:
                pass
        sizes.append(connection.bytes_read)

    server = await net.listen(net.route().handler(handler))
    connection = await net.connect(server)
    sent = asyncio.ensure_future(connection.send_stream(iter([bytes(64 * KIB)] * 640)))
    await eventually(lambda: connection.buffered_amount > MIB)
    await asyncio.sleep(0.03)
    gate.set()
    await sent
    await connection.wait_closed()
    assert sizes[0] < 2 * MIB
    assert sizes[1] > 40 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("how", ["up plain", "down plain", "frame plain", "up deflate", "down deflate"])
def test_a_gibibyte_passes_through_less_than_32_mebibytes(how: str) -> None:
    path = os.pathsep.join([str(Path(firefly_ws.__file__).parents[1]), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-W", "error", Path(__file__).with_name("one_gibibyte.py"), *how.split()],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 32 * KIB
