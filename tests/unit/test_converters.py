"""Converters alone: values to messages and back, what does not fit, and how they share the types of messages."""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import numbers
from typing import Annotated, Any, TypedDict, Union

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firefly_ws import (
    BinaryFrame,
    CloseCode,
    Converter,
    ConverterNotFound,
    DeserializeError,
    Frame,
    HttpConfig,
    JsonConverter,
    MsgPackConverter,
    Opcode,
    TextFrame,
    http_client,
    http_server,
)
from firefly_ws.converters import Converters, check_converters, default_converters


@dataclasses.dataclass
class Order:
    item: str
    count: int = 1


@dataclasses.dataclass
class Cancel:
    number: int


class Point(TypedDict):
    x: int
    y: int


class Tick(msgspec.Struct, tag=True):
    at: float


class Trade(msgspec.Struct, tag=True):
    price: int


class Lines:
    """A converter of a user's: a list of lines, in text and in binary messages."""

    frame_types = (Opcode.TEXT, Opcode.BINARY)

    def serialize(self, value: Any) -> str | bytes | Frame:
        return "\n".join(value)

    def deserialize(self, frame: Frame, type: Any) -> Any:
        return type(frame.payload.decode().split("\n"))


@pytest.fixture(params=[JsonConverter, MsgPackConverter], ids=["json", "msgpack"])
def converter(request: pytest.FixtureRequest) -> Converter:
    made: Converter = request.param()
    return made


def as_frame(message: str | bytes | Frame) -> Frame:
    if isinstance(message, Frame):
        return message
    return TextFrame(message) if isinstance(message, str) else BinaryFrame(message)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Order("tea", 3), Order),
        ({"x": 1, "y": -2}, Point),
        (Tick(1.5), Tick),
        (Trade(7), Tick | Trade),
        ([Order("tea"), Order("cup", 2)], list[Order]),
        ({"a": [1, None, 2.5, "b", True]}, Any),
        (None, None),
        (None, Order | None),
        ("ä€😀", str),
        (5, int | str),
        (datetime.datetime(2024, 5, 17, tzinfo=datetime.UTC), datetime.datetime),
        (b"\0\xff", bytes),
    ],
    ids=repr,
)
def test_a_value_comes_back_as_it_was_sent(converter: Converter, value: object, kind: Any) -> None:  # C7
    frame = as_frame(converter.serialize(value))
    assert {frame.frame_type} == set(converter.frame_types)
    assert converter.deserialize(frame, kind) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)  # fmt: skip
def test_builtins_come_back_as_they_were_sent(value: object) -> None:  # C7
    for converter in (JsonConverter(), MsgPackConverter()):
        assert converter.deserialize(as_frame(converter.serialize(value)), Any) == value


def test_json_is_text_that_others_read() -> None:
    assert JsonConverter().serialize(Order("tea", 2)) == '{"item":"tea","count":2}'
    assert MsgPackConverter().serialize([1]) == b"\x91\x01"


@pytest.mark.parametrize("payload", ["", "{", '{"item":', "[1]", '{"item": 5}', '{"count": 1}', "null", '"x"', "5"])
def test_text_that_does_not_fit_raises_with_the_frame_and_says_why(payload: str) -> None:  # C7
    frame = TextFrame(payload)
    with pytest.raises(DeserializeError, match=r"^a text message does not fit Order: .") as caught:
        JsonConverter().deserialize(frame, Order)
    assert caught.value.frame is frame
    assert isinstance(caught.value.__cause__, msgspec.DecodeError)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x81\xa4item\x05", b"\x91", b"\x01\x02"])
def test_bytes_that_do_not_fit_raise_with_the_frame(payload: bytes) -> None:  # C7
    frame = BinaryFrame(payload)
    with pytest.raises(DeserializeError, match=r"^a binary message does not fit list\[int\]: .") as caught:
        MsgPackConverter().deserialize(frame, list[int])
    assert caught.value.frame is frame


