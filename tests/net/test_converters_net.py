"""Values over sockets: typed callbacks, send_serialized, and what becomes of messages that do not fit."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any, TypedDict

import msgspec
import pytest
from support import (
    BINARY,
    CLOSE,
    TEXT,
    Inbox,
    close_frame,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
    url_of,
)

from firefly_ws import (
    BinaryFrame,
    ConnectionClosed,
    ConnectionClosedOK,
    ConverterNotFound,
    DeserializeError,
    Frame,
    HttpConfig,
    JsonConverter,
    MsgPackConverter,
    Opcode,
    PerMessageDeflate,
    Server,
    TextFrame,
    WebSocketConnection,
    http_client,
    http_server,
)


@dataclasses.dataclass
class ChatMessage:
    user: str
    message: str
    timestamp: int


class Point(TypedDict):
    x: int
    y: int


class Tick(msgspec.Struct, tag=True):
    at: float


class Trade(msgspec.Struct, tag=True):
    price: int


HELLO = ChatMessage("alice", "Hello everyone!", 1)


@pytest.mark.parametrize("first", [JsonConverter, MsgPackConverter])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (HELLO, ChatMessage),
        ({"x": 1, "y": 2}, Point),
        (Trade(5), Tick | Trade),
        ([1, "a", None], list[int | str | None]),
        ("ä€😀", str),
        ({"a": [1.5, True]}, dict),
    ],
    ids=repr,
)
async def test_values_go_both_ways(first: Any, value: object, kind: Any) -> None:  # C7
    """Client and server each send, one by the default and one by the converter that was named first."""
    got, back = Inbox(), Inbox()
    route = http_server().websocket("/").converter(first()).on_message(back, type=kind)
    server = await route.on_open(lambda connection: connection.send_serialized(value)).listen("127.0.0.1", 0)
    client = http_client().websocket(url_of(server)).on_message(got, type=kind)
    if first is MsgPackConverter:
        client.converter(MsgPackConverter())
    async with client.connect() as connection:
        assert await got.next() == value
        connection.send_serialized(value)
        assert await back.next() == value
    await server.close()


async def test_by_default_json_goes_out_and_both_formats_come_in() -> None:  # C7
    got = Inbox()
    server = await (
        http_server()
        .websocket("/")
        .on_message(got, type=list[int])
        .on_open(lambda connection: connection.send_serialized([1, 2]))
        .listen("127.0.0.1", 0)
    )
    async with raw_client(server.port) as peer:
        peer.send(upgrade(), frame(TEXT, "[3]"), frame(BINARY, msgspec.msgpack.encode([4])))
        await peer.head()
        assert await peer.frame() == (0x80 | TEXT, b"[1,2]")
        assert await got.take(2) == [[3], [4]]
    await server.close()


async def test_a_value_goes_through_compression_and_fragments_as_any_message_does() -> None:
    got = Inbox()
    value = {"text": "ä" * 5000}
    server = await http_server().websocket("/").on_message(got, type=dict).listen("127.0.0.1", 0)
    client = http_client().websocket(url_of(server)).discard().extensions([PerMessageDeflate()])
    async with client.connect() as connection:
        assert connection.extensions
        await connection.send_serialized(value)
        assert await got.next() == value
    async with raw_client(server.port) as peer:
        peer.send(upgrade(), frame(TEXT, '{"te', fin=False), frame(0, 'xt": ', fin=False), frame(0, "1}"))
        assert await got.next() == {"text": 1}
    await server.close()


async def test_one_converter_for_all_connections_of_a_client_and_a_server() -> None:  # C1
    got, back = Inbox(), Inbox()
    config = HttpConfig(converter=MsgPackConverter())
    app = http_server(config)
    app.websocket("/values").on_message(lambda value, connection: connection.send_serialized(value), type=Any)
    app.websocket("/frames").on_message(got)
    server = await app.listen("127.0.0.1", 0)
    client = http_client().converter(MsgPackConverter())
    async with client.ws(url_of(server, "/frames")).discard().connect() as connection:
        connection.send_serialized([1])
        assert await got.next() == BinaryFrame(b"\x91\x01")
    async with client.ws(url_of(server, "/values")).on_message(back).connect() as connection:
        connection.send_serialized({"a": 1})
        assert await back.next() == BinaryFrame(msgspec.msgpack.encode({"a": 1}))
    own = client.ws(url_of(server, "/frames")).converter(JsonConverter()).discard()
    async with own.connect() as connection:
        connection.send_serialized([1])
        assert await got.next() == TextFrame("[1]")
    await server.close()


class Rot13:
    """A converter of a user's."""

    frame_types = frozenset({Opcode.TEXT})

    def serialize(self, value: Any) -> Frame:
        return TextFrame(self.turned(value.name))

    def deserialize(self, frame: Frame, type: Any) -> Any:
        return type(self.turned(frame.payload.decode()))

    def turned(self, text: str) -> str:
        return text.translate({code: (code - 97 + 13) % 26 + 97 for code in range(97, 123)})


