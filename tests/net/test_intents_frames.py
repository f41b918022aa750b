"""Frames as the standards print them, on the wire of real connections: lengths, masks, fragments, compression."""

from __future__ import annotations

from typing import Any

import pytest
from judge import BINARY, CONT, KEY, PING, PONG, TEXT, frame
from peers import LIMIT, binary, eventually, ping, text

from firefly_ws import (
    BinaryFrame,
    ContinuationFrame,
    Frame,
    Opcode,
    PerMessageDeflate,
    PingFrame,
    PongFrame,
    TextFrame,
)

HELLO = bytes.fromhex("810548656c6c6f")  # RFC 6455 §5.7
MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
KIB = bytes(range(256))


def heard_on(route: Any) -> list[Any]:
    """Everything the callbacks of *route* get, in order."""
    heard: list[Any] = []
    route.on_message(lambda one, _: heard.append(one))
    route.on_ping(lambda payload, _: heard.append(PingFrame(payload)))
    route.on_pong(lambda payload, _: heard.append(PongFrame(payload)))
    return heard


MASKED = {
    "a text message": (MASKED_HELLO, [TextFrame("Hello")]),
    "a pong": (bytes.fromhex("8a8537fa213d7f9f4d5158"), [PongFrame(b"Hello")]),
}
UNMASKED = {
    "a text message": (HELLO, [TextFrame("Hello")]),
    "a message in two fragments": (bytes.fromhex("010348656c80026c6f"), [TextFrame("Hello")]),
    "a ping": (bytes.fromhex("890548656c6c6f"), [PingFrame(b"Hello")]),
    "256 bytes": (bytes.fromhex("827e0100") + KIB, [BinaryFrame(KIB)]),
    "64 KiB": (bytes.fromhex("827f0000000000010000") + KIB * 256, [BinaryFrame(KIB * 256)]),
}


@pytest.mark.parametrize("name", MASKED)
async def test_the_masked_examples_of_rfc_6455_reach_our_server(net: Any, name: str) -> None:  # K4
    data, expected = MASKED[name]
    route = net.route()
    heard = heard_on(route)
    peer = await net.serve(route)
    peer.write(data)
    await eventually(lambda: heard)
    assert heard == expected


@pytest.mark.parametrize("name", UNMASKED)
async def test_the_unmasked_examples_of_rfc_6455_reach_our_client(net: Any, name: str) -> None:  # K4
    data, expected = UNMASKED[name]
    raw = await net.raw_server()
    heard: list[Any] = []
    await net.connect(raw, lambda builder: heard.extend([heard_on(builder)]))
    peer = await raw.peer()
    peer.write(data)
    await eventually(lambda: heard[0])
    assert heard[0] == expected


async def test_what_our_server_sends_is_the_unmasked_example(net: Any) -> None:  # K4
    peer = await net.serve(net.route().on_open(lambda connection: connection.send("Hello")))
    came = await peer.reader.readexactly(len(HELLO))
    assert came == HELLO


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
async def test_heads_of_2_4_and_10_bytes_masked_and_not(net: Any, size: int, head: int) -> None:  # K4
    """The client masks, the server does not; the lengths are the shortest that hold (RFC 6455 §5.2)."""
    data = bytes(size)
    server = await net.listen(net.route().on_message(lambda one, connection: connection.send(one)))
    peer = await net.peer(server)
    peer.write(binary(data))
    came = await peer.reader.readexactly(head + size)
    assert (came[0], came[1] & 0x80) == (0x82, 0)
    assert came[head:] == data
    raw = await net.raw_server()
    connection = await net.connect(raw)
    connection.send(data)
    theirs = await raw.peer()
    came = await theirs.reader.readexactly(head + 4 + size)
    assert came[1] & 0x80
    one = bytes(byte ^ came[head + index % 4] for index, byte in enumerate(came[head + 4 : head + 40]))
    assert one == data[:36]


async def test_each_frame_of_our_client_has_a_mask_of_its_own(plain: Any) -> None:  # K4
    raw = await plain.raw_server()
    connection = await plain.connect(raw)
    for _ in range(50):
        connection.send("Hello")
    peer = await raw.peer()
    frames = [await peer.reader.readexactly(11) for _ in range(50)]
    assert len({one[2:6] for one in frames}) == 50


async def test_a_ping_between_fragments_is_answered_before_the_message_ends(net: Any) -> None:  # K4, C5
    route = net.route()
    heard = heard_on(route)
    peer = await net.serve(route)
    peer.write(text("Hel", fin=False), ping(b"now"))
    answer = await peer.frame()
    assert (answer.opcode, answer.payload) == (PONG, b"now")
    assert heard == [PingFrame(b"now")]
    peer.write(frame(CONT, b"lo", mask=KEY))
    await eventually(lambda: len(heard) == 2)
    assert heard == [PingFrame(b"now"), TextFrame("Hello")]


