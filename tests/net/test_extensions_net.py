"""Extensions over sockets, our client at our server: alone, in chains, with parameters, over ws and wss."""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Inbox,
    RawPeer,
    echo,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    raw_server,
    soon,
    switching,
    upgrade,
    url_of,
)

from firefly_ws import (
    AgreedExtension,
    DeflateFrame,
    Fragment,
    Frame,
    HandshakeError,
    HttpConfig,
    MessageTooBig,
    PerMessageDeflate,
    http_client,
    http_server,
)

CONT = 0
CHAINS: list[list[str]] = [
    [],
    ["permessage-deflate"],
    ["deflate-frame"],
    ["x-webkit-deflate-frame"],
    ["fragment;maxLength=20"],
    ["identity"],
    ["identity", "permessage-deflate"],
    ["fragment;maxLength=20", "identity", "permessage-deflate"],
    ["permessage-deflate", "fragment;maxLength=20"],
]
HUNDRED: list[str | bytes] = [
    f"message {number}: " + "ä€😀 " * number if number % 2 else bytes((number,)) * number * 37 for number in range(100)
]


def names(extensions: list[str]) -> list[str]:
    return [text.partition(";")[0] for text in extensions]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("extensions", CHAINS, ids=",".join)
async def test_a_hundred_messages_each_way_in_order_through_every_chain(
    extensions: list[str], scheme: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:  # F7, F12, K3
    at_server, at_client, frames = Inbox(), Inbox(), list[Frame]()

    def push(connection: Any) -> None:
        for message in HUNDRED:
            connection.send(message)

    app = http_server()
    client = http_client().websocket("ws://127.0.0.1/")
    if scheme == "wss":
        app.secure(contexts[0])
    route = app.websocket("/").extensions(extensions).compression_threshold(10)
    route.on_open(push).on_text(at_server).on_binary(at_server)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server, scheme=scheme)).extensions(extensions)
        client.compression_threshold(10).on_text(at_client).on_binary(at_client)
        client.on_frame(lambda frame, connection: frames.append(frame))
        if scheme == "wss":
            client.ssl(contexts[1])
        async with client.connect() as connection:
            push(connection)
            assert await at_server.take(100) == HUNDRED
            assert await at_client.take(100) == HUNDRED
            assert [one.name for one in connection.extensions] == names(extensions)
            ours, theirs = connection.extensions, next(iter(server.connections)).extensions
            assert [str(one) for one in ours] == [str(one) for one in theirs]
    if "fragment;maxLength=20" in extensions:
        assert "maxLength=20" in ", ".join(map(str, ours))
        assert len(frames) > 150
        if extensions[0] != "fragment;maxLength=20" or len(extensions) == 1:
            assert max(len(one) for one in frames) == 20
    else:
        assert len(frames) == 100
    assert any(one.rsv1 for one in frames) == any("deflate" in name for name in extensions)


async def agreed(server_extensions: list[Any], client_extensions: list[Any]) -> list[str]:
    """What a handshake ends with; a message goes there and back."""
    inbox = Inbox()
    route = http_server().websocket("/").extensions(server_extensions).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server)).extensions(client_extensions).on_text(inbox)
        async with client.connect() as connection:
            connection.send("hello " * 100)
            assert await inbox.next() == "hello " * 100
            return [str(one) for one in connection.extensions]


@pytest.mark.parametrize(
    ("at_server", "at_client", "ends_with"),
    [
        (["fragment;maxLength=20"], ["fragment"], ["fragment; maxLength=20"]),
        (["fragment"], ["fragment;maxLength=20"], ["fragment; maxLength=20"]),
        (["fragment;maxLength=30"], ["fragment;maxLength=20"], ["fragment; maxLength=20"]),
        (["fragment;maxLength=20"], [Fragment(30)], ["fragment; maxLength=20"]),
        (["fragment"], ["fragment"], ["fragment"]),
        (["deflate-frame"], ["deflate-frame;max_window_bits=10"], ["deflate-frame; max_window_bits=10"]),
        (["deflate-frame;no_context_takeover"], ["deflate-frame"], ["deflate-frame; no_context_takeover"]),
        ([DeflateFrame(max_window_bits=9)], ["deflate-frame"], ["deflate-frame; max_window_bits=9"]),
        # The client's order is the chain's.
        (["permessage-deflate", "identity"], ["identity", "permessage-deflate"], ["identity", "permessage-deflate"]),
        # Two that claim RSV1 are alternatives: the client's first stays.
        (["permessage-deflate", "deflate-frame"], ["deflate-frame", "permessage-deflate"], ["deflate-frame"]),
        (["permessage-deflate", "deflate-frame"], ["permessage-deflate", "deflate-frame"], ["permessage-deflate"]),
        (["deflate-frame"], ["permessage-deflate", "deflate-frame"], ["deflate-frame"]),
    ],
)  # fmt: skip
async def test_what_both_ends_agree_on(at_server: list[Any], at_client: list[Any], ends_with: list[str]) -> None:  # F7
    got = await agreed(at_server, at_client)
    assert [one.partition("; server_no")[0] for one in got] == ends_with