class Named:
    def __init__(self, name: str) -> None:
        if not name.islower():
            raise ValueError(f"{name!r} is no name")
        self.name = name


async def test_a_converter_of_a_users_own() -> None:  # C7
    got, wrong = Inbox(), Inbox()
    route = http_server().websocket("/").converter(Rot13()).on_message(got, type=Named)
    server = await route.on_error(lambda connection, error: wrong(error)).listen("127.0.0.1", 0)
    async with http_client().ws(url_of(server)).discard().converter(Rot13()).connect() as connection:
        connection.send("")
        connection.send_serialized(Named("hello"))
        assert (await got.next()).name == "hello"
        error = await wrong.next()
        assert isinstance(error, DeserializeError)
        assert str(error) == "a text message does not fit Named: '' is no name"
        assert isinstance(error.__cause__, ValueError)
    await server.close()


# --- what does not fit


async def test_a_value_that_does_not_fit_goes_to_on_error_and_the_connection_stays_open() -> None:  # C7
    got, wrong = Inbox(), Inbox()
    server = await (
        http_server()
        .websocket("/")
        .converter(JsonConverter())
        .on_message(got, type=ChatMessage)
        .on_error(lambda connection, error: wrong((connection, error)))
        .on_close(lambda connection, reason: got(reason))
        .listen("127.0.0.1", 0)
    )
    with logged() as records:
        async with raw_client(server.port) as peer:
            good = msgspec.json.encode(HELLO)
            peer.send(upgrade(), frame(TEXT, good), frame(TEXT, '{"user": 5}'), frame(BINARY, b"x"), frame(TEXT, good))
            assert await got.take(2) == [HELLO, HELLO]
            (connection, first), (_, second) = await wrong.take(2)
            assert isinstance(first, DeserializeError)
            assert first.frame == TextFrame('{"user": 5}')
            assert isinstance(second, ConverterNotFound)
            assert second.frame == BinaryFrame(b"x")
            assert connection.is_open
            peer.send(close_frame(1000))
            assert (await got.next()).code == 1000
    assert len(wrong) == 0
    assert records == []
    await server.close()


