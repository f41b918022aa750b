"""JSON without msgspec: builtins by the standard library, and what says that it needs more."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import firefly_ws
from firefly_ws import (
    BinaryFrame,
    ConverterNotFound,
    DeserializeError,
    Frame,
    JsonConverter,
    MsgPackConverter,
    TextFrame,
    http_server,
)
from firefly_ws import converters as module
from firefly_ws.converters import default_converters


@dataclasses.dataclass
class Order:
    item: str


@pytest.fixture
def without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is not installed."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    monkeypatch.setattr(module, "_default", None)


def as_frame(message: str | bytes | Frame) -> Frame:
    if isinstance(message, Frame):
        return message
    return TextFrame(message) if isinstance(message, str) else BinaryFrame(message)


@pytest.mark.usefixtures("without_msgspec")
@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, None), (True, bool), (5, int), (2.5, float), ("ä", str), ([1, "a"], list), ({"a": None}, dict),
     ({"a": 1}, Any), ([1], object), (None, str | None), (5, int | str)],
)  # fmt: skip
def test_json_does_the_builtins_by_itself(value: object, kind: Any) -> None:
    converter = JsonConverter()
    message = converter.serialize(value)
    assert json.loads(str(message)) == value
    got = converter.deserialize(as_frame(message), kind)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.usefixtures("without_msgspec")
def test_an_int_is_a_float_where_one_is_asked_for() -> None:
    got = JsonConverter().deserialize(TextFrame("5"), float)
    assert (got, type(got)) == (5.0, float)


@pytest.mark.usefixtures("without_msgspec")
@pytest.mark.parametrize(
    ("text", "kind"),
    [("true", int), ("1.5", int), ("5", str), ("null", dict), ("[]", dict), ("{", Any), ("", Any), ("NaN", Any),
     ("[" * 100_000, Any), ('"5"', int | None), ("1" * 5000, int), ("1e999", Any), ('{"a": [-1E999]}', dict),
     (r'"\ud83d"', str), (r'[{"\uDE00": 1}]', Any), (r'"\ude00\ud83d"', str)],
)  # fmt: skip
def test_what_does_not_fit_a_builtin_raises_with_the_frame(text: str, kind: Any) -> None:
    frame = TextFrame(text)
    with pytest.raises(DeserializeError) as caught:
        JsonConverter().deserialize(frame, kind)
    assert caught.value.frame is frame


@pytest.mark.usefixtures("without_msgspec")
def test_what_comes_can_be_sent_back() -> None:
    converter = JsonConverter()
    for text, value in ((r'"\ud83d\ude00"', "😀"), (r'"\\ud83d"', r"\ud83d"), ("-1.5e300", -1.5e300)):
        assert converter.deserialize(TextFrame(text), Any) == value
        assert converter.deserialize(TextFrame(str(converter.serialize(value))), Any) == value


@pytest.mark.usefixtures("without_msgspec")
def test_what_needs_msgspec_says_how_to_install_it() -> None:
    install = r"pip install 'firefly-ws\[serialization\]'"
    with pytest.raises(ImportError, match=rf"MsgPackConverter\(\) needs msgspec: {install}"):
        MsgPackConverter()
    with pytest.raises(ImportError, match=rf"Order as the type of a message needs msgspec: {install}"):
        JsonConverter().deserialize(TextFrame("{}"), Order)
    with pytest.raises(TypeError, match=rf"Order is no type of JSON's; msgspec can send it: {install}"):
        JsonConverter().serialize(Order("tea"))
    with pytest.raises(ValueError, match="Out of range float"):
        JsonConverter().serialize(float("nan"))
    with pytest.raises(ConverterNotFound, match=rf"no converter takes binary messages; .*MessagePack.*{install}"):
        default_converters().deserialize(BinaryFrame(b"\x01"), int)
    with pytest.raises(ImportError, match="needs msgspec"):
        http_server().websocket("/").on_message(lambda order, connection: None, type=Order).current()


def test_the_library_loads_msgspec_when_it_is_first_needed() -> None:
    code = "import sys, firefly_ws; firefly_ws.http_server().websocket('/').current(); print('msgspec' in sys.modules)"
    root = Path(firefly_ws.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "False\n"