@pytest.mark.parametrize(
    ("select", "ends_with"),
    [
        (lambda offers, request: None, ["identity", "fragment; maxLength=20", "permessage-deflate"]),
        (lambda offers, request: ["permessage-deflate", "fragment"], ["permessage-deflate", "fragment; maxLength=20"]),
        (lambda offers, request: [offers[1]], ["fragment; maxLength=20"]),
        (lambda offers, request: [], []),
    ],
)
async def test_a_selector_decides_on_the_chain_and_its_order(
    select: Callable[..., Any], ends_with: list[str]
) -> None:  # F7, F8
    inbox = Inbox()
    extensions = ["identity", "fragment;maxLength=20", "permessage-deflate"]
    route = http_server().websocket("/").extensions(extensions).on_extension_select(select).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server)).extensions(extensions).on_text(inbox)
        async with client.connect() as connection:
            assert [str(one).partition("; server_no")[0] for one in connection.extensions] == ends_with
            connection.send("hello " * 100)
            assert await inbox.next() == "hello " * 100


async def test_a_selector_that_chooses_two_with_one_reserved_bit_is_told_both_names() -> None:  # F8
    route = http_server().websocket("/").extensions(["permessage-deflate", "deflate-frame"]).discard()
    route.on_extension_select(lambda offers, request: offers)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server)).extensions(["permessage-deflate", "deflate-frame"])
        with logged() as records, pytest.raises(HandshakeError, match="500"):
            await client.connect()
    (record,) = records
    assert record.exc_info is not None
    assert "'permessage-deflate' and 'deflate-frame' both claim RSV1" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover, deflate-frame",
         "'permessage-deflate' and 'deflate-frame' both claim RSV1"),
        ("deflate-frame, fragment", "'fragment' cuts frames that 'deflate-frame' must get back whole"),
        ("fragment; maxLength=30", "the server raised to 30 maxLength=20"),
        ("fragment", "the server dropped maxLength=20"),
        ("identity; x", "unknown parameter 'x'"),
    ],
)  # fmt: skip
async def test_a_server_that_agrees_to_what_cannot_be_is_refused(answer: str, why: str) -> None:
    async def serve(peer: RawPeer) -> None:
        _, fields = await peer.request()
        peer.send(switching(fields["sec-websocket-key"], sec_websocket_extensions=answer))
        await peer.rest()

    ours = ["fragment;maxLength=20", "identity", "permessage-deflate", "deflate-frame"]
    if answer == "deflate-frame, fragment":
        ours[0] = "fragment"
    async with raw_server(serve) as port:
        client = http_client().websocket(f"ws://127.0.0.1:{port}/").extensions(ours).discard()
        with pytest.raises(HandshakeError, match=why):
            await soon(client.connect())


async def test_an_order_that_cannot_work_is_refused_where_it_is_given() -> None:
    why = "'fragment' goes before 'deflate-frame'"
    order = ["deflate-frame", "fragment;maxLength=20"]
    client = http_client()
    builder = client.websocket("ws://127.0.0.1:9/")
    for refuses in (client.extensions, builder.extensions):
        with pytest.raises(ValueError, match=why):
            refuses(order)
    assert builder.current().extensions is None
    # A server's is the client's, and one object may be both: it is judged by who connects.
    http_server(HttpConfig(extensions=order)).websocket("/").extensions(order)
    with pytest.raises(ValueError, match=why):
        await http_client(HttpConfig(extensions=order)).websocket("ws://127.0.0.1:9/").connect()


def test_one_name_twice_is_refused_by_the_option() -> None:
    with pytest.raises(ValueError, match="has 'permessage-deflate' twice"):
        http_server().websocket("/").extensions(["permessage-deflate", PerMessageDeflate()])


# --- deflate-frame by bytes


