"""What can be set on a route or a client's connection: checked when it is set, read when a connection begins.

Knows the values and refuses to know sockets: a `Settings` is all that server and
client see of a builder.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

from ._core.delivery import Callbacks
from ._core.limits import Limits
from .callables import check_callable
from .converters import Converter, Converters, check_converters, default_converters
from .extensions.base import Extension
from .extensions.registry import resolve
from .policy import WebSocketPolicy
from .receiving import handled
from .service import callbacks_of
from .setters import PolicySetters

if TYPE_CHECKING:
    from ._core.frames import Frame
    from .codes import CloseReason
    from .connection import WebSocketConnection

__all__ = ["ConnectionOptions", "Settings"]

T = TypeVar("T")


@dataclass(slots=True)
class Settings:
    """What holds for connections that begin now."""

    callbacks: Callbacks
    policy: WebSocketPolicy
    limits: Limits
    extensions: tuple[Extension, ...] | None
    sub_protocols: tuple[str, ...]


class ConnectionOptions(PolicySetters):
    """Options of a websocket route and of a client's connection; each returns the builder.

    Every callback is a plain function or an ``async def``; what it returns is awaited
    if it can be. Setting the same callback twice raises ``ValueError``, a callback
    that cannot be called with its arguments ``TypeError``.
    """

    def __init__(self, defaults: ConnectionDefaults) -> None:
        self._defaults = defaults
        self._callbacks: dict[str, Callable[..., object]] = {}
        self._policy: WebSocketPolicy | None = None
        self._policy_changes: dict[str, Any] = {}
        self._extensions: tuple[Extension, ...] | None = None
        self._sub_protocols: tuple[str, ...] = ()
        self._converters: tuple[Converter, ...] = ()
        self._message_type: Any = None
        self._settings: Settings | None = None
        self._discard = False
        self._handler = False
        self._service: object = None
        self._raw = False

    #: A route's path, as registered.
    _path: str | None = None
    #: Whether messages wait for ``receive`` where no callback takes them: a client's do, a route's are discarded.
    _receives = False
    #: What the user calls the policy's fields, for errors, where it is not their own names.
    _names: ClassVar[dict[str, str]] = {}

    def _changed(self) -> Self:
        self._settings = None
        return self

    def _callback(self, slot: str, name: str, callback: Any) -> Self:
        check_callable(f"{name}({callback!r})", callback, *_ARGUMENTS[slot])
        if slot in self._callbacks:
            raise ValueError(f"{name}() is set already, to {self._callbacks[slot]!r}; it is set once a builder")
        if {slot, *self._callbacks} >= _MESSAGE_SLOTS:
            others = "service()" if self._service is not None else "on_text() and on_binary() together"
            raise ValueError(f"on_message() and {others} exclude each other: there is no message left for on_message()")
        if self._discard and slot in _MESSAGE_SLOTS:
            raise ValueError(f"{name}() and discard() exclude each other: discard() reads messages and drops them")
        if self._handler and slot in _MESSAGE_SLOTS:
            raise ValueError(f"{name}() and handler() exclude each other: a handler receives the messages itself")
        if self._raw and slot in _NOT_RAW:
            raise ValueError(f"{name}() and raw() exclude each other: a raw session shows every frame to on_message()")
        self._callbacks[slot] = callback
        return self._changed()

    def on_accept(self, callback: Callable[[WebSocketConnection], object]) -> Self:
        """Call ``callback(connection)`` when a connection has opened, before its first message."""
        return self._callback("accept", "on_accept", callback)

    def on_accept_async(self, callback: Callable[[WebSocketConnection], object]) -> Self:
        """The same slot as `on_accept`, by Firefly's name."""
        return self._callback("accept", "on_accept_async", callback)

    def on_open(self, callback: Callable[[WebSocketConnection], object]) -> Self:
        """The same slot as `on_accept`."""
        return self._callback("accept", "on_open", callback)

    @overload
    def on_message(self, callback: Callable[[Frame, WebSocketConnection], object]) -> Self: ...

    @overload
    def on_message(self, callback: Callable[[T, WebSocketConnection], object], *, type: type[T]) -> Self: ...

    @overload
    def on_message(self, callback: Callable[[Any, WebSocketConnection], object], *, type: Any) -> Self: ...

    def on_message(self, callback: Callable[[Any, WebSocketConnection], object], *, type: Any = None) -> Self:
        """Call ``callback(frame, connection)`` for every message that `on_text` and `on_binary` leave.

        With *type*: ``callback(value, connection)``, the message having become a value
        of that type by a converter. One that does not fit goes to `on_error` as
        `DeserializeError`, and the connection stays open; without `on_error` it is
        logged, and the connection closed with 1007.
        """
        if self._raw and type is not None:
            raise ValueError(f"on_message(type={type!r}) and raw() exclude each other: frames do not become values")
        self._callback("message", "on_message", callback)
        self._message_type = type
        return self

    def on_text(self, callback: Callable[[str, WebSocketConnection], object]) -> Self:
        """Call ``callback(text, connection)`` for every text message."""
        return self._callback("text", "on_text", callback)

    def on_binary(self, callback: Callable[[bytes, WebSocketConnection], object]) -> Self:
        """Call ``callback(data, connection)`` for every binary message."""
        return self._callback("binary", "on_binary", callback)

    def on_frame(self, callback: Callable[[Frame, WebSocketConnection], object]) -> Self:
        """Call ``callback(frame, connection)`` for every complete frame as on the wire, unmasked, before extensions."""
        return self._callback("frame", "on_frame", callback)

    def on_ping(self, callback: Callable[[bytes, WebSocketConnection], object]) -> Self:
        """Call ``callback(payload, connection)`` for every Ping; it is answered without this."""
        return self._callback("ping", "on_ping", callback)

    def on_pong(self, callback: Callable[[bytes, WebSocketConnection], object]) -> Self:
        """Call ``callback(payload, connection)`` for every Pong."""
        return self._callback("pong", "on_pong", callback)

    def on_close(self, callback: Callable[[WebSocketConnection, CloseReason], object]) -> Self:
        """Call ``callback(connection, reason)`` once, last of all callbacks."""
        return self._callback("close", "on_close", callback)

    def on_error(self, callback: Callable[[WebSocketConnection, BaseException], object]) -> Self:
        """Call ``callback(connection, error)`` before `on_close`, if something other than a Close ended it."""
        return self._callback("error", "on_error", callback)

    def service(self, service: object) -> Self:
        """Have one object take all: ``connected(connection)``, ``received(message, connection)`` and
        ``disconnected(connection, reason)``; see `WebSocketService`.

        Only ``received`` must be there. Its ``connection_timeout``, if it has one, is the option of that name.
        """
        methods = callbacks_of(service)
        if self._service is not None:
            raise ValueError(f"service() is set already, to {self._service!r}; it is set once a builder")
        taken = sorted(f"on_{slot}" for slot in {*methods, "message"} & self._callbacks.keys())
        taken += [name for name in ("discard", "handler", "raw") if getattr(self, f"_{name}")]
        if taken:
            raise ValueError(f"service({service!r}) and {taken[0]}() exclude each other")
        seconds = getattr(service, "connection_timeout", None)
        if seconds is not None:
            self._set("connection_timeout", seconds)
        self._callbacks.update(methods)
        self._service = service
        return self._changed()

    def _named(self, slots: Iterable[str]) -> str:
        """What the user called for these slots, for an error."""
        taken = sorted(slots)
        return "service()" if self._service is not None else f"on_{taken[0]}()"

    def handler(self, handler: Callable[[WebSocketConnection], object]) -> Self:
        """Run ``handler(connection)``, as a rule an ``async def``, from the opening on: its end is the connection's.

        It receives the messages itself (``async for message in connection``, ``receive()``), and takes the place
        of `on_accept` and of the message callbacks. When it returns, the connection is closed with 1000; when it
        raises, with 1011, and the error goes where a callback's goes.
        """
        taken = {"accept", *_MESSAGE_SLOTS} & self._callbacks.keys()
        if callable(handler) and not self._handler and (taken or self._discard):
            raise ValueError(
                f"handler() and {self._named(taken) if taken else 'discard()'} exclude each other: "
                "a handler runs from the opening on and receives the messages itself"
            )
        self._callback("accept", "handler", handler)
        self._handler = True
        return self

    def raw(self) -> Self:
        """Show every frame as it came, and answer nothing.

        `on_message`, or the reader's ``receive_frame()`` and ``incoming``, get fragments, Pings, Pongs and the Close;
        no Pong and no Close leaves by itself, text is not checked for UTF-8, no extension is agreed on, and
        ``send_frame`` sends fragments and control frames as they are. The rules of RFC 6455 §5.2 for a frame's
        head hold; a frame is at most ``max_frame_size``, or ``max_message_size`` where that is None.
        """
        taken = _NOT_RAW & self._callbacks.keys()
        others = [
            (taken, self._named(taken) if taken else ""),
            (self._extensions, "extensions()"),
            (self._message_type is not None, "on_message(type=...)"),
            (self._discard, "discard()"),
        ]
        for there, what in others:
            if there:
                raise ValueError(f"raw() and {what} exclude each other: a raw session shows every frame as it came")
        self._raw = True
        return self._changed()

    def discard(self) -> Self:
        """Read messages and drop them; control frames are answered."""
        if self._handler:
            raise ValueError("discard() and handler() exclude each other: one of them takes the messages")
        if self._raw:
            raise ValueError("raw() and discard() exclude each other: nobody would answer Pings and the Close")
        taken = _MESSAGE_SLOTS & self._callbacks.keys()
        if taken:
            raise ValueError(f"discard() and {self._named(taken)} exclude each other: one of them takes the messages")
        self._discard = True
        return self._changed()

    def extensions(self, extensions: Iterable[str | Extension]) -> Self:
        """Negotiate these: names as ``"permessage-deflate"`` or ``"fragment;maxLength=1024"``, or objects.

        Those agreed on form a chain: what is sent passes them in the order that the client
        listed, what comes in the other way round. Raises ``ValueError`` for a name nobody
        knows, or that is listed twice.
        """
        checked = check_extensions(extensions)
        if checked and self._raw:
            raise ValueError("extensions() and raw() exclude each other: a raw session shows every frame as it came")
        self._extensions = checked
        return self._changed()

    def converter(self, converter: Converter) -> Self:
        """Turn values into messages and back with *converter*; each call adds one, for other types of messages.

        The first one added is what `send_serialized` uses. Without any: JSON for text and MessagePack
        for binary messages. Raises ``ValueError`` for a type of messages that one takes already.
        """
        self._converters = check_converters((*self._converters, converter))
        return self._changed()

    def sub_protocols(self, names: Iterable[str]) -> Self:
        """Subprotocols (RFC 6455 §1.9), the preferred one first."""
        self._sub_protocols = check_sub_protocols(names)
        return self._changed()

    def policy(self, policy: WebSocketPolicy) -> Self:
        """All limits at once, in place of the server's or client's, also where it has a default.

        The setters below change single fields of it, whatever the order of the calls.
        """
        self._policy = _check_policy(policy)
        self._current_policy()
        return self._changed()

    def _set(self, name: str, value: object) -> Self:
        before = dict(self._policy_changes)
        self._policy_changes[name] = value
        try:
            WebSocketPolicy().replace(**_alone(name, value))
            if name not in _WATER:
                self._current_policy()
        except BaseException:
            self._policy_changes = before
            raise
        return self._changed()

    def _current_policy(self) -> WebSocketPolicy:
        base = self._policy or self._defaults.default_policy
        return base.replace(**self._policy_changes) if self._policy_changes else base

    def current(self) -> Settings:
        """The values as they are now; raises ``ValueError`` for two that do not fit together."""
        if self._settings is None or self._defaults.changes != self._seen:
            callbacks = Callbacks()
            callbacks.route = self._path
            for slot, callback in self._callbacks.items():
                setattr(callbacks, slot, callback)
            if self._handler:
                callbacks.accept = handled(self._callbacks["accept"])
            callbacks.pull = self._handler or (
                self._receives and not self._discard and not _MESSAGE_SLOTS & self._callbacks.keys()
            )
            chosen = self._converters or self._defaults.default_converters
            callbacks.converters = Converters(chosen) if chosen else None
            if self._message_type is not None:
                converters = callbacks.converters or default_converters()
                callbacks.message = converters.typed(self._callbacks["message"], self._message_type, callbacks.error)
            extensions = self._defaults.default_extensions if self._extensions is None else self._extensions
            if self._raw:
                callbacks.raw, extensions = True, ()
                # What a message callback gets here is neither text nor a frame made of it.
                callbacks.binary, callbacks.message = callbacks.message, None
            receiving = [one for one in (callbacks.message, callbacks.text, callbacks.binary) if one is not None]
            callbacks.coroutines = bool(receiving) and all(map(inspect.iscoroutinefunction, receiving))
            self._seen = self._defaults.changes
            policy = self._current_policy()
            self._settings = Settings(
                callbacks,
                policy,
                Limits(policy, self._names),
                extensions,
                self._sub_protocols,
            )
        return self._settings

    _seen = -1