def test_what_a_peer_sent_is_quoted_in_part_and_on_one_line() -> None:
    class Quotes(Lines):
        def deserialize(self, frame: Frame, type: Any) -> Any:
            raise ValueError(frame.payload.decode())

    for text, said in (("a\r\nb\x1b[1m ä€", r"a\r\nb\x1b[1m ä€"), ("x" * 1000, "x" * 300 + "...")):
        with pytest.raises(DeserializeError) as caught:
            Converters([Quotes()]).deserialize(TextFrame(text), int)
        assert str(caught.value) == f"a text message does not fit int: {said}"


def test_what_is_nested_too_deeply_does_not_fit_either(converter: Converter) -> None:
    frame = TextFrame("[" * 100_000) if Opcode.TEXT in converter.frame_types else BinaryFrame(b"\x91" * 100_000)
    with pytest.raises(DeserializeError, match="recursion"):
        converter.deserialize(frame, Any)


def test_the_members_of_a_union_that_looks_alike_are_tried_in_order(converter: Converter) -> None:  # C7
    for union in (Order | Cancel, Union[Order, Cancel], Order | Cancel | None):  # noqa: UP007
        for value in (Order("tea"), Cancel(5)):
            assert converter.deserialize(as_frame(converter.serialize(value)), union) == value
    both = as_frame(converter.serialize({"item": "tea", "number": 5}))
    assert converter.deserialize(both, Order | Cancel) == Order("tea")
    assert converter.deserialize(both, Cancel | Order) == Cancel(5)
    with pytest.raises(DeserializeError, match=r"Order: .*`item`; Cancel: .*`number`"):
        converter.deserialize(as_frame(converter.serialize({})), Order | Cancel)


def test_a_decoder_is_made_once_for_a_type() -> None:
    converter = JsonConverter()
    assert converter.decoder(Order) is converter.decoder(Order)
    assert converter.decoder(list[Order]) is converter.decoder(list[Order])
    assert converter.decoder(Order | Cancel) is converter.decoder(Order | Cancel)
    assert converter.decoder(Order | Cancel) is not converter.decoder(Cancel | Order)


def test_a_type_that_no_message_can_become_is_the_callers_fault(converter: Converter) -> None:
    frame = as_frame(converter.serialize(1))
    with pytest.raises(TypeError, match="unions may not contain more than one"):
        converter.deserialize(frame, list[Order | Cancel])


@dataclasses.dataclass
class Mutable:
    fields: list[int]


@pytest.mark.parametrize(
    "kind",
    [complex, TextFrame, Exception, Order | TextFrame, Mutable([1]), [int], {"a": int}, "Order", 5, print],
    ids=repr,
)
def test_what_no_message_can_become_is_refused_when_it_is_given(converter: Converter, kind: Any) -> None:  # C7
    with pytest.raises(TypeError, match=r"type=.*: no message can become that"):
        converter.decoder(kind)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"type=.*: no message can become that"):
        http_server().websocket("/").on_message(lambda value, connection: None, type=kind).listen("127.0.0.1", 0)


def test_an_annotation_that_cannot_be_found_is_named_with_its_type(converter: Any) -> None:
    @dataclasses.dataclass
    class Inner:
        a: int

    @dataclasses.dataclass
    class Outer:
        inner: Inner

    with pytest.raises(TypeError, match=r"^type=.*Outer: name 'Inner' is not defined; msgspec looks in the module"):
        converter.decoder(Outer)


def test_what_any_message_is_already_may_be_asked_for(converter: Converter) -> None:
    frame = as_frame(converter.serialize(5))
    for kind in (object, numbers.Number, Annotated[int, msgspec.Meta(extra_json_schema={"a": 1})]):
        assert converter.deserialize(frame, kind) == 5


def test_decoders_of_classes_that_are_made_again_and_again_do_not_pile_up(converter: Any) -> None:
    for number in range(1100):
        converter.decoder(Annotated[int, msgspec.Meta(gt=number)])
    assert len(converter._decoders) <= 1024


def test_a_value_without_words_raises_where_it_is_serialized(converter: Converter) -> None:
    with pytest.raises(TypeError, match="object"):
        converter.serialize(object())
    with pytest.raises(UnicodeEncodeError):
        converter.serialize("\ud800")


# --- several converters