async def test_deflate_frame_by_hand_in_fragments_with_context() -> None:  # F7
    """RSV1 on each compressed frame, continuations too; the window lives on (draft §5)."""
    window, theirs = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)

    def deflated(text: str) -> bytes:
        return (window.compress(text.encode()) + window.flush(zlib.Z_SYNC_FLUSH))[:-4]

    route = http_server().websocket("/").extensions(["x-webkit-deflate-frame"]).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:  # noqa: SIM117
        async with raw_client(server.port) as peer:
            peer.send(upgrade(sec_websocket_extensions="permessage-deflate, x-webkit-deflate-frame"))
            assert (await peer.head()).headers["sec-websocket-extensions"] == "x-webkit-deflate-frame"
            for _ in range(3):
                peer.send(
                    frame(TEXT, deflated("hello, " * 20), fin=False, rsv=4),
                    frame(CONT, "plain, ", fin=False),
                    frame(PING, "in between"),
                    frame(CONT, deflated("hello, " * 20), rsv=4),
                )
                assert await peer.frame() == (0x80 | PONG, b"in between")
                first, payload = await peer.frame()
                assert first == 0xC1
                text = theirs.decompress(payload + b"\0\0\xff\xff").decode()
                assert text == "hello, " * 20 + "plain, " + "hello, " * 20
            assert len(payload) < 20  # it refers to what went before