_ARGUMENTS = {
    "accept": ("connection",), "message": ("message", "connection"), "text": ("text", "connection"),
    "binary": ("data", "connection"), "frame": ("frame", "connection"), "ping": ("payload", "connection"),
    "pong": ("payload", "connection"), "close": ("connection", "reason"), "error": ("connection", "error"),
}  # fmt: skip
_MESSAGE_SLOTS = frozenset({"message", "text", "binary"})
_NOT_RAW = frozenset({"text", "binary", "ping", "pong"})
_WATER = ("write_high_water", "write_low_water")


class ConnectionDefaults(PolicySetters):
    """The policy, the extensions and the converters that hold where a route or a connection sets none."""

    def __init__(
        self,
        policy: WebSocketPolicy | None = None,
        extensions: Iterable[str | Extension] | None = None,
        converter: Converter | Iterable[Converter] | None = None,
    ) -> None:
        self._policy = WebSocketPolicy() if policy is None else _check_policy(policy)
        self._policy_changes: dict[str, Any] = {}
        self._default: WebSocketPolicy | None = None
        self.default_extensions = None if extensions is None else check_extensions(extensions)
        self.default_converters = check_converters(converter)
        self.changes = 0

    @property
    def default_policy(self) -> WebSocketPolicy:
        """The policy as it is now; raises ``ValueError`` for two limits that do not fit together."""
        if self._default is None:
            self._default = self._policy.replace(**self._policy_changes)
        return self._default

    def policy(self, policy: WebSocketPolicy) -> Self:
        """Limits for all that set none of their own; the setters change single ones, in any order of the calls."""
        self._policy = _check_policy(policy)
        self._default = None
        self.changes += 1
        return self

    def _set(self, name: str, value: object) -> Self:
        WebSocketPolicy().replace(**_alone(name, value))
        self._policy_changes[name] = value
        self._default = None
        self.changes += 1
        return self

    def extensions(self, extensions: Iterable[str | Extension]) -> Self:
        """Extensions for all that set none of their own."""
        self.default_extensions = check_extensions(extensions)
        self.changes += 1
        return self

    def converter(self, converter: Converter) -> Self:
        """A converter for all that set none of their own; each call adds one, see `WebSocketRoute.converter`."""
        self.default_converters = check_converters((*self.default_converters, converter))
        self.changes += 1
        return self


