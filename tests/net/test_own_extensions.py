"""Extensions of a user's own over sockets: in whose name they run, what they may end, what one answer may not hold."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from support import (
    BINARY,
    CLOSE,
    TEXT,
    Inbox,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
    url_of,
)

from firefly_ws import (
    AgreedExtension,
    ConnectionClosed,
    DeflateFrame,
    Frame,
    HandshakeError,
    PerMessageDeflate,
    ProtocolError,
    http_client,
    http_server,
)

CONT = 0


class Same:
    """A codec that changes nothing, but for the method that is given."""

    def __init__(
        self,
        encode: Callable[[Frame], Any] = lambda frame: [frame],
        decode: Callable[[Frame, int | None], Any] = lambda frame, limit: [frame],
    ) -> None:
        self.encode, self.decode = encode, decode


class Own:
    """Agreed on without parameters."""

    name = "x-own"

    def __init__(self, codec: Callable[[], Any] = Same, agreed: Callable[[], Any] | None = None) -> None:
        class Agreed(AgreedExtension):
            def codec(self, is_client: bool, threshold: int | None) -> Any:
                return codec()

        self.agreed = agreed or (lambda: Agreed("x-own"))

    def __repr__(self) -> str:
        return self.name

    def offers(self) -> list[Any]:
        return [()]

    def answer(self, params: Any) -> Any:
        return self.agreed()

    def confirm(self, params: Any) -> Any:
        return self.agreed()


async def test_an_extension_runs_in_no_callbacks_task_however_many_messages_come_at_once() -> None:  # F7
    """The messages of one read share a task that is kept ready; what decodes the next one is no part of it."""
    seen = Inbox()

    def decode(frame: Frame, limit: int | None) -> list[Frame]:
        seen(("decode", frame.payload, asyncio.current_task()))
        return [frame]

    async def on_text(text: str, connection: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        if text == "2":
            await asyncio.sleep(0)
            assert asyncio.current_task() is task
        seen(("text", text.encode(), None))

    route = http_server().websocket("/").extensions([Own(lambda: Same(decode=decode))]).on_text(on_text)
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(sec_websocket_extensions="x-own"))
        await peer.head()
        peer.send(*(frame(TEXT, str(number)) for number in range(5)))
        got = await seen.take(10)
    assert [task for _, _, task in got] == [None] * 10
    for what in ("decode", "text"):
        assert [payload for kind, payload, _ in got if kind == what] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("code", "text", "sent"),
    [
        (1007, "no good", b"\x03\xefno good"),
        (4000, "ä" * 100, b"\x0f\xa0" + "ä".encode() * 61),
        (1006, "no good", b"\x03\xf3"),
        (70000, "no good", b"\x03\xf3"),
        (1002, None, b"\x03\xf3"),
    ],
)
async def test_what_a_codec_blames_the_peer_for_is_sent_or_is_the_codecs_own_error(
    code: int, text: Any, sent: bytes
) -> None:
    """A code that may not be sent is an error of who made it: Close 1011, as for any other."""

    def decode(frame: Frame, limit: int | None) -> list[Frame]:
        raise ProtocolError(text, code)

    errors = Inbox()
    route = http_server().websocket("/").extensions([Own(lambda: Same(decode=decode))]).discard()
    route.on_error(lambda connection, error: errors(error))
    with logged() as records:
        async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
            peer.send(upgrade(sec_websocket_extensions="x-own"), frame(TEXT, "x"))
            await peer.head()
            assert await peer.frame() == (0x80 | CLOSE, sent)
        own = sent == b"\x03\xf3"
        assert isinstance(await errors.next(), (ValueError, TypeError) if own else ProtocolError)
    assert ["the extension x-own failed" in record.getMessage() for record in records] == [True] * own


async def test_an_answer_that_would_begin_a_header_of_its_own_is_not_sent() -> None:
    def inject() -> AgreedExtension:
        return AgreedExtension("x-own", (("p", "1\r\nSet-Cookie: evil"),))

    with logged() as records:
        async with (
            http_server().websocket("/").extensions([Own(agreed=inject)]).discard().listen("127.0.0.1", 0) as server,
            raw_client(server.port) as peer,
        ):
            peer.send(upgrade(sec_websocket_extensions="x-own"))
            answer = await peer.answer()
    assert answer.status == 500
    assert "set-cookie" not in answer.headers
    assert "must be a token" in str(records[0].exc_info)


async def test_an_extension_without_offers_is_not_taken_from_an_answer() -> None:
    class Silent(Own):
        def offers(self) -> list[Any]:
            return []

    route = http_server().websocket("/").extensions([Own()]).discard()
    async with (
        route.listen("127.0.0.1", 0) as server,
        http_client().websocket(url_of(server)).extensions([Silent()]).connect() as connection,
    ):
        assert connection.extensions == ()


@pytest.mark.parametrize("end", ["close", "drop", "terminate"])
async def test_who_ends_the_connection_while_a_message_is_coded_has_its_send_refused(end: str) -> None:
    """Nothing may follow a Close (RFC 6455 §5.5.1), and nothing is dropped in silence."""
    ours: list[Any] = []

    def leave(payload: bytes) -> bool:
        getattr(ours[0], end)()
        return True

    def encode(frame: Frame) -> list[Frame]:
        leave(b"")
        return [frame]

    choices: list[tuple[Any, list[Any]]] = [
        ("permessage-deflate", [PerMessageDeflate(compress_if=leave)]),
        ("permessage-deflate", [PerMessageDeflate(compress_if=leave, context_takeover=True)]),
        ("deflate-frame", [DeflateFrame(compress_if=leave)]),
        ("fragment;maxLength=3, permessage-deflate", ["fragment", PerMessageDeflate(compress_if=leave)]),
        ("x-own", [Own(lambda: Same(encode=encode))]),
    ]
    for offer, extensions in choices:
        refused = Inbox()

        def push(connection: Any, refused: Inbox = refused) -> None:
            ours[:] = [connection]
            try:
                connection.send("x" * 200)
            except ConnectionClosed as error:
                refused(error)

        route = http_server().websocket("/").extensions(extensions).compression_threshold(0).on_open(push)
        async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
            peer.send(upgrade(sec_websocket_extensions=offer))
            await peer.head()
            await refused.next()
            if end != "terminate":
                assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe8")
            if end == "close":
                peer.send(frame(CLOSE, b"\x03\xe8"))
            assert await soon(peer.rest()) == b""
            await eventually(lambda server=server: not server.connections)


async def test_a_stream_whose_compression_is_asked_about_may_be_closed_there() -> None:
    ours: list[Any] = []
    refused = Inbox()
    deflate = PerMessageDeflate(compress_if=lambda payload: ours[0].close())

    async def push(connection: Any) -> None:
        ours.append(connection)
        with pytest.raises(ConnectionClosed, match="send_stream") as caught:
            await connection.send_stream(["x" * 100_000, "y"])
        refused(caught.value)

    route = http_server().websocket("/").extensions([deflate]).on_open(push)
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(sec_websocket_extensions="permessage-deflate"))
        await peer.head()
        assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe8")
        await refused.next()
        peer.send(frame(CLOSE, b"\x03\xe8"))
        assert await soon(peer.rest()) == b""


# --- a message that is read in pieces


CHAINS = [
    ["deflate-frame"],
    ["x-webkit-deflate-frame"],
    ["fragment;maxLength=1000"],
    ["fragment;maxLength=1000", "permessage-deflate"],
    ["permessage-deflate", "fragment;maxLength=1000"],
    ["fragment;maxLength=1000", "identity", "deflate-frame"],
    [Own()],
]


@pytest.mark.parametrize("extensions", CHAINS, ids=str)
async def test_a_stream_longer_than_any_message_may_be_passes_a_chain(extensions: list[Any]) -> None:  # F7
    """``max_message_size`` is a message's that is asked for as a whole, whatever the extensions."""
    got = Inbox()
    # Does not shrink, and is cut within characters.
    piece = "".join(chr(0x3400 + number * 31 % 20000) for number in range(3000))

    async def serve(connection: Any) -> None:
        async with connection.receive_stream() as stream:
            got("".join([part async for part in stream]))
        got(await connection.receive())
        got(await connection.receive())

    app = http_server().websocket("/").extensions(extensions).max_message_size(20_000).handler(serve)
    async with app.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server)).extensions(extensions)
        async with client.connect() as connection:
            await connection.send_stream([piece[at : at + 1000] for at in range(0, 3000, 1000)] * 4)
            connection.send("behind it")
            assert await got.take(2) == [piece * 4, "behind it"]
            connection.send("x" * 20_001)
            assert (await soon(connection.wait_closed())).code == 1009