@pytest.mark.parametrize("extension", ["deflate-frame", "permessage-deflate, fragment; maxLength=99999"])
async def test_a_bomb_is_stopped_at_the_limit(extension: str) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (bomb.compress(bytes(50_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(data) < 100_000
    names = ["deflate-frame", "permessage-deflate", "fragment"]
    async with http_server().websocket("/").extensions(names).discard().listen("127.0.0.1", 0) as server:  # noqa: SIM117
        async with raw_client(server.port) as peer:
            peer.send(upgrade(sec_websocket_extensions=extension))
            await peer.head()
            peer.send(frame(BINARY, data, rsv=4))
            first, payload = await peer.frame()
            assert (first, payload[:2]) == (0x80 | CLOSE, b"\x03\xf1")
            assert b"exceeds max_message_size=1048576" in payload


async def test_reserved_bits_that_the_chain_has_not_claimed_are_a_violation() -> None:
    async with http_server().websocket("/").extensions(["deflate-frame"]).discard().listen("127.0.0.1", 0) as server:
        for extensions, rsv in [("deflate-frame", 2), ("deflate-frame", 5), ("nothing", 4)]:
            async with raw_client(server.port) as peer:
                peer.send(upgrade(sec_websocket_extensions=extensions), frame(TEXT, "x", rsv=rsv))
                await peer.head()
                assert (await peer.frame())[1][:2] == b"\x03\xea"


async def test_a_compressed_message_says_so_on_its_first_frame_alone() -> None:  # F7
    """RFC 7692 §6.1, by the core and by a chain; a message in a chain's frames may begin compressed or not."""
    route = http_server().websocket("/").extensions(["permessage-deflate", "fragment"]).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        for offer in ("permessage-deflate", "permessage-deflate, fragment;maxLength=99999"):
            for first, rsv in ((b"\xf2\x48\xcd\xc9\xc9\x07\x00", 4), (b"plain", 0)):
                async with raw_client(server.port) as peer:
                    peer.send(upgrade(sec_websocket_extensions=offer), frame(TEXT, first, rsv=rsv), frame(TEXT, "fine"))
                    await peer.head()
                    assert await peer.frame() == (0x81, b"plain" if rsv == 0 else b"Hello")
                    assert await peer.frame() == (0x81, b"fine")
                    peer.send(frame(TEXT, first, rsv=rsv, fin=False), frame(CONT, b"\x00", rsv=4))
                    assert (await peer.frame())[1].startswith(b"\x03\xeaRSV1 is set on a continuation frame")


@pytest.mark.parametrize("extensions", [["deflate-frame"], ["fragment;maxLength=20", "permessage-deflate"]])
async def test_a_message_sent_piece_by_piece_passes_the_chain(extensions: list[str]) -> None:
    inbox = Inbox()
    route = http_server().websocket("/").extensions(extensions).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server)).extensions(extensions).on_text(inbox).on_binary(inbox)
        async with client.compression_threshold(0).connect() as connection:
            await connection.send_stream(["hello, ", "streaming ", "world" * 5000])
            connection.send(b"behind it")
            assert await inbox.take(2) == ["hello, streaming " + "world" * 5000, b"behind it"]


# --- extensions of the user's own


class Own:
    """Agreed on without parameters; *codec* makes what handles the frames."""

    def __init__(self, codec: Callable[[], Any], name: str = "x-own", rsv: int = 2) -> None:
        class Agreed(AgreedExtension):
            def codec(self, is_client: bool, threshold: int | None) -> Any:
                return codec()

        self.name = name
        self.agreed = Agreed(name, (), rsv)

    def offers(self) -> list[Any]:
        return [()]

    def answer(self, params: Any) -> AgreedExtension:
        return self.agreed

    def confirm(self, params: Any) -> AgreedExtension:
        return self.agreed


class Xor:
    """Turns bits over, and breaks as it is told."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken

    def turned(self, frame: Frame, method: str, marked: bool) -> list[Frame]:
        if self.broken.startswith(method):
            match self.broken.partition(" ")[2]:
                case "raises":
                    raise ZeroDivisionError
                case "text":
                    return ["text"]  # type: ignore[list-item]
                case "rsv1":
                    return [frame.replace(rsv1=True)]
                case "grows":
                    return [frame.replace(payload=bytes(2_000_000), rsv2=marked)]
        return [frame.replace(payload=bytes(byte ^ 0x55 for byte in frame.payload), rsv2=marked)]

    def encode(self, frame: Frame) -> list[Frame]:
        return self.turned(frame, "encode", True)

    def decode(self, frame: Frame, limit: int | None) -> list[Frame]:
        return self.turned(frame, "decode", False)


async def test_an_extension_of_ones_own_in_a_chain() -> None:
    frames = list[Frame]()
    inbox = Inbox()
    extensions = ["permessage-deflate", Own(Xor), "fragment;maxLength=20"]
    route = http_server().websocket("/").extensions(extensions).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        for order in [["permessage-deflate", Own(Xor)], [Own(Xor)], ["fragment;maxLength=20", Own(Xor)]]:
            client = http_client().websocket(url_of(server)).extensions(order).on_text(inbox)
            client.on_frame(lambda frame, connection: frames.append(frame))
            async with client.connect() as connection:
                connection.send("hello " * 20)
                assert await inbox.next() == "hello " * 20
                assert all(one.rsv2 for one in frames)
                assert b"hello" not in frames[-1].payload
                assert len(connection.extensions) == len(order)


@pytest.mark.parametrize(
    ("broken", "error", "code"),
    [
        ("decode raises", ZeroDivisionError, 1011),
        ("decode text", TypeError, 1011),
        ("decode rsv1", ValueError, 1011),
        ("decode grows", MessageTooBig, 1009),
        ("encode raises", ZeroDivisionError, 1011),
        ("encode text", TypeError, 1011),
        ("encode rsv1", ValueError, 1011),
    ],
)
async def test_an_extension_that_misbehaves_ends_its_connection_alone(
    broken: str, error: type[Exception], code: int
) -> None:
    """On the server: with on_error and the code that fits; others go on."""
    errors, fine = Inbox(), Inbox()
    made = iter(["", broken, ""])
    app = http_server()
    route = app.websocket("/").extensions([Own(lambda: Xor(next(made)))]).on_message(echo)
    route.on_error(lambda connection, error: errors(error))
    with logged():
        async with app.listen("127.0.0.1", 0) as server:
            healthy = http_client().websocket(url_of(server)).extensions([Own(Xor)]).on_text(fine)
            bad = http_client().websocket(url_of(server)).extensions([Own(Xor)]).discard()
            async with healthy.connect() as first, bad.connect() as second, healthy.connect() as third:
                second.send("hello")
                assert (await soon(second.wait_closed())).code == code
                assert isinstance(await errors.next(), error)
                for connection in (first, third):
                    connection.send("still there")
                    assert await fine.next() == "still there"
    assert not len(errors)


async def test_an_extension_whose_codec_cannot_be_made_refuses_the_handshake() -> None:
    def cannot() -> Any:
        raise RuntimeError("no codec today")

    for make, error in [(cannot, RuntimeError), (lambda: 5, TypeError)]:
        async with http_server().websocket("/").extensions([Own(make)]).discard().listen("127.0.0.1", 0) as server:
            client = http_client().websocket(url_of(server)).extensions([Own(Xor)]).discard()
            with logged() as records, pytest.raises(HandshakeError, match="500"):
                await client.connect()
            assert len(records) == 1
        async with http_server().websocket("/").extensions([Own(Xor)]).discard().listen("127.0.0.1", 0) as server:
            client = http_client().websocket(url_of(server)).extensions([Own(make)]).discard()
            with pytest.raises(error):
                await client.connect()
            await eventually(lambda server=server: not server.connections)