@pytest.mark.parametrize(
    ("message", "code"), [(frame(TEXT, "{}"), 1007), (frame(TEXT, "{"), 1007), (frame(BINARY, b"\x01"), 1003)]
)
async def test_without_on_error_it_is_logged_and_the_connection_closed(message: bytes, code: int) -> None:  # C7
    got = Inbox()
    route = http_server().websocket("/").converter(JsonConverter()).on_message(got, type=ChatMessage)
    server = await route.on_close(lambda connection, reason: got(connection.close_sent)).listen("127.0.0.1", 0)
    with logged() as records:
        async with raw_client(server.port) as peer:
            peer.send(upgrade(), message, frame(TEXT, msgspec.json.encode(HELLO)))
            await peer.head()
            first, payload = await peer.frame()
            assert (first & 15, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
            assert b"ChatMessage" not in payload
            peer.send(close_frame(code))
            assert await peer.rest() == b""
        # Nothing came behind the message that did not fit.
        assert (await got.next()).code == code
    (record,) = records
    assert record.levelname == "ERROR"
    assert ".on_error(callback) would keep it open" in record.getMessage()
    await server.close()


async def test_an_async_on_error_holds_the_next_message_back_as_the_callback_would() -> None:
    got = Inbox()
    gate = asyncio.Event()

    async def on_error(connection: object, error: BaseException) -> None:
        await gate.wait()
        got("wrong")

    route = http_server().websocket("/").on_message(got, type=int).on_error(on_error)
    server = await route.listen("127.0.0.1", 0)
    async with http_client().ws(url_of(server)).discard().connect() as connection:
        connection.send('"x"')
        connection.send("1")
        await connection.ping()
        assert len(got) == 0
        gate.set()
        assert await got.take(2) == ["wrong", 1]
    await server.close()


async def test_an_error_of_the_typed_callback_ends_the_connection_with_1011() -> None:
    def on_message(value: int, connection: object) -> None:
        raise RuntimeError("mine")

    wrong = Inbox()
    route = http_server().websocket("/").on_message(on_message, type=int)
    server = await route.on_error(lambda connection, error: wrong(error)).listen("127.0.0.1", 0)
    with logged():
        connection = await http_client().ws(url_of(server)).discard().connect()
        connection.send("1")
        assert (await soon(connection.wait_closed())).code == 1011
    assert str(await wrong.next()) == "mine"
    await server.close()


async def test_typed_callbacks_may_be_async_and_keep_the_order() -> None:
    got = Inbox()

    async def on_message(value: int, connection: Any) -> None:
        await asyncio.sleep(0)
        got(value)

    server = await http_server().websocket("/").on_message(on_message, type=int).listen("127.0.0.1", 0)
    async with http_client().ws(url_of(server)).discard().connect() as connection:
        for number in range(20):
            connection.send_serialized(number)
        assert await got.take(20) == list(range(20))
    await server.close()


async def test_on_text_takes_text_and_the_typed_callback_what_is_left() -> None:
    got = Inbox()
    route = http_server().websocket("/").on_text(got).on_message(got, type=int)
    server = await route.listen("127.0.0.1", 0)
    async with http_client().ws(url_of(server)).discard().connect() as connection:
        connection.send("1")
        connection.send(b"\x01")
        assert await got.take(2) == ["1", 1]
    await server.close()


# --- receiving


async def handled(handler: Any, *converters: Any) -> Server:
    """A server whose handler receives."""
    route = http_server().websocket("/").handler(handler)
    for converter in converters:
        route.converter(converter)
    server: Server = await route.listen("127.0.0.1", 0)
    return server


@pytest.mark.parametrize("first", [JsonConverter, MsgPackConverter])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (HELLO, ChatMessage),
        ({"x": 1, "y": 2}, Point),
        (Trade(5), Tick | Trade),
        (Tick(0.5), Tick | Trade),
        (None, ChatMessage | None),
        ([1, "a", None], list[int | str | None]),
        (5, int),
        ({"a": [1.5, True]}, dict),
        (["any", {"thing": None}], Any),
    ],
    ids=repr,
)
async def test_a_typed_value_is_sent_and_received(first: Any, value: object, kind: Any) -> None:  # C7
    async def handler(connection: WebSocketConnection) -> None:
        got = await connection.receive_deserialized(kind)
        assert got == value
        assert type(got) is type(value)
        await connection.send_serialized(got)

    server = await handled(handler, first())
    async with http_client().ws(url_of(server)).converter(first()).connect() as connection:
        await connection.send_serialized(value)
        assert await soon(connection.receive_deserialized(kind)) == value
    await server.close()


async def test_by_default_json_and_messagepack_are_received_in_the_order_they_came() -> None:  # C7
    async def handler(connection: WebSocketConnection) -> None:
        connection.send('{"a": 1}')
        connection.send(msgspec.msgpack.encode({"a": 2}))
        connection.send('{"a": 3}')

    server = await handled(handler)
    async with http_client().ws(url_of(server)).connect() as connection:
        assert [await soon(connection.receive_deserialized(dict)) for _ in range(3)] == [{"a": 1}, {"a": 2}, {"a": 3}]
        with pytest.raises(ConnectionClosedOK, match=r"receive_deserialized\(\)"):
            await soon(connection.receive_deserialized(dict))
    await server.close()


