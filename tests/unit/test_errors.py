"""Errors carry facts, from which their text is made."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest

import firefly_ws
from firefly_ws import (
    BinaryFrame,
    CloseReason,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConverterNotFound,
    DeserializeError,
    FrameTooBig,
    HandshakeError,
    InvalidPayload,
    MessageTooBig,
    PingTimeout,
    ProtocolError,
    ProxyError,
    QueueOverflow,
    WebSocketConnectionException,
    WebSocketException,
    errors,
)


def test_the_tree_is_the_one_drawn_in_the_modules_docstring() -> None:  # C8
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines()[2:]:
        names = re.match(r"^([\s│├└─]*)(\w+(?:, \w+)*)", line)
        if names is None:
            continue
        depth = len(names[1])
        stack = [one for one in stack if one[0] < depth]
        for name in names[2].split(", "):
            drawn[name] = stack[-1][1] if stack else ""
        stack.append((depth, names[2]))
    real = {
        name: next((base.__name__ for base in kind.__mro__[1:] if base.__name__ in errors.__all__), "")
        for name, kind in vars(errors).items()
        if name in errors.__all__ and inspect.isclass(kind)
    }
    assert drawn == real


def test_every_error_is_public() -> None:
    assert set(errors.__all__) <= set(firefly_ws.__all__)


def test_could_not_connect_is_an_os_error_too() -> None:
    for error in (WebSocketConnectionException("no route"), HandshakeError(403), ProxyError("refused", 407)):
        assert isinstance(error, OSError)
        assert isinstance(error, WebSocketException)
    assert str(WebSocketConnectionException("no route")) == "no route"
    assert str(WebSocketConnectionException()) == "WebSocketConnectionException"


def test_a_handshake_error_has_the_answer() -> None:
    error = HandshakeError(403, {"server": "x"}, b"body")
    assert (error.status, error.headers, error.body) == (403, {"server": "x"}, b"body")
    assert str(error) == "the server answered 403 instead of 101 Switching Protocols"
    assert HandshakeError(0, message="no answer").headers == {}
    assert str(HandshakeError(0, message="no answer")) == "no answer"


def test_a_proxy_error_has_the_answer() -> None:
    error = ProxyError("the proxy wants a password", 407, {"a": "b"}, b"x")
    assert (error.status, error.headers, error.body) == (407, {"a": "b"}, b"x")
    assert str(error) == "the proxy wants a password"


@pytest.mark.parametrize("kind", [ConnectionClosedOK, ConnectionClosedError])
def test_connection_closed_has_all_three_reasons(kind: type[ConnectionClosed]) -> None:
    error = kind(CloseReason(1001, "bye"), CloseReason(1000), None, "send")
    assert (error.reason, error.sent, error.received, error.code) == ((1001, "bye"), (1000, ""), None, 1001)
    assert str(error) == ("send: the connection is closed: sent 1000 (NORMAL), received 1006 (no Close frame): bye")
    assert str(kind(CloseReason(1006, "lost"))) == "received 1006 (no Close frame): lost"
    assert str(kind(CloseReason(1001, "bye"), None, CloseReason(1001, "bye"))) == "received 1001 (GOING_AWAY): bye"


def test_a_protocol_error_has_its_close_code() -> None:
    assert (ProtocolError("x").code, ProtocolError("x", 1008).code, InvalidPayload("x").code) == (1002, 1008, 1007)


def test_a_protocol_error_has_a_code_and_a_text_that_a_close_frame_can_say() -> None:
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
        with pytest.raises(ValueError, match=f"code={code} may not be sent; allowed: 1000-1003, 1007-1014, 3000-4999"):
            ProtocolError("x", code)
    wrong: list[tuple[Any, Any, str]] = [
        ("x", "1002", "code='1002' must be an int"),
        ("x", True, "code=True must be an int"),
        (None, 1002, "message=None must be a str"),
    ]
    for message, code, why in wrong:
        with pytest.raises(TypeError, match=why):
            ProtocolError(message, code)
    assert ProtocolError("half a \ud83d").close_text == "half a ?"


def test_what_a_close_frame_says_of_an_error_fits_into_it() -> None:
    for message in ("x" * 500, "ü" * 200, "x" + "😀" * 100):
        text = ProtocolError(message).close_text
        assert len(text.encode()) <= 123
        assert message.startswith(text)
        assert len(text.encode()) >= 119


@pytest.mark.parametrize(
    ("error", "option"),
    [
        (FrameTooBig(11, 10), "max_frame_size"),
        (MessageTooBig(11, 10), "max_message_size"),
        (MessageTooBig(11, 10, "max_text_message_size"), "max_text_message_size"),
    ],
)
def test_too_big_says_which_limit_and_what_changes_it(error: FrameTooBig | MessageTooBig, option: str) -> None:
    assert (error.size, error.limit, error.option, error.code) == (11, 10, option, 1009)
    assert f"11 bytes exceeds {option}=10; raise it with .{option}(bytes)" in str(error)
    assert hasattr(firefly_ws.WebSocketRoute, option)


def test_ping_timeout_and_overflow_have_their_numbers() -> None:
    timeout, overflow = PingTimeout(31.25, 30.0), QueueOverflow(17, 16)
    assert (timeout.silence, timeout.limit) == (31.25, 30.0)
    assert "31.2 s" in str(timeout)
    assert "ping_interval + ping_timeout = 30 s" in str(timeout)
    assert (overflow.size, overflow.limit) == (17, 16)
    assert "17 bytes" in str(overflow)
    assert "max_write_buffer=16" in str(overflow)


def test_a_group_of_nothing_but_the_end_is_the_end_too() -> None:
    ended, other = ConnectionClosed(CloseReason(1000, "")), ValueError()
    assert errors.is_of_the_end(ended)
    assert errors.is_of_the_end(ExceptionGroup("x", [ended, ExceptionGroup("y", [ended])]))
    assert not errors.is_of_the_end(ExceptionGroup("x", [ended, other]))
    assert not errors.is_of_the_end(other)
    assert not errors.is_of_the_end(None)


def test_a_deserialize_error_has_the_frame() -> None:
    frame = BinaryFrame(b"x")
    assert DeserializeError("does not fit", frame).frame is frame
    assert isinstance(ConverterNotFound("none"), WebSocketException)


def test_every_error_may_be_copied_and_pickled_with_its_facts() -> None:
    # Left to itself, an exception is made again with its text alone.
    reason = CloseReason(1011, "oh")
    made: list[WebSocketException] = [
        WebSocketConnectionException("x"), HandshakeError(403, {"a": "b"}, b"c"), ProxyError("x", 407, {}, b"c"),
        ConnectionClosedError(reason, reason, None, "send"), ConnectionClosedOK(CloseReason(1000)),
        ProtocolError("x", 1008), FrameTooBig(2, 1), MessageTooBig(2, 1, "max_size"), errors.InflatesTooMuch(3, 2, 1.0),
        errors.RateExceeded(2, 1, "max_message_rate"), InvalidPayload("x"), PingTimeout(2, 1), errors.ReadTimeout(2, 1),
        errors.WriteTimeout(2, 1, 3), QueueOverflow(2, 1), errors.ConverterNotFound("x"), DeserializeError("x"),
    ]  # fmt: skip
    named = {name for name in errors.__all__ if name not in ("WebSocketException", "ConnectionClosed")}
    assert {type(error).__name__ for error in made} == named
    for error in made:
        error.tries = 3  # type: ignore[attr-defined]
        if isinstance(error, OSError):
            error.errno = 111
        for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(other) is type(error)
            assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error) | vars(other))
            assert getattr(other, "errno", None) == getattr(error, "errno", None)