def test_by_default_json_takes_text_and_messagepack_binary() -> None:  # C7
    both = default_converters()
    assert both is default_converters()
    assert both.deserialize(TextFrame("[1]"), list[int]) == [1]
    assert both.deserialize(BinaryFrame(b"\x91\x01"), list[int]) == [1]
    assert both.serialize([1]) == "[1]"


def test_the_first_converter_sends_and_each_receives_its_types() -> None:
    both = Converters([MsgPackConverter(), JsonConverter()])
    assert both.serialize([1]) == b"\x91\x01"
    assert both.deserialize(TextFrame("[1]"), list[int]) == [1]


def test_a_converter_of_a_users_own() -> None:
    lines = Converters(check_converters(Lines()))
    assert lines.serialize(["a", "b"]) == "a\nb"
    assert lines.deserialize(TextFrame("a\nb"), list) == ["a", "b"]
    assert lines.deserialize(BinaryFrame(b"a\nb"), tuple) == ("a", "b")
    with pytest.raises(DeserializeError, match="does not fit list") as caught:
        lines.deserialize(BinaryFrame(b"\xff"), list)
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_a_message_that_no_converter_takes_raises_with_the_frame_and_lists_those_there_are() -> None:  # C7
    frame = BinaryFrame(b"\x91")
    match = r"no converter takes binary messages; there is JsonConverter\(\) \(text\), .*\.converter\(c\)"
    with pytest.raises(ConverterNotFound, match=match) as caught:
        Converters([JsonConverter()]).deserialize(frame, Any)
    assert caught.value.frame is frame


def test_a_converter_that_serializes_to_something_else_is_named() -> None:
    class Bad(Lines):
        def serialize(self, value: Any) -> Any:
            return 5

    with pytest.raises(TypeError, match=r"Bad object .*serialize\(\) must return str, bytes or a Frame, not int"):
        Converters([Bad()]).serialize(1)


def test_a_users_own_deserialize_error_has_the_frame_too() -> None:
    class Strict(Lines):
        def deserialize(self, frame: Frame, type: Any) -> Any:
            raise DeserializeError("not today")

    frame = TextFrame("x")
    with pytest.raises(DeserializeError, match=r"^not today$") as caught:
        Converters([Strict()]).deserialize(frame, list)
    assert caught.value.frame is frame


class NoTypes(Lines):
    frame_types: Any = ()


class Pings(Lines):
    frame_types: Any = (Opcode.TEXT, Opcode.PING)


class Word(Lines):
    frame_types: Any = "text"


class Lists(Lines):
    frame_types: Any = ([1],)


class Awaited(Lines):
    async def deserialize(self, frame: Frame, type: Any) -> Any:
        return frame


class AwaitedOut(Lines):
    async def serialize(self, value: Any) -> Any:
        return value


class NoType(Lines):
    def deserialize(self, frame: Frame) -> Any:  # type: ignore[override]
        return frame


