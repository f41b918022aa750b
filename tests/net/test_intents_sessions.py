"""What Ktor's and Kitura's tests ask of whole sessions: a client's settings, ends in the middle, floods, odd texts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from heads import CLIENTS
from peers import close, eventually
from support import ACCEPT, TEXT, Inbox, close_frame, echo, frame, raw_client, soon

from firefly_ws import (
    BinaryFrame,
    CloseCode,
    CloseReason,
    ConnectionClosed,
    ConnectionClosedError,
    FrameTooBig,
    HttpConfig,
    MsgPackConverter,
    PingTimeout,
    ReadTimeout,
    WebSocketCapability,
    WebSocketExtensionsCapability,
    WebSocketPolicy,
    http_client,
    http_server,
)


async def test_what_a_client_says_it_supports_is_agreed_on_and_used(net: Any) -> None:  # C6, C4
    client = http_client()
    assert client.is_supported(WebSocketCapability)
    assert client.is_supported(WebSocketExtensionsCapability)
    assert client.supported_extensions()
    for name in client.supported_extensions():
        server = await net.listen(net.route().extensions([name]).on_message(echo))
        session = await net.connect(server, lambda builder, name=name: builder.extensions([name]))
        assert [extension.name for extension in session.extensions] == [name]
        (accepted,) = server.connections
        assert [extension.name for extension in accepted.extensions] == [name]
        session.send("to and fro " * 100)
        assert await soon(session.receive()) == "to and fro " * 100


async def test_the_settings_of_one_client_hold_on_the_wire_for_each_of_its_sessions(net: Any) -> None:  # C1, S1
    pings, got = Inbox(), Inbox()
    server = await net.listen(net.route().extensions(["identity"]).on_ping(pings).on_message(got))
    client = http_client(
        HttpConfig(
            policy=WebSocketPolicy(ping_interval=0.02, max_frame_size=64),
            converter=MsgPackConverter(),
            extensions=["identity"],
        )
    )
    for _ in range(2):
        builder = client.websocket(f"{'wss' if net.secure else 'ws'}://127.0.0.1:{server.port}/")
        session = await (builder.ssl(net.client_context) if net.secure else builder).connect()
        net.connections.append(session)
        assert [extension.name for extension in session.extensions] == ["identity"]
        await pings.take(2)
        session.send_serialized({"a": 1})
        assert await got.next() == BinaryFrame(b"\x81\xa1a\x01")
        (accepted,) = (one for one in server.connections if one.is_open)
        accepted.send(bytes(64))
        assert await soon(session.receive()) == bytes(64)
        accepted.send(bytes(65))
        with pytest.raises(ConnectionClosedError) as raised:
            await soon(session.receive())
        assert isinstance(raised.value.__cause__, FrameTooBig)
        await soon(accepted.wait_closed())
        assert accepted.close_received.code == CloseCode.MESSAGE_TOO_BIG


async def test_outgoing_is_flushed_while_the_session_is_open(net: Any) -> None:  # C4, S4
    server = await net.listen(net.route().discard())
    session = await net.connect(server)
    for _ in range(64):
        session.outgoing.send(bytes(64 * 1024))
    await soon(session.outgoing.flush())
    assert (session.buffered_amount, session.is_open) == (0, True)


@pytest.mark.parametrize("doing", ["receiving", "iterating", "sending", "waiting"])
async def test_a_client_that_vanishes_ends_a_session_whatever_it_does(plain: Any, doing: str) -> None:  # S4, S6
    ended = Inbox()

    async def handler(session: Any) -> None:
        began.set()
        try:
            match doing:
                case "receiving":
                    await session.receive()
                case "iterating":
                    async for _ in session.incoming:
                        pass
                case "sending":
                    while True:
                        await session.send("a" * 2000)
                        await asyncio.sleep(0)
                case "waiting":
                    await session.wait_closed()
        except ConnectionClosed as closed:
            ended((closed.reason.code, session.close_reason.code))
        else:
            ended((1006, session.close_reason.code))

    began = asyncio.Event()
    peer = await plain.serve(plain.route().handler(handler))
    await soon(began.wait())
    peer.abort()
    assert await ended.next() == (1006, 1006)


async def test_a_client_that_closes_first_ends_what_comes_in_and_what_goes_out(net: Any) -> None:  # S4, C8
    raised = Inbox()

    async def handler(session: Any) -> None:
        for step in (session.receive, lambda: session.send("not sent"), lambda: session.outgoing.send("nor this")):
            try:
                await step()
            except ConnectionClosed as closed:
                raised(closed.received)

    peer = await net.serve(net.route().handler(handler))
    peer.write(close(1001, "Completed."))
    assert (await peer.closed()).code == 1001
    assert await raised.take(3) == [CloseReason(1001, "Completed.")] * 3


async def test_a_server_that_closes_first_is_answered_and_ends_tcp(net: Any) -> None:  # S4, C8
    route = net.route().handler(lambda session: session.close(CloseCode.TRY_AGAIN_LATER, "test"))
    server = await net.listen(route)
    peer = await net.peer(server)
    frame = await peer.frame()
    assert (frame.code, frame.reason) == (1013, "test")
    peer.write(close(1013))
    assert await peer.frame() is None
    session = await net.connect(server)
    assert await soon(session.wait_closed()) == CloseReason(1013, "test")
    assert session.close_details.began == "remote"


async def test_a_hundred_thousand_frames_at_once_are_read_in_order_by_a_session(plain: Any) -> None:  # S2, S3
    counted = Inbox()

    async def handler(session: Any) -> None:
        expected = 0
        async for text in session.texts():
            assert text == str(expected)
            expected += 1
        counted(expected)

    peer = await plain.serve(plain.route().handler(handler))
    texts = [str(number).encode() for number in range(100_000)]
    peer.write(b"".join(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text for text in texts), close())
    assert (await peer.closed()).code == 1000
    assert await counted.next() == 100_000


async def test_a_silent_session_ends_by_a_limit_that_it_is_given_while_open(
    plain: Any,
) -> None:  # F10, S1
    server = await plain.listen(plain.route().discard())
    for settings, error in (
        ({"read_timeout": 0.05}, ReadTimeout),
        ({"ping_interval": 0.02, "ping_timeout": 0.02}, PingTimeout),
    ):
        peer = await plain.peer(server)
        await eventually(lambda: [one for one in server.connections if one.is_open])
        (session,) = (one for one in server.connections if one.is_open)
        for name, seconds in settings.items():
            setattr(session, name, seconds)
        assert (await soon(session.wait_closed())).code == 1006
        assert isinstance(session.error, error)
        peer.abort()


@pytest.mark.parametrize("browser", ["Chromium", "Firefox", "Safari", "Safari of old"])
async def test_what_each_browser_asks_for_is_agreed_on_and_used(plain: Any, browser: str) -> None:  # K2
    offered = "x-webkit-deflate-frame" if browser.endswith("old") else "permessage-deflate"
    app = http_server().websocket("/room/{name}").extensions(["permessage-deflate", "x-webkit-deflate-frame"])
    server = await plain.listen(app.on_message(echo))
    async with raw_client(server.port) as peer:
        peer.send(CLIENTS[browser])
        answer = await peer.head()
        assert (answer.status, answer.headers["sec-websocket-accept"]) == (101, ACCEPT)
        assert answer.headers["sec-websocket-extensions"].partition(";")[0] == offered
        hello = b"\xf2H\xcd\xc9\xc9\x07\x00"  # RFC 7692 §7.2.3.1
        peer.send(frame(TEXT, hello, rsv=4), frame(TEXT, "not compressed"))
        assert (await peer.frame())[1] in (hello, b"Hello")  # shorter than the threshold
        assert await peer.frame() == (0x81, b"not compressed")
        peer.send(close_frame(1000))
        assert (await peer.frame())[0] == 0x88


async def test_texts_of_nothing_of_null_and_of_every_plane_come_back_as_they_are(net: Any) -> None:  # K4, F3
    server = await net.listen(net.route().on_message(echo))
    session = await net.connect(server)
    for message in ("", "\0", "a\0b", "\ufeff", "\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff", b"", b"\0"):
        session.send(message)
        assert await soon(session.receive()) == message


async def test_a_chat_tells_all_but_the_sender_and_refuses_binary(net: Any) -> None:  # K5, W5
    class Chat:
        def __init__(self) -> None:
            self.members: dict[int, Any] = {}
            self.left: list[CloseReason] = []

        def connected(self, connection: Any) -> None:
            self.members[connection.id] = connection

        def received(self, message: str | bytes, connection: Any) -> None:
            if isinstance(message, bytes):
                connection.close(CloseCode.UNSUPPORTED_DATA, "Chat-Server only accepts text messages")
                return
            for number, member in self.members.items():
                if number != connection.id:
                    member.send(message)

        def disconnected(self, connection: Any, reason: CloseReason) -> None:
            del self.members[connection.id]
            self.left.append(reason)

    chat = Chat()
    server = await net.listen(net.route().service(chat))
    ada, bob, eve = [await net.connect(server) for _ in range(3)]
    ada.send("hello")
    assert [await soon(one.receive()) for one in (bob, eve)] == ["hello", "hello"]
    eve.send(b"\0")
    with pytest.raises(ConnectionClosedError, match=r"1003.*only accepts text"):
        await soon(eve.receive())
    await eventually(lambda: chat.left)
    assert [reason.code for reason in chat.left] == [1003]
    bob.send("who has gone?")
    assert await soon(ada.receive()) == "who has gone?"
    await ada.ping()  # it was told nothing of its own
    assert ada.stats["messages_received"] == 1
