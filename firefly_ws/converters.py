"""Values to messages and back: JSON for text, MessagePack for binary, by msgspec where it is installed.

Knows frames as values; refuses to know connections, but for the two calls that a
typed callback makes on one.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Protocol, Union, get_args, get_origin, runtime_checkable

from ._core.frames import Frame, TextFrame
from .callables import check_callable
from .codes import CloseCode, Opcode
from .errors import ConverterNotFound, DeserializeError, WebSocketException

if TYPE_CHECKING:
    from .connection import WebSocketConnection

__all__ = ["Converter", "Converters", "JsonConverter", "MsgPackConverter"]

_log = logging.getLogger("firefly_ws")

Decoder = Callable[[Frame], Any]

_UNIONS = (Union, types.UnionType)

INSTALL = "pip install 'firefly-ws[serialization]'"

#: Decoders that a converter keeps; who makes a class in each call of a function gets a new one each time.
_KEPT = 1024


@runtime_checkable
class Converter(Protocol):
    """What turns values into messages, and messages into values of the type asked for.

    Both methods are plain functions: a send raises from the call itself. A converter
    may also have ``decoder(type)``, which gives a function of a frame: a typed callback
    asks for it once, when the connection's settings are made, and what it raises
    (``TypeError`` for a type it cannot make) is raised there.
    """

    @property
    def frame_types(self) -> Collection[Opcode]:
        """The messages it takes: `Opcode.TEXT`, `Opcode.BINARY`, or both."""

    def serialize(self, value: Any) -> str | bytes | Frame:
        """*value* as a message: ``str`` is sent as text, ``bytes`` as binary, a `Frame` as it is."""

    def deserialize(self, frame: Frame, type: Any) -> Any:
        """The message as a value of *type*; whatever it raises reaches the user as `DeserializeError`."""


class _ByType(Converter):
    """A converter that makes a decoder once for each type, and keeps it."""

    def __init__(self) -> None:
        self._decoders: dict[Any, Decoder] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def deserialize(self, frame: Frame, type: Any) -> Any:
        """The value; `DeserializeError` for what is malformed, or does not fit *type*."""
        return _fitting(self.decoder(type), frame, type)

    def decoder(self, type: Any) -> Decoder:
        """A function from frames to *type*; ``TypeError`` for one that no message can become."""
        # `A | B == B | A`, and which of the two is tried first matters.
        key = get_args(type) if get_origin(type) in _UNIONS else type
        try:
            decoder = self._decoders.get(key)
        except TypeError:  # of no hash: annotated with a dict, or no type at all
            return self._make(type)
        if decoder is None:
            if len(self._decoders) >= _KEPT:
                self._decoders.clear()
            decoder = self._decoders[key] = self._make(type)
        return decoder

    def _make(self, type: Any) -> Decoder:
        raise NotImplementedError


class JsonConverter(_ByType):
    """JSON (RFC 8259) in text messages.

    With msgspec: builtins, dataclasses, ``TypedDict``, ``NamedTuple``, enums, dates,
    ``msgspec.Struct`` and what can be made of them; the members of a union are tried in
    order where msgspec cannot tell them apart. Without it: builtins, and unions of them.
    """

    frame_types: Collection[Opcode] = frozenset({Opcode.TEXT})

    def __init__(self) -> None:
        super().__init__()
        msgspec = _msgspec()
        self._json = None if msgspec is None else msgspec.json
        self._encode: Callable[[Any], bytes | str] = _dumps if msgspec is None else msgspec.json.Encoder().encode

    def serialize(self, value: Any) -> str | bytes | Frame:
        """*value* as JSON; ``TypeError`` for what JSON has no words for."""
        text = self._encode(value)
        return text if isinstance(text, str) else text.decode()

    def _make(self, type: Any) -> Decoder:
        if self._json is None:
            fits = _builtin(type)
            return lambda frame: fits(_loads(_text(frame)))
        decode = _by_msgspec(self._json.Decoder, type)
        return lambda frame: decode(_text(frame))


class MsgPackConverter(_ByType):
    """MessagePack in binary messages; types as with `JsonConverter`. Raises ``ImportError`` without msgspec."""

    frame_types: Collection[Opcode] = frozenset({Opcode.BINARY})

    def __init__(self) -> None:
        super().__init__()
        msgspec = _msgspec()
        if msgspec is None:
            raise ImportError(f"MsgPackConverter() needs msgspec: {INSTALL}", name="msgspec")
        self._msgpack = msgspec.msgpack
        self._encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode

    def serialize(self, value: Any) -> str | bytes | Frame:
        """*value* as MessagePack; ``TypeError`` for what it has no words for."""
        return self._encode(value)

    def _make(self, type: Any) -> Decoder:
        decode = _by_msgspec(self._msgpack.Decoder, type)
        return lambda frame: decode(frame.payload)


class Converters:
    """Those of a route or a connection: the first one sends, each receives its types of messages."""

    __slots__ = ("_all", "_by_type")

    def __init__(self, converters: Iterable[Converter]) -> None:
        self._all = tuple(converters)
        self._by_type: dict[int, Converter] = {
            opcode: converter for converter in self._all for opcode in converter.frame_types
        }

    def serialize(self, value: Any) -> str | bytes | Frame:
        """*value* as the first converter has it."""
        message = self._all[0].serialize(value)
        if not isinstance(message, (str, bytes, Frame)):
            raise TypeError(
                f"{self._all[0]!r}.serialize() must return str, bytes or a Frame, not {type(message).__name__}"
            )
        return message

    def deserialize(self, frame: Frame, wanted: Any) -> Any:
        """*frame* as a value; raises `DeserializeError`, `ConverterNotFound`, and ``TypeError`` for a wrong type."""
        converter = self._by_type.get(frame.opcode)
        if converter is None:
            raise self._not_found(frame)
        return _fitting(_decoder_of(converter, wanted), frame, wanted)

    def prepare(self, wanted: Any) -> None:
        """Make the decoders for *wanted*; raises ``TypeError`` for a type that no message can become."""
        for converter in self._all:
            _decoder_of(converter, wanted)

    def typed(
        self,
        callback: Callable[[Any, WebSocketConnection], object],
        wanted: Any,
        on_error: Callable[[WebSocketConnection, BaseException], object] | None,
    ) -> Callable[[Frame, WebSocketConnection], object]:
        """``callback(value, connection)`` as a callback for frames.

        A message that fits no value goes to *on_error*, and the connection stays open;
        without one it is logged, and closed with 1007, or with 1003 where no converter
        takes that type of message (RFC 6455 §7.4.1).
        """
        decoders = {opcode: _decoder_of(converter, wanted) for opcode, converter in self._by_type.items()}
        as_text = decoders.get(Opcode.TEXT, self._refuse)
        as_binary = decoders.get(Opcode.BINARY, self._refuse)

        def deliver(frame: Frame, connection: WebSocketConnection) -> object:
            try:
                value = as_text(frame) if type(frame) is TextFrame else as_binary(frame)
            except Exception as caught:
                error = _misfit(caught, frame, wanted)
                if on_error is not None:
                    return on_error(connection, error)
                _log.error("%r: %s; it is closed, .on_error(callback) would keep it open", connection, error)
                # What exactly did not fit is for the log: the peer may be anybody.
                if isinstance(error, DeserializeError):
                    connection.close(CloseCode.INVALID_PAYLOAD, "the message does not fit the expected type")
                else:
                    connection.close(CloseCode.UNSUPPORTED_DATA, f"{_NAMES[frame.opcode]} messages are not taken")
                return None
            return callback(value, connection)

        return deliver

    def _refuse(self, frame: Frame) -> Any:
        raise self._not_found(frame)

    def _not_found(self, frame: Frame) -> ConverterNotFound:
        listed = ", ".join(
            f"{one!r} ({' and '.join(_NAMES[opcode] for opcode in sorted(one.frame_types))})" for one in self._all
        )
        hint = "" if _msgspec() is not None else f"; MessagePack needs msgspec: {INSTALL}"
        return ConverterNotFound(
            f"no converter takes {_NAMES.get(frame.opcode, 'such')} messages; there is {listed}, "
            f"another one is added with .converter(c){hint}",
            frame,
        )


_NAMES: dict[int, str] = {Opcode.TEXT: "text", Opcode.BINARY: "binary"}
_METHODS = {"serialize": ("value",), "deserialize": ("frame", "type"), "decoder": ("type",)}

_default: Converters | None = None


def default_converters() -> Converters:
    """JSON for text and MessagePack for binary messages, for whom no other converter is set."""
    global _default
    if _default is None:
        _default = Converters([JsonConverter()] if _msgspec() is None else [JsonConverter(), MsgPackConverter()])
    return _default


def check_converters(given: Any) -> tuple[Converter, ...]:
    """*given*, one converter or several, as a tuple; ``TypeError`` or ``ValueError`` for what is none."""
    if given is None:
        return ()
    converters = tuple(given) if isinstance(given, Iterable) and not hasattr(given, "serialize") else (given,)
    takes: dict[int, Converter] = {}
    for converter in converters:
        for opcode in _check(converter).frame_types:
            other = takes.setdefault(opcode, converter)
            if other is not converter:
                raise ValueError(
                    f"converter={converter!r} takes {_NAMES[opcode]} messages, and {other!r} does already; "
                    "there is one converter for each type of message"
                )
    return converters


def _check(converter: Any) -> Converter:
    if isinstance(converter, type):
        raise TypeError(f"converter={converter!r} must be an object, as {converter.__name__}(), not the class")
    if isinstance(converter, (list, tuple, set)):
        raise TypeError(f"converter={converter!r} must be one converter; each call of .converter(c) adds one")
    for name, arguments in _METHODS.items():
        method = getattr(converter, name, None)
        if not callable(method):
            if method is None and name == "decoder":
                continue
            has = "" if method is None else f", not {name}={method!r}"
            raise TypeError(f"converter={converter!r} must have a method {name}(){has}; see firefly_ws.Converter")
        check_callable(f"converter={converter!r}: its {name}()", method, *arguments, plain=True)
    opcodes = getattr(converter, "frame_types", None)
    if isinstance(opcodes, str) or not isinstance(opcodes, Collection):
        raise TypeError(f"converter={converter!r}: its frame_types={opcodes!r} must be a set, as {{Opcode.TEXT}}")
    if not opcodes or not all(one in tuple(_NAMES) for one in opcodes):
        raise ValueError(
            f"converter={converter!r}: its frame_types={opcodes!r} must be Opcode.TEXT, Opcode.BINARY or both"
        )
    return typing.cast(Converter, converter)


def _decoder_of(converter: Converter, wanted: Any) -> Decoder:
    made = getattr(converter, "decoder", None)
    if made is not None:
        return typing.cast(Decoder, made(wanted))
    return lambda frame: converter.deserialize(frame, wanted)


def _fitting(decode: Decoder, frame: Frame, wanted: Any) -> Any:
    """What *decode* makes of *frame*; raises what `_misfit` makes of its error."""
    try:
        return decode(frame)
    except Exception as error:
        misfit = _misfit(error, frame, wanted)
        if misfit is error:
            raise
        raise misfit from error


def _misfit(error: Exception, frame: Frame, wanted: Any) -> WebSocketException:
    """*error* as what it means: whatever a converter raises at a message was caused by that message."""
    if isinstance(error, (DeserializeError, ConverterNotFound)):
        if error.frame is None:  # a converter of a user's may leave that to us
            error.frame = frame
        return error
    misfit = DeserializeError(
        f"a {_NAMES.get(frame.opcode, 'control')} message does not fit {_name(wanted)}: {_said(error)}", frame
    )
    misfit.__cause__ = error
    return misfit


def _said(error: Exception) -> str:
    """Its text for a log: what a peer sent may be quoted in it, at any length and with any sign."""
    text = str(error)
    shown = text if len(text) <= 300 else f"{text[:300]}..."
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in shown)


def _name(wanted: Any) -> str:
    return wanted.__qualname__ if isinstance(wanted, type) else repr(wanted)


def _text(frame: Frame) -> str | bytes:
    """The text, where there is one: it has been decoded already."""
    return frame.text if isinstance(frame, TextFrame) else frame.payload


# --- msgspec

#: What msgspec makes of messages where nothing is asked for.
_READ = (type(None), bool, int, float, str, bytes, list, dict, datetime.datetime)


def _msgspec() -> Any:
    """The module, or None where it is not installed; loaded when first needed."""
    try:
        import msgspec
    except ImportError:
        return None
    return msgspec


def _by_msgspec(make: Callable[[Any], Any], wanted: Any) -> Callable[[Any], Any]:
    try:
        decode = typing.cast("Callable[[Any], Any]", make(wanted).decode)
    except NameError as error:  # of an annotation that is a string, as all are with `from __future__`
        raise TypeError(f"type={_name(wanted)}: {error}; msgspec looks in the module of the class") from None
    except TypeError as error:
        # A union whose members msgspec cannot tell apart, as two dataclasses: tried one after the other.
        if get_origin(wanted) not in _UNIONS:
            raise TypeError(f"type={_name(wanted)}: no message can become that: {error}") from None
        members = get_args(wanted)
        return _first_of([_by_msgspec(make, member) for member in members], members)
    if _is_strange(wanted):
        raise TypeError(
            f"type={_name(wanted)}: no message can become that by msgspec; a converter of your own can make one"
        )
    return decode


def _is_strange(wanted: Any) -> bool:
    """Whether msgspec leaves *wanted* to a hook, and without one would refuse every message."""
    msgspec = _msgspec()
    info = msgspec.inspect.type_info(wanted)
    if not isinstance(info, msgspec.inspect.CustomType):
        return False
    try:
        # What has been read is a value all the same of `object`, or of numbers.Number.
        return not any(issubclass(one, info.cls) for one in _READ)
    except TypeError:
        return True


def _first_of(decoders: list[Callable[[Any], Any]], members: tuple[Any, ...]) -> Callable[[Any], Any]:
    def decode(data: Any) -> Any:
        said = []
        for one, member in zip(decoders, members, strict=True):
            try:
                return one(data)
            except Exception as error:
                said.append(f"{_name(member)}: {error}")
        raise ValueError("; ".join(said))

    return decode


# --- without it


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_no_builtin)


def _no_builtin(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is no type of JSON's; msgspec can send it: {INSTALL}")


def _loads(text: str | bytes) -> Any:
    """What *text* says in JSON; ``ValueError`` also for what could not be sent back: infinity, and half a character."""
    text = text if isinstance(text, str) else text.decode()
    value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    if "\\ud" in text.lower():
        _dumps(value).encode()
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON (RFC 8259 §6)")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is out of range")
    return value


_BUILTINS: tuple[Any, ...] = (type(None), bool, int, float, str, list, dict)


def _builtin(wanted: Any) -> Callable[[Any], Any]:
    """A check whether a value is a *wanted*, which is a builtin of JSON's, or a union of them."""
    if wanted in (Any, object):
        return lambda value: value
    members = get_args(wanted) if get_origin(wanted) in _UNIONS else (wanted,)
    kinds = [type(None) if member is None else member for member in members]
    if not all(kind in _BUILTINS for kind in kinds):
        raise ImportError(f"{_name(wanted)} as the type of a message needs msgspec: {INSTALL}", name="msgspec")

    def fits(value: Any) -> Any:
        # By the exact class: True is an int for isinstance, and no number of JSON's.
        if type(value) in kinds:
            return value
        if type(value) is int and float in kinds:
            return float(value)
        raise ValueError(f"it is of type {type(value).__name__}")

    return fits