async def test_what_does_not_fit_raises_with_the_frame_and_the_next_message_is_received() -> None:  # C7
    async def handler(connection: WebSocketConnection) -> None:
        for message in ('{"user": 5}', "{", b"\x01", msgspec.json.encode(HELLO).decode()):
            connection.send(message)
        assert await connection.receive_text() == "still usable"

    server = await handled(handler)
    async with http_client().ws(url_of(server)).converter(JsonConverter()).connect() as connection:
        for text in ('{"user": 5}', "{"):
            with pytest.raises(DeserializeError, match="a text message does not fit ChatMessage") as misfit:
                await soon(connection.receive_deserialized(ChatMessage))
            assert misfit.value.frame == TextFrame(text)
        with pytest.raises(ConverterNotFound, match="no converter takes binary messages") as missing:
            await soon(connection.receive_deserialized(ChatMessage))
        assert missing.value.frame == BinaryFrame(b"\x01")
        assert connection.is_open
        assert await soon(connection.receive_deserialized(ChatMessage)) == HELLO
        connection.send("still usable")
        assert (await soon(connection.wait_closed())).code == 1000
    await server.close()


async def test_a_type_that_no_message_can_become_takes_no_message() -> None:
    async def handler(connection: WebSocketConnection) -> None:
        connection.send("1")

    server = await handled(handler)
    async with http_client().ws(url_of(server)).connect() as connection:
        with pytest.raises(TypeError, match="unions may not contain more than one"):
            await connection.receive_deserialized(list[ChatMessage | Point])
        assert await soon(connection.receive_deserialized(int)) == 1
    await server.close()


async def test_where_messages_go_to_a_callback_there_is_nothing_to_receive() -> None:
    server = await handled(lambda connection: asyncio.sleep(0))
    connection = await http_client().ws(url_of(server)).on_message(print, type=int).connect()
    with pytest.raises(RuntimeError, match=r"receive_deserialized\(\): the messages .* go to its callback"):
        await connection.receive_deserialized(int)
    await soon(connection.wait_closed())
    await server.close()


async def test_a_cancelled_receive_loses_nothing() -> None:
    gate = asyncio.Event()

    async def handler(connection: WebSocketConnection) -> None:
        await gate.wait()
        connection.send("1")

    server = await handled(handler)
    async with http_client().ws(url_of(server)).connect() as connection:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.receive_deserialized(int), 0.01)
        gate.set()
        assert await soon(connection.receive_deserialized(int)) == 1
    await server.close()


async def test_a_value_is_received_from_another_thread() -> None:
    server = await handled(lambda connection: connection.send_serialized(HELLO))
    async with http_client().ws(url_of(server)).connect() as connection:
        got = await asyncio.to_thread(lambda: connection.threadsafe.receive_deserialized(ChatMessage).result(5))
        assert got == HELLO
    await server.close()


# --- sending


async def test_the_callback_of_connect_async_sends_by_the_clients_converter() -> None:  # C7
    got = Inbox()
    server = await http_server().websocket("/").on_message(got).listen("127.0.0.1", 0)
    client = http_client().ws(url_of(server)).discard().converter(MsgPackConverter())
    await soon(client.connect_async(lambda connection: connection.send_serialized([1])))
    assert await got.next() == BinaryFrame(b"\x91\x01")
    await server.close()


async def test_a_send_raises_from_the_call_and_the_connection_stays_usable() -> None:  # C7
    got = Inbox()
    server = await http_server().websocket("/").on_message(got, type=int).listen("127.0.0.1", 0)
    connection = await http_client().ws(url_of(server)).discard().connect()
    with pytest.raises(TypeError, match="object"):
        connection.send_serialized(object())
    connection.send_serialized(5)
    assert await got.next() == 5
    await soon(connection.close())
    with pytest.raises(ConnectionClosed):
        connection.send_serialized(5)
    await server.close()


async def test_a_value_is_sent_from_another_thread() -> None:
    got = Inbox()
    server = await http_server().websocket("/").on_message(got, type=ChatMessage).listen("127.0.0.1", 0)
    async with http_client().ws(url_of(server)).discard().connect() as connection:
        thread = threading.Thread(target=lambda: connection.threadsafe.send_serialized(HELLO).result(5))
        thread.start()
        assert await got.next() == HELLO
        await asyncio.to_thread(thread.join)
    await server.close()


async def test_a_route_added_while_the_server_runs_with_a_type_that_cannot_be_made_answers_500() -> None:
    app = http_server()
    server = await app.listen("127.0.0.1", 0)
    app.websocket("/late").on_message(print, type=dict[str, list[ChatMessage | Point]])
    with logged() as records:
        async with raw_client(server.port) as peer:
            peer.send(upgrade("/late"))
            assert (await peer.answer()).status == 500
    assert "an option" in records[0].getMessage()
    await server.close()
