"""Every field of a policy, over a socket: what happens with a small value, and does not without it.

Each function below is named as its field; it configures nothing else, and tells whether the effect was there.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from judge import BINARY, CONT, KEY, PING, frame
from peers import Peer, RawServer, binary, eventually, text

from firefly_ws import DONE, HandshakeError, QueueOverflow, WebSocketConnectionException, WebSocketPolicy, http_client
from firefly_ws.policy import POLICY_FIELDS

KIB = 1024
# Seconds: far beyond the small values and far below the defaults. They all wait at once, on one loop.
SOON = 1.5


async def opened(net: Any, policy: WebSocketPolicy, route: Any = None, **options: Any) -> tuple[Any, Peer]:
    """A server's connection with *policy*, and its peer, between which the kernel keeps little."""
    server = await net.listen((route or net.route().discard()).policy(policy), send_buffer=8 * KIB)
    peer = await net.peer(server, receive_buffer=8 * KIB, **options)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def ends(connection: Any, code: int, named: str = "") -> bool:
    """Whether it ends soon, by itself; then with *code*, and saying *named*."""
    try:
        async with asyncio.timeout(SOON):
            reason = await connection.wait_closed()
    except TimeoutError:
        return False
    assert reason.code == code
    assert named in reason.message
    return True


async def refused(peer: Peer, *frames: bytes) -> bool:
    """Whether what the peer sends is answered with 1009."""
    peer.write(*frames)
    try:
        answer = await peer.frame(SOON)
    except TimeoutError:
        return False
    assert answer is not None
    assert answer.code == 1009
    return True


async def stuck(connection: Any, count: int = 8) -> None:
    """Send more than TCP takes."""
    for _ in range(count):
        connection.send(bytes(256 * KIB))


# ---- what comes ----------------------------------------------------------------------------------------------------


async def max_message_size(net: Any, policy: WebSocketPolicy) -> bool:
    return await refused((await opened(net, policy))[1], binary(bytes(101)))


async def max_text_message_size(net: Any, policy: WebSocketPolicy) -> bool:
    _, peer = await opened(net, policy)
    peer.write(binary(bytes(101)))
    return await refused(peer, text("x" * 101))


async def max_binary_message_size(net: Any, policy: WebSocketPolicy) -> bool:
    _, peer = await opened(net, policy)
    peer.write(text("x" * 101))
    return await refused(peer, binary(bytes(101)))


async def max_frame_size(net: Any, policy: WebSocketPolicy) -> bool:
    _, peer = await opened(net, policy)
    peer.write(*[frame(opcode, bytes(60), mask=KEY, fin=opcode == CONT) for opcode in (BINARY, CONT)])
    return await refused(peer, binary(bytes(101)))


async def max_fragments(net: Any, policy: WebSocketPolicy) -> bool:
    _, peer = await opened(net, policy)
    return await refused(peer, text("a", fin=False), *[frame(CONT, b"b", mask=KEY, fin=False)] * 100)