class Decodes(Lines):
    decoder = 5


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (JsonConverter, TypeError, r"must be an object, as JsonConverter\(\), not the class"),
        (5, TypeError, r"converter=5 must have a method serialize\(\)"),
        ([[JsonConverter()]], TypeError, r"must be one converter; each call of \.converter\(c\) adds one"),
        (json, TypeError, r"must have a method serialize\(\)"),
        (NoTypes(), ValueError, r"frame_types=\(\) must be Opcode.TEXT, Opcode.BINARY or both"),
        (Pings(), ValueError, r"must be Opcode.TEXT, Opcode.BINARY or both"),
        (Word(), TypeError, r"frame_types='text' must be a set, as {Opcode.TEXT}"),
        (Lists(), ValueError, r"frame_types=\(\[1\],\) must be Opcode.TEXT, Opcode.BINARY or both"),
        (Awaited(), TypeError, r"Awaited .*: its deserialize\(\): it must be a plain function, not an async one"),
        (AwaitedOut(), TypeError, r"AwaitedOut .*: its serialize\(\): it must be a plain function, not an async one"),
        (NoType(), TypeError, r"its deserialize\(\): it is called with \(frame, type\), but its parameters are \("),
        (Decodes(), TypeError, r"must have a method decoder\(\), not decoder=5"),
        ((JsonConverter(), Lines()), ValueError, r"Lines .*takes text messages, and JsonConverter\(\) does already"),
    ],
)
def test_what_is_no_converter_is_refused_where_it_is_given(value: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        HttpConfig(converter=value)
    if not isinstance(value, tuple):
        for builder in (http_server(), http_server().websocket("/"), http_client(), http_client().ws("ws://a/")):
            with pytest.raises(error, match=match):
                builder.converter(value)


@pytest.mark.parametrize("make", [http_server, http_client], ids=["server", "client"])
def test_a_routes_converters_win_over_the_defaults_and_those_over_the_configs(make: Any) -> None:  # C1
    def new(end: Any) -> Any:
        return end.websocket("ws://a/" if make is http_client else "/")

    assert new(make()).current().callbacks.converters is None
    configured = new(make(HttpConfig(converter=MsgPackConverter()))).current().callbacks.converters
    assert configured.serialize(1) == b"\x01"
    end = make(HttpConfig(converter=[JsonConverter()]))
    builder = new(end)
    assert builder.current().callbacks.converters.serialize(1) == "1"
    end.converter(MsgPackConverter())
    assert builder.current().callbacks.converters.deserialize(BinaryFrame(b"\x01"), int) == 1
    builder.converter(Lines())
    assert builder.current().callbacks.converters.serialize("ab") == "a\nb"
    with pytest.raises(ValueError, match=r"takes text messages, and .*Lines .*does already"):
        builder.converter(JsonConverter())
    assert builder.current().callbacks.converters.serialize("ab") == "a\nb"


# --- typed callbacks


class Ends:
    """As much of a connection as a typed callback sees."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []

    def __repr__(self) -> str:
        return "<it>"

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


def test_a_typed_callback_gets_the_value_and_its_result_is_the_frames_callbacks() -> None:
    deliver = default_converters().typed(lambda order, connection: (order, connection), Order, None)
    connection: Any = Ends()
    assert deliver(TextFrame('{"item": "tea"}'), connection) == (Order("tea"), connection)
    assert deliver(BinaryFrame(msgspec.msgpack.encode(Order("tea"))), connection) == (Order("tea"), connection)


def test_what_does_not_fit_goes_to_on_error_and_nothing_is_closed() -> None:
    def never(*arguments: object) -> None:
        raise AssertionError

    connection: Any = Ends()
    deliver = Converters([JsonConverter()]).typed(never, int, lambda conn, error: (conn, error))
    got: Any = deliver(TextFrame('"x"'), connection)
    assert got[0] is connection
    assert isinstance(got[1], DeserializeError)
    got = deliver(BinaryFrame(b""), connection)
    assert isinstance(got[1], ConverterNotFound)
    assert connection.closed == []


def test_without_on_error_it_is_logged_and_closed_and_the_peer_is_told_no_details(caplog: Any) -> None:
    connection: Any = Ends()
    deliver = Converters([JsonConverter()]).typed(print, Order, None)
    with caplog.at_level(logging.ERROR, "firefly_ws"):
        assert deliver(TextFrame('{"item": 5}'), connection) is None
        assert deliver(BinaryFrame(b""), connection) is None
    assert connection.closed == [
        (CloseCode.INVALID_PAYLOAD, "the message does not fit the expected type"),
        (CloseCode.UNSUPPORTED_DATA, "binary messages are not taken"),
    ]
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("<it>: a text message does not fit Order: Expected `str`, got `int`")
    assert first.endswith(".on_error(callback) would keep it open")
    assert "no converter takes binary messages" in second


def test_a_type_that_cannot_be_made_is_told_when_the_settings_are() -> None:
    route = http_server().websocket("/").on_message(lambda value, connection: None, type=list[Order | Cancel])
    with pytest.raises(TypeError, match="unions may not contain more than one"):
        route.listen("127.0.0.1", 0)


def test_an_error_in_the_callback_itself_is_the_callbacks() -> None:
    def fails(value: int, connection: object) -> None:
        raise DeserializeError("mine")

    deliver = default_converters().typed(fails, int, lambda connection, error: None)
    with pytest.raises(DeserializeError, match="mine"):
        deliver(TextFrame("1"), None)  # type: ignore[arg-type]