def _alone(name: str, value: object) -> dict[str, object]:
    """*value* with what makes it valid by itself: the two water marks are compared only once both are known."""
    if name == "write_high_water":
        return {name: value, "write_low_water": 0}
    if name == "write_low_water":
        return {name: value, "write_high_water": sys.maxsize}
    return {name: value}


def _check_policy(policy: object) -> WebSocketPolicy:
    if not isinstance(policy, WebSocketPolicy):
        raise TypeError(f"policy={policy!r} must be a WebSocketPolicy, not {type(policy).__name__}")
    return policy


def check_extensions(extensions: Iterable[str | Extension]) -> tuple[Extension, ...]:
    """*extensions* as objects; ``ValueError`` for a name nobody knows, or that is listed twice."""
    if isinstance(extensions, str) or not isinstance(extensions, Iterable):
        raise TypeError(f"extensions={extensions!r} must be a list of names or objects, as [{extensions!r}]")
    checked = tuple(resolve(extension) for extension in extensions)
    names = [extension.name for extension in checked]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"extensions={names!r} has {name!r} twice; one object may make several offers")
    return checked


_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def check_sub_protocols(names: Iterable[str]) -> tuple[str, ...]:
    """*names* as a tuple; ``ValueError`` for one that is no token (RFC 6455 §4.1) or stands there twice."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"sub_protocols={names!r} must be a list of names, as [{names!r}]")
    checked = tuple(names)
    for name in checked:
        if not isinstance(name, str):
            raise TypeError(f"sub_protocols: {name!r} must be a str")
        if not name or not _TOKEN.issuperset(name):
            raise ValueError(f"sub_protocols: {name!r} is no token (RFC 9110 §5.6.2)")
    if len(set(checked)) != len(checked):
        raise ValueError(f"sub_protocols={list(checked)!r} has a name twice")
    return checked