async def max_inflate_ratio(net: Any, policy: WebSocketPolicy) -> bool:
    _, peer = await opened(net, policy, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n")
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(bytes(200 * KIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
    return await refused(peer, frame(BINARY, packed[:-4], mask=KEY, rsv=4))


async def max_queue(net: Any, policy: WebSocketPolicy) -> bool:
    gate = asyncio.Event()

    async def on_text(data: str, connection: Any) -> None:
        await gate.wait()

    connection, peer = await opened(net, policy, net.route().on_text(on_text))
    peer.write(*[text("x")] * 50)
    await asyncio.sleep(0.1)
    held: bool = connection.messages_received < 50
    gate.set()
    await eventually(lambda: connection.messages_received == 50)
    return held


async def max_message_rate(net: Any, policy: WebSocketPolicy) -> bool:
    return await too_fast(net, policy, text("x"))


async def max_byte_rate(net: Any, policy: WebSocketPolicy) -> bool:
    return await too_fast(net, policy, text("x" * 100))


async def rate_burst(net: Any, policy: WebSocketPolicy) -> bool:
    return await too_fast(net, policy.replace(max_message_rate=30), text("x"))


async def over_rate(net: Any, policy: WebSocketPolicy) -> bool:
    return not await too_fast(net, policy.replace(max_message_rate=1), text("x"))


async def too_fast(net: Any, policy: WebSocketPolicy, one: bytes) -> bool:
    """Whether a hundred of these end with 1008."""
    connection, peer = await opened(net, policy)
    peer.write(*[one] * 100)
    await eventually(lambda: connection.messages_received in (6, 100) or connection.close_sent)
    return connection.close_sent is not None and connection.close_sent.code == 1008


# ---- what goes -----------------------------------------------------------------------------------------------------


async def write_high_water(net: Any, policy: WebSocketPolicy) -> bool:
    connection, _ = await opened(net, policy)
    await stuck(connection, 3)
    sent = connection.send(b"") is not DONE
    # Above the default mark it is so with every policy.
    connection.send(bytes(1024 * KIB))
    assert connection.send(b"") is not DONE
    return sent


async def write_low_water(net: Any, policy: WebSocketPolicy) -> bool:
    """With the high mark at 1 MiB: who waits is told at once below it, or only much later."""
    connection, peer = await opened(net, policy)
    waiting = None
    while waiting is None or waiting is DONE:
        waiting = connection.send(bytes(64 * KIB))
    while not waiting.done():
        await peer.reader.readexactly(64 * KIB)
    left: int = connection.buffered_amount
    return left > 512 * KIB


async def max_write_buffer(net: Any, policy: WebSocketPolicy) -> bool:
    connection, _ = await opened(net, policy)
    try:
        await stuck(connection)
    except QueueOverflow as error:
        return error.limit == policy.max_write_buffer
    return False


async def compression_threshold(net: Any, policy: WebSocketPolicy) -> bool:
    headers = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    connection, peer = await opened(net, policy, headers=headers)
    connection.send("x" * 100)
    async with asyncio.timeout(5):
        first, size = await peer.reader.readexactly(2)
        payload = await peer.reader.readexactly(size)
    if first == 0xC1:
        assert zlib.decompressobj(-15).decompress(payload) == b"x" * 100
    return first == 0x81


async def slow_consumer(net: Any, policy: WebSocketPolicy) -> bool:
    connection, _ = await opened(net, policy)
    try:
        for _ in range(12):
            connection.send_latest(bytes(2 * 1024 * KIB), "a")
    except ValueError:
        return False
    assert connection.stats["messages_dropped"] > 0
    return True


async def max_pending_pings(net: Any, policy: WebSocketPolicy) -> bool:
    connection, _ = await opened(net, policy)
    try:
        for _ in range(20):
            connection.ping()
    except QueueOverflow as error:
        return error.limit == policy.max_pending_pings
    return False


# ---- time ----------------------------------------------------------------------------------------------------------


async def idle_timeout(net: Any, policy: WebSocketPolicy) -> bool:
    connection, peer = await opened(net, policy)
    answering = asyncio.ensure_future(peer.closed())
    ended = await ends(connection, 1001, "idle_timeout")
    answering.cancel()
    return ended


async def read_timeout(net: Any, policy: WebSocketPolicy) -> bool:
    return await ends((await opened(net, policy))[0], 1006, "read_timeout")


async def write_timeout(net: Any, policy: WebSocketPolicy) -> bool:
    connection, _ = await opened(net, policy)
    await stuck(connection)
    return await ends(connection, 1006, "write_timeout")


async def ping_interval(net: Any, policy: WebSocketPolicy) -> bool:
    _, peer = await opened(net, policy)
    try:
        asked = await peer.frame(SOON)
    except TimeoutError:
        return False
    assert asked is not None
    assert asked.opcode == PING
    return True


async def ping_timeout(net: Any, policy: WebSocketPolicy) -> bool:
    return await ends((await opened(net, policy.replace(ping_interval=0.05)))[0], 1006, "ping_timeout")


async def connection_timeout(net: Any, policy: WebSocketPolicy) -> bool:
    return await ends((await opened(net, policy))[0], 1006, "connection_timeout")


async def close_timeout(net: Any, policy: WebSocketPolicy) -> bool:
    connection, _ = await opened(net, policy)
    connection.close()
    return await ends(connection, 1006)


async def open_timeout(net: Any, policy: WebSocketPolicy) -> bool:
    """Of a client whose server never answers."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        builder = http_client().ws("127.0.0.1", sock.getsockname()[1], "/").policy(policy).discard()
        try:
            async with asyncio.timeout(SOON):
                await builder.connect()
        except WebSocketConnectionException as error:
            return f"open_timeout={policy.open_timeout}" in str(error)
        except TimeoutError:
            return False
    return False


# ---- the handshake -------------------------------------------------------------------------------------------------


async def max_header_size(net: Any, policy: WebSocketPolicy) -> bool:
    return await _head_refused(net, policy)


async def max_header_count(net: Any, policy: WebSocketPolicy) -> bool:
    return await _head_refused(net, policy)


async def _head_refused(net: Any, policy: WebSocketPolicy) -> bool:
    """Of a client whose server answers with five header lines."""
    server: RawServer = await net.raw_server()
    try:
        connection = await net.builder(server).policy(policy).discard().connect()
    except HandshakeError:
        return True
    connection.terminate()
    await connection.wait_closed()
    return False


SMALL: dict[str, Any] = {
    "max_message_size": 100, "max_text_message_size": 100, "max_binary_message_size": 100, "max_frame_size": 100,
    "max_fragments": 50, "max_inflate_ratio": 100, "max_queue": 3, "write_high_water": 256 * KIB,
    "write_low_water": 1024 * KIB, "max_write_buffer": 512 * KIB,
    "compression_threshold": 101, "idle_timeout": 0.1, "read_timeout": 0.1,
    "write_timeout": 0.1, "ping_interval": 0.1, "ping_timeout": 0.05, "connection_timeout": 0.1,
    "max_message_rate": 10, "max_byte_rate": 1000, "rate_burst": 1, "over_rate": "pause", "slow_consumer": "latest",
    "max_pending_pings": 10, "close_timeout": 0.1, "open_timeout": 0.1, "max_header_size": 60, "max_header_count": 2,
}  # fmt: skip
EFFECTS: dict[str, Callable[[Any, WebSocketPolicy], Awaitable[bool]]] = {name: globals()[name] for name in SMALL}


def test_every_field_is_here() -> None:
    assert set(EFFECTS) == POLICY_FIELDS


@pytest.mark.parametrize("net", ["tls"], indirect=True)
async def test_over_tls_a_small_value_has_its_effect_as_well(net: Any) -> None:  # F9
    # TLS takes all that waits at once, and says when it has none left: the low mark is met there, and passed unseen.
    effects = EFFECTS.keys() - {"write_low_water"}
    small = asyncio.gather(*(EFFECTS[name](net, WebSocketPolicy(**{name: SMALL[name]})) for name in effects))
    assert dict(zip(effects, await small, strict=True)) == dict.fromkeys(effects, True)


async def test_a_small_value_has_its_effect_and_the_default_has_not(plain: Any) -> None:  # F9
    # All at once, because most of them only wait.
    small = asyncio.gather(*(EFFECTS[name](plain, WebSocketPolicy(**{name: SMALL[name]})) for name in EFFECTS))
    assert dict(zip(EFFECTS, await small, strict=True)) == dict.fromkeys(EFFECTS, True)
    default = asyncio.gather(*(effect(plain, WebSocketPolicy()) for effect in EFFECTS.values()))
    assert dict(zip(EFFECTS, await default, strict=True)) == dict.fromkeys(EFFECTS, False)
