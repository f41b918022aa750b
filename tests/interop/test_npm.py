"""npm's `ws` and `websocket`: each as client at our server and as server for our client, with and without deflate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from npm import Npm, npm
from support import (
    Inbox,
    echo,
    eventually,
    nothing_leaks,  # noqa: F401
    soon,
    url_of,
)

from firefly_ws import CloseReason, HandshakeError, PerMessageDeflate, WebSocketConnection, http_client, http_server

pytestmark = pytest.mark.peers

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 300000]
MESSAGES: list[str | bytes] = [data for size in SIZES for data in ("ä€😀"[: size % 4] + "a" * size, b"\xff\0" * size)]
CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999]


class Kind(NamedTuple):
    """A package, and how it compresses."""

    package: str
    deflate: bool = False
    takeover: bool = False
    echo: bool = False
    parameters: dict[str, Any] = {}  # noqa: RUF012 -- a tuple's default, never changed
    windows: dict[str, Any] = {}  # noqa: RUF012

    @property
    def ours(self) -> list[Any]:
        """What we offer to it, or agree to."""
        deflate = PerMessageDeflate(context_takeover=self.takeover, threshold=0, **self.windows)
        return [deflate] if self.deflate else []


# `websocket` has no extensions.
KINDS = {
    "ws": Kind("ws"),
    "ws deflate": Kind("ws", deflate=True),
    "ws takeover": Kind("ws", deflate=True, takeover=True),
    "websocket": Kind("websocket"),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_package = pytest.mark.parametrize("kind", [KINDS["ws"], KINDS["websocket"]], ids=["ws", "websocket"])


@asynccontextmanager
async def at_our_server(node: str, kind: Kind, **callbacks: Any) -> AsyncIterator[tuple[WebSocketConnection, Npm]]:
    """Their client, connected: our end, and theirs."""
    accepted = Inbox()
    route = http_server().websocket("/").extensions(kind.ours).sub_protocols(["chat"]).on_accept(accepted)
    for name, callback in callbacks.items():
        getattr(route, name)(callback)
    async with route.max_message_size(2**25).listen("127.0.0.1", 0) as server:
        options = {**kind._asdict(), "url": url_of(server), "protocols": ["x", "chat"]}
        async with npm(node, role="client", **options) as theirs:
            protocol, extensions = await theirs.until("open")
            assert (protocol, "permessage-deflate" in extensions) == ("chat", kind.deflate)
            yield await accepted.next(), theirs


@asynccontextmanager
async def at_their_server(node: str, kind: Kind, **callbacks: Any) -> AsyncIterator[tuple[WebSocketConnection, Npm]]:
    """Our client, connected: our end, and theirs."""
    async with npm(node, role="server", **kind._asdict(), protocols=["chat"]) as theirs:
        (port,) = await theirs.until("listening")
        client = http_client().websocket(f"ws://127.0.0.1:{port}/").extensions(kind.ours).sub_protocols(["chat"])
        for name, callback in callbacks.items():
            getattr(client, name)(callback)
        async with client.max_message_size(2**25).connect() as ours:
            await theirs.until("open")
            assert (ours.sub_protocol, bool(ours.extensions)) == ("chat", kind.deflate)
            yield ours, theirs


both_roles = pytest.mark.parametrize("connected", [at_our_server, at_their_server])


@both_roles
@each_kind
async def test_messages_of_every_size_come_back_from_us(node: str, connected: Any, kind: Kind) -> None:  # F5, K2, K4
    async with connected(node, kind, on_message=echo) as (_, theirs):
        for message in MESSAGES:
            theirs.send(message)
        for message in MESSAGES:
            assert await theirs.message() == message


@both_roles
@each_kind
async def test_messages_of_every_size_come_back_from_them(node: str, connected: Any, kind: Kind) -> None:  # F5, K2, K4
    inbox = Inbox()
    async with connected(node, kind._replace(echo=True), on_text=inbox, on_binary=inbox) as (ours, _):
        for message in MESSAGES:
            ours.send(message)
        assert await inbox.take(len(MESSAGES)) == MESSAGES


WINDOWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"server_max_window_bits": 10}),
    ({}, {"client_max_window_bits": 9}),
    ({"serverMaxWindowBits": 9}, {}),
    ({"clientMaxWindowBits": 10}, {}),
    ({"serverMaxWindowBits": 11, "clientMaxWindowBits": 12}, {"server_max_window_bits": 12}),
    ({"serverNoContextTakeover": True, "clientNoContextTakeover": False}, {}),
    ({"serverNoContextTakeover": False, "clientNoContextTakeover": True}, {}),
]


@both_roles
@pytest.mark.parametrize(("theirs_", "ours_"), WINDOWS, ids=str)
async def test_each_parameter_of_compression(
    node: str, connected: Any, theirs_: dict[str, Any], ours_: dict[str, Any]
) -> None:  # F7, K2
    """Windows of every size and each end's context, with text that refers back further than the window."""
    chance = random.Random(7692)
    words = ["".join(chance.choices("abcdefgh", k=chance.randrange(200, 3000))) for _ in range(20)]
    messages: list[str | bytes] = ["".join(chance.choices(words, k=8)) for _ in range(30)]
    inbox = Inbox()
    kind = Kind("ws", deflate=True, takeover=True, echo=True, parameters=theirs_, windows=ours_)
    async with connected(node, kind, on_text=inbox) as (ours, _):
        (agreed,) = ours.extensions
        for bits, name in ((agreed.server_bits, "server"), (agreed.client_bits, "client")):
            asked = [theirs_.get(f"{name}MaxWindowBits"), ours_.get(f"{name}_max_window_bits")]
            assert bits <= min(one for one in (*asked, 15) if one is not None)
        if theirs_.get("serverNoContextTakeover"):
            assert not agreed.server_takeover
        for message in messages:
            ours.send(message)
        assert await inbox.take(len(messages)) == messages