async def test_what_inflates_waits_on_the_wire_for_a_reader_that_does_not_come() -> None:
    """Frames that become much by inflating are not inflated ahead of who reads them."""
    decoded, go, got = Inbox(), asyncio.Event(), Inbox()

    def decode(frame: Frame, limit: int | None) -> list[Frame]:
        decoded(len(frame))
        return [frame.replace(payload=bytes(1_000_000))]

    async def serve(connection: Any) -> None:
        await go.wait()
        total = 0
        async for piece in connection.receive_stream():
            total += len(piece)
        got(total)

    route = http_server().websocket("/").extensions([Own(lambda: Same(decode=decode))]).handler(serve)
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(sec_websocket_extensions="x-own"))
        await peer.head()
        peer.send(frame(BINARY, "x", fin=False), *(frame(CONT, "x", fin=False) for _ in range(38)), frame(CONT, "x"))
        await eventually(lambda: len(decoded) >= 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(decoded) < 4
        go.set()
        assert await got.next() == 40_000_000


async def test_what_an_extension_keeps_back_is_bounded_for_a_reader_in_pieces_too() -> None:
    """A codec that joins what comes has a message's limit for what it has not given out."""

    def joining() -> Same:
        kept = list[bytes]()

        def decode(frame: Frame, limit: int | None) -> list[Frame]:
            kept.append(frame.payload)
            return []

        return Same(decode=decode)

    async def serve(connection: Any) -> None:
        async for _ in connection.receive_stream():
            pass

    route = http_server().websocket("/").extensions([Own(joining)]).max_message_size(50_000).handler(serve)
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(sec_websocket_extensions="x-own"))
        await peer.head()
        peer.send(frame(BINARY, bytes(10_000), fin=False), *(frame(CONT, bytes(10_000), fin=False) for _ in range(20)))
        first, payload = await peer.frame()
        assert (first, payload[:2]) == (0x80 | CLOSE, b"\x03\xf1")