async def test_on_frame_sees_fin_rsv_and_opcode_of_each_frame_and_on_message_the_whole(net: Any) -> None:  # S7
    route = net.route().extensions([PerMessageDeflate()])
    heard = heard_on(route)
    seen: list[Frame] = []
    route.on_frame(lambda one, _: seen.append(one))
    server = await net.listen(route)
    peer = await net.peer(server, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n")
    sample = bytes.fromhex("f248cdc9c90700")  # RFC 7692 §7.2.3.1
    peer.write(
        frame(TEXT, sample[:3], fin=False, rsv=4, mask=KEY),
        frame(PING, b"", mask=KEY),
        frame(CONT, sample[3:], mask=KEY),
        frame(BINARY, b"plain", mask=KEY),
    )
    await eventually(lambda: len(heard) == 3)
    assert [(one.opcode, one.fin, one.rsv1, one.rsv2, one.rsv3, one.is_control) for one in seen] == [
        (Opcode.TEXT, False, True, False, False, False),
        (Opcode.PING, True, False, False, False, True),
        (Opcode.CONTINUATION, True, False, False, False, False),
        (Opcode.BINARY, True, False, False, False, False),
    ]
    assert isinstance(seen[2], ContinuationFrame)
    assert seen[0].payload + seen[2].payload == sample
    assert heard == [PingFrame(b""), TextFrame("Hello"), BinaryFrame(b"plain")]
    assert all(one.fin for one in heard)


# --- RFC 7692 §7.2.3


OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
SAMPLES = {
    "one deflate block": bytes.fromhex("c107f248cdc9c90700"),
    "two fragments": bytes.fromhex("4103f248cd8004c9c90700"),
    "a block without compression": bytes.fromhex("c10b000500faff48656c6c6f00"),
    "a block with BFINAL": bytes.fromhex("c108f348cdc9c9070000"),
    "two blocks": bytes.fromhex("c10df248050000 00ffffcac9c90700"),
}


def masked(data: bytes) -> bytes:
    """The frames of a sample, which are printed as a server sends them, as a client does."""
    found = b""
    while data:
        size = data[1]
        payload, first, data = data[2 : 2 + size], data[0], data[2 + size :]
        found += frame(first & 15, payload, fin=bool(first & 0x80), rsv=first >> 4 & 7, mask=KEY)
    return found


@pytest.mark.parametrize("name", SAMPLES)
async def test_the_samples_of_rfc_7692_reach_our_server_as_hello(net: Any, name: str) -> None:  # F7
    route = net.route()
    heard = heard_on(route)
    server = await net.listen(route)
    peer = await net.peer(server, headers=OFFER)
    assert b"permessage-deflate" in peer.head
    peer.write(masked(SAMPLES[name]))
    await eventually(lambda: heard)
    assert heard == [TextFrame("Hello")]


async def test_the_sample_of_a_shared_window_reaches_our_server(net: Any) -> None:  # F7
    """§7.2.3.2: the second Hello refers to the first."""
    route = net.route().extensions([PerMessageDeflate(context_takeover=True)])
    heard = heard_on(route)
    server = await net.listen(route)
    peer = await net.peer(server, headers=OFFER)
    peer.write(masked(bytes.fromhex("c107f248cdc9c90700")), masked(bytes.fromhex("c105f200110000")))
    await eventually(lambda: len(heard) == 2)
    assert heard == [TextFrame("Hello"), TextFrame("Hello")]


@pytest.mark.parametrize(("takeover", "second"), [(True, "c105f200110000"), (False, "c107f248cdc9c90700")])
async def test_what_our_server_compresses_is_what_rfc_7692_prints(net: Any, takeover: bool, second: str) -> None:  # F7
    def twice(connection: Any) -> None:
        connection.send("Hello")
        connection.send("Hello")

    deflate = PerMessageDeflate(context_takeover=takeover, threshold=0, level=6)
    server = await net.listen(net.route().extensions([deflate]).on_open(twice))
    peer = await net.peer(server, headers=OFFER)
    expected = bytes.fromhex("c107f248cdc9c90700" + second)
    assert await peer.reader.readexactly(len(expected)) == expected


# --- limits


async def test_four_messages_of_1024_bytes_pass_a_limit_of_1025_and_1026_bytes_do_not(net: Any) -> None:  # F9
    sizes: list[int] = []
    route = net.route().max_message_size(1025).on_binary(lambda data, _: sizes.append(len(data)))
    peer = await net.serve(route)
    peer.write(*[binary(bytes(1024))] * 4, binary(bytes(1025)), binary(bytes(1026)))
    close = await peer.closed()
    assert close.code == 1009
    assert "1025" in close.reason
    assert sizes == [1024] * 4 + [1025]


async def test_four_fragments_of_1024_bytes_are_refused_by_a_limit_of_1025_at_the_second(net: Any) -> None:  # F9
    route = net.route().max_message_size(1025)
    heard = heard_on(route)
    peer = await net.serve(route)
    part = bytes(1024)
    peer.write(frame(BINARY, part, fin=False, mask=KEY), frame(CONT, part[:2], fin=False, mask=KEY))
    assert (await peer.closed()).code == 1009
    assert heard == []


async def test_twenty_mib_go_there_and_back(net: Any) -> None:  # K4
    size = 20 * 1024 * 1024
    data = KIB * (size // 256)
    back: list[bytes] = []

    def unbounded(builder: Any) -> Any:
        return builder.max_message_size(None).max_write_buffer(None).write_high_water(size).extensions([])

    route = unbounded(net.route()).on_binary(lambda data, connection: connection.send(data))
    server = await net.listen(route)
    connection = await net.connect(server, lambda builder: unbounded(builder).on_binary(lambda d, _: back.append(d)))
    connection.send(data)
    await eventually(lambda: back, limit=6 * LIMIT)
    assert back == [data]