@both_roles
@each_kind
async def test_their_fragments_are_one_message(node: str, connected: Any, kind: Kind) -> None:  # K2, K4
    inbox = Inbox()
    async with connected(node, kind, on_text=inbox, on_binary=inbox) as (_, theirs):
        theirs.tell("fragments", "text", ["a", "", "ä", "b" * 70000])
        theirs.tell("fragments", "binary", ["one", "x" * 70000, ""])
        theirs.tell("fragments", "text", ["", ""])
        assert await inbox.take(3) == ["aä" + "b" * 70000, b"one" + b"x" * 70000, ""]


@both_roles
@each_kind
async def test_our_fragments_are_one_message(node: str, connected: Any, kind: Kind) -> None:  # K2, K4
    async with connected(node, kind) as (ours, theirs):
        await ours.send_stream(["a", "", "ä", "b" * 70000])
        await ours.send_stream([b"\xff", b"x" * 70000, b""])
        assert await theirs.message() == "aä" + "b" * 70000
        assert await theirs.message() == b"\xff" + b"x" * 70000


@both_roles
@each_kind
async def test_a_message_of_sixteen_megabytes_each_way(node: str, connected: Any, kind: Kind) -> None:  # K2, K4
    large = bytes(range(256)) * 65536
    async with connected(node, kind, on_message=echo) as (_, theirs):
        theirs.send(large)
        assert await theirs.message() == large


@both_roles
@each_package
async def test_pings_are_answered_by_both(node: str, connected: Any, kind: Kind) -> None:  # K2, C5
    pings = Inbox()
    async with connected(node, kind, on_ping=pings) as (ours, theirs):
        theirs.tell("ping", "theirs")
        assert await theirs.until("pong") == ["theirs"]
        assert await pings.next() == b"theirs"
        assert 0 <= await soon(ours.ping(b"ours")) < 5
        assert await theirs.until("ping") == ["ours"]


@both_roles
@each_package
@pytest.mark.parametrize("code", CODES)
async def test_their_close_reaches_us_and_is_answered(node: str, connected: Any, kind: Kind, code: int) -> None:  # K2
    closes = Inbox()
    async with connected(node, kind, on_close=lambda connection, reason: closes(reason)) as (ours, theirs):
        theirs.tell("close", code, "warum nicht? ä")
        assert await closes.next() == CloseReason(code, "warum nicht? ä")
        assert (await theirs.until("close"))[0] == code
        assert ours.close_received == CloseReason(code, "warum nicht? ä")
        assert ours.close_sent is not None
        assert ours.close_sent.code == code


@both_roles
@each_package
@pytest.mark.parametrize("code", CODES)
async def test_our_close_reaches_them_and_is_answered(node: str, connected: Any, kind: Kind, code: int) -> None:  # K2
    async with connected(node, kind) as (ours, theirs):
        reason = CloseReason(code, "warum nicht? ä")
        # `websocket` answers every code with 1000.
        assert await soon(ours.close(reason)) == (reason if kind.package == "ws" else CloseReason(1000))
        assert ours.close_sent == reason
        assert await theirs.until("close") == [*reason]


@both_roles
@each_package
async def test_a_connection_they_cut_is_1006(node: str, connected: Any, kind: Kind) -> None:  # K2
    async with connected(node, kind) as (ours, theirs):
        theirs.tell("terminate")
        assert (await soon(ours.wait_closed())).code == 1006


@both_roles
@each_kind
async def test_both_stream_at_the_same_time(node: str, connected: Any, kind: Kind) -> None:  # F12, K2
    inbox = Inbox()
    count, size = 200, 20000
    async with connected(node, kind, on_binary=inbox) as (ours, theirs):

        async def send() -> None:
            for number in range(count):
                await ours.send(bytes([number]) * size)

        sending = asyncio.create_task(send())
        for number in range(count):
            theirs.send(bytes([number]) * size)
        assert [data[0] for data in await inbox.take(count)] == list(range(count))
        assert [(await theirs.message())[0] for _ in range(count)] == list(range(count))
        await sending


@each_package
async def test_their_client_is_told_a_refusal(node: str, kind: Kind) -> None:  # K2
    async with http_server().websocket("/elsewhere").discard().listen("127.0.0.1", 0) as server:
        async with npm(node, kind.package, "client", url=url_of(server)) as theirs:
            assert await theirs.until("refused") == [404]
        await eventually(lambda: not server.stats()["handshaking"])


@each_package
async def test_their_refusal_is_told_to_us(node: str, kind: Kind) -> None:  # K2
    async with npm(node, kind.package, "server", reject=403) as theirs:
        (port,) = await theirs.until("listening")
        with pytest.raises(HandshakeError) as raised:
            await soon(http_client().websocket(f"ws://127.0.0.1:{port}/").discard().connect())
        assert raised.value.status == 403
