"""permessage-deflate over sockets, RFC 7692, with `websockets` as the other end, in both roles and every agreement."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from support import (
    BINARY,
    TEXT,
    Inbox,
    echo,
    frame,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
    url_of,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate as Theirs,
)

from firefly_ws import PerMessageDeflate, http_client, http_server

CHANCE = random.Random(7692)
JSON = json.dumps([{"id": number, "name": f"user {number}", "active": number % 3 == 0} for number in range(20)])
FEW: list[str | bytes] = [
    JSON,
    JSON.encode(),
    "",
    b"",
    "short",
    CHANCE.randbytes(3000),
    "ä€😀" * 500,
    JSON,
    bytes(70000),
    "".join(CHANCE.choices("abcdef", k=40000)),
]
MANY: list[str | bytes] = [
    JSON + f"{number}" if number % 2 else JSON.encode() + CHANCE.randbytes(number % 7) for number in range(100)
]
SERVERS = {
    "default": PerMessageDeflate(),
    "takeover": PerMessageDeflate(context_takeover=True),
    "small": PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=9, mem_level=1, level=9),
    "small takeover": PerMessageDeflate(context_takeover=True, server_max_window_bits=10, client_max_window_bits=11),
}
CLIENTS = {
    **SERVERS,
    "large answer": PerMessageDeflate(context_takeover=True, client_max_window_bits=12),
    "no threshold": PerMessageDeflate(threshold=0, level=6),
}


# Five has no divisor in common with the numbers of choices: every fifth of what they make together has each choice.
STEPS = pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])


async def their_client(port: int | None, factory: Any) -> ClientConnection:
    return await connect(f"ws://127.0.0.1:{port}/", extensions=[factory], compression=None, proxy=None, max_size=None)


def agreed_with(connection: ClientConnection | ServerConnection) -> Theirs:
    """What the other library has agreed to."""
    (extension,) = connection.protocol.extensions
    assert isinstance(extension, Theirs)
    return extension


async def echoed(connection: ClientConnection, messages: Iterable[str | bytes]) -> None:
    """Send all at once, and get them back in order."""
    messages = list(messages)

    async def send() -> None:
        for message in messages:
            await connection.send(message)

    sending = asyncio.create_task(send())
    for message in messages:
        assert await soon(connection.recv()) == message
    await sending


@STEPS
@pytest.mark.parametrize("name", SERVERS)
async def test_their_client_with_every_offer_at_our_server(name: str, step: int) -> None:
    route = http_server().websocket("/").extensions([SERVERS[name]]).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        offers = itertools.product(
            [(False, False), (True, False), (False, True), (True, True)], [None, 9, 12], [None, True, 9, 12]
        )
        for takeover, server_bits, client_bits in itertools.islice(offers, 0, None, step):
            offer = ClientPerMessageDeflateFactory(
                server_no_context_takeover=takeover[0],
                client_no_context_takeover=takeover[1],
                server_max_window_bits=server_bits,
                client_max_window_bits=client_bits,
            )
            async with await their_client(server.port, offer) as connection:
                agreed_with(connection)
                await echoed(connection, FEW)


@pytest.mark.parametrize("name", SERVERS)
async def test_a_hundred_messages_in_order_at_our_server(name: str) -> None:  # F7
    route = http_server().websocket("/").extensions([SERVERS[name]]).on_message(echo)
    async with (
        route.listen("127.0.0.1", 0) as server,
        await their_client(server.port, ClientPerMessageDeflateFactory()) as connection,
    ):
        agreed = agreed_with(connection)
        ours = SERVERS[name]
        assert agreed.remote_no_context_takeover == agreed.local_no_context_takeover == (not ours.context_takeover)
        assert agreed.remote_max_window_bits == ours.server_max_window_bits
        assert agreed.local_max_window_bits == ours.client_max_window_bits
        await echoed(connection, MANY)


async def their_echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def talk_to_theirs(port: int, ours: PerMessageDeflate, messages: list[str | bytes]) -> Any:
    """Send *messages* with our client, and get them back in order; gives the agreement."""
    inbox = Inbox()
    client = http_client().websocket(f"ws://127.0.0.1:{port}/").extensions([ours]).max_message_size(None)
    async with client.on_text(inbox).on_binary(inbox).connect() as connection:
        (agreed,) = connection.extensions
        for message in messages:
            connection.send(message)
        assert await inbox.take(len(messages)) == messages
        return agreed


@STEPS
@pytest.mark.parametrize("name", CLIENTS)
async def test_our_client_at_their_server_with_every_answer(name: str, step: int) -> None:
    ours = CLIENTS[name]
    answers = itertools.product(
        [(False, False), (True, False), (False, True), (True, True)], [None, 9, 12], [None, 9, 12]
    )
    for takeover, server_bits, client_bits in itertools.islice(answers, 0, None, step):
        factory = ServerPerMessageDeflateFactory(
            server_no_context_takeover=takeover[0],
            client_no_context_takeover=takeover[1],
            server_max_window_bits=server_bits,
            client_max_window_bits=client_bits,
        )
        async with serve(their_echo, "127.0.0.1", 0, extensions=[factory], compression=None, max_size=None) as server:
            agreed = await talk_to_theirs(server.sockets[0].getsockname()[1], ours, FEW)
            assert agreed.server_takeover == (ours.context_takeover and not takeover[0])
            assert agreed.client_takeover == (ours.context_takeover and not takeover[1])
            assert agreed.server_bits <= min(ours.server_max_window_bits, server_bits or 15)
            assert agreed.client_bits <= min(ours.client_max_window_bits, client_bits or 15)


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_hundred_messages_in_order_at_their_server(name: str) -> None:  # F7
    async with serve(their_echo, "127.0.0.1", 0, compression="deflate") as server:
        await talk_to_theirs(server.sockets[0].getsockname()[1], CLIENTS[name], MANY)


async def test_their_compression_switched_off_is_no_agreement() -> None:
    async with serve(their_echo, "127.0.0.1", 0, compression=None) as server:
        client = http_client().websocket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/").discard()
        async with client.extensions(["permessage-deflate"]).connect() as connection:
            assert connection.extensions == ()
    async with (
        http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0) as server_,
        connect(url_of(server_), compression=None, proxy=None) as theirs,
    ):
        assert theirs.protocol.extensions == []
        await echoed(theirs, FEW)


# --- what it does


async def sizes_of(deflate: Any, messages: list[str], threshold: int | None = None) -> list[int]:
    """Bytes on the wire from our client, message by message."""
    sizes = Inbox()
    route = http_server().websocket("/").extensions([deflate]).on_frame(sizes)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server)).extensions([deflate]).discard()
        if threshold is not None:
            client.compression_threshold(threshold)
        async with client.connect() as connection:
            for message in messages:
                connection.send(message)
            frames = await sizes.take(len(messages))
    for one, message in zip(frames, messages, strict=True):
        assert one.rsv1 == (one.payload != message.encode())
    return [len(one.payload) for one in frames]


async def test_a_repeated_message_shrinks_further_only_with_context_takeover() -> None:
    first, second = await sizes_of(PerMessageDeflate(context_takeover=True), [JSON, JSON])
    assert first < len(JSON) / 3
    assert second < first / 3
    first, second = await sizes_of(PerMessageDeflate(), [JSON, JSON])
    assert first == second < len(JSON) / 3


async def test_messages_below_the_threshold_go_uncompressed() -> None:
    texts = ["a" * 63, "a" * 64, "a" * 65, ""]
    sizes = await sizes_of("permessage-deflate", texts)
    assert sizes[0] == 63
    assert sizes[1] < 20
    assert sizes[3] == 0
    assert (await sizes_of("permessage-deflate", texts, threshold=1000)) == [63, 64, 65, 0]
    assert (await sizes_of(PerMessageDeflate(threshold=65), texts, threshold=0))[:2] == [63, 64]


async def test_single_messages_may_be_left_uncompressed() -> None:
    sizes = await sizes_of(PerMessageDeflate(compress_if=lambda data: len(data) % 2 == 0), ["a" * 200, "a" * 201])
    assert sizes[0] < 20
    assert sizes[1] == 201


async def test_compression_by_name_with_parameters() -> None:  # F7, C1
    route = http_server().websocket("/").extensions(["permessage-deflate; server_max_window_bits=10"]).on_message(echo)
    async with (
        route.listen("127.0.0.1", 0) as server,
        await their_client(server.port, ClientPerMessageDeflateFactory()) as connection,
    ):
        assert agreed_with(connection).remote_max_window_bits == 10
        await echoed(connection, FEW)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ("permessage-deflate; unknown=1", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16, permessage-deflate", "permessage-deflate"),
        ('permessage-deflate; server_max_window_bits="10"', "server_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=8", "client_max_window_bits=8"),
        ("x-webkit-something, permessage-deflate", "permessage-deflate"),
        ("PERMESSAGE-DEFLATE", None),
    ],
)
async def test_offers_by_hand(offer: str, answer: str | None) -> None:
    async with http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0) as server:  # noqa: SIM117
        async with raw_client(server.port) as peer:
            peer.send(upgrade(sec_websocket_extensions=offer))
            got = (await peer.head()).headers.get("sec-websocket-extensions")
    assert (got is None) == (answer is None)
    assert answer is None or (got is not None and answer in got)


async def test_an_uncompressed_message_is_taken_where_compression_is_agreed() -> None:
    async with http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0) as server:  # noqa: SIM117
        async with raw_client(server.port) as peer:
            peer.send(upgrade(sec_websocket_extensions="permessage-deflate"), frame(TEXT, "plain"), frame(BINARY, "x"))
            await peer.head()
            assert await peer.frame() == (0x81, b"plain")
            assert await peer.frame() == (0x82, b"x")