async def test_one_frame_that_inflates_to_more_than_a_message_is_refused_in_pieces_too() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (bomb.compress(bytes(5_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH))[:-4]

    async def serve(connection: Any) -> None:
        async for _ in connection.receive_stream():
            pass

    route = http_server().websocket("/").extensions(["deflate-frame"]).handler(serve)
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(sec_websocket_extensions="deflate-frame"))
        await peer.head()
        peer.send(frame(BINARY, data, rsv=4, fin=False))
        assert (await peer.frame())[1].startswith(b"\x03\xf1a message of at least 1183745 bytes exceeds max_message")


async def test_a_client_is_told_of_an_answer_that_its_own_extension_refuses() -> None:
    """And of a failure of the extension itself as it is; nobody is connected either way."""

    class Choosy(Own):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        def confirm(self, params: Any) -> Any:
            raise self.error

    async with http_server().websocket("/").extensions([Own()]).discard().listen("127.0.0.1", 0) as server:
        for error, kind in ((ValueError("not like this"), HandshakeError), (KeyError("mine"), KeyError)):
            client = http_client().websocket(url_of(server)).extensions([Choosy(error)]).discard()
            with pytest.raises(kind, match=r"not like this|mine"):
                await soon(client.connect())
        await eventually(lambda: not server.connections)
