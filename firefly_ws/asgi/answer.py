"""An application's answer, from its events to bytes; knows HTTP's framing, no connection and no application.

The head leaves with the first piece of the body, as ASGI asks for: an application that
fails in between is still answered for, and a body that is whole needs no chunks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from firefly_ws.http.headers import split_list
from firefly_ws.http.response import http_date

from .events import Event, kind_of

__all__ = ["Answer"]

_is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_forbidden = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_number = re.compile(rb"[0-9]{1,18}").fullmatch
_HTTP = ("http.response.start", "http.response.body")
_names: dict[bytes, bytes] = {}  # field names that have been checked, in lower case: an application has a few
_MANY = 1000
_LINES = {one.value: b"HTTP/1.1 %d %s\r\n" % (one.value, one.phrase.encode()) for one in HTTPStatus}


class Answer:
    """The events ``http.response.start`` and ``http.response.body`` of one answer, as bytes to write.

    *kinds* are the types of the two. Raises ``RuntimeError`` for
    events that may not come now, ``TypeError`` and ``ValueError`` for what is wrong in one.
    """

    __slots__ = (
        "_chunked", "_fields", "_kinds", "_left", "_length", "_method", "_old", "_status",
        "closes", "complete", "has_left",
    )  # fmt: skip

    def __init__(self, method: str, http_version: str = "1.1", kinds: tuple[str, str] = _HTTP) -> None:
        self._method = method
        self._old = http_version == "1.0"
        self._kinds = kinds
        self._status = 0
        self._fields: list[bytes] = []
        self._length: int | None = None
        self._left = 0
        self._chunked = False
        self.closes = False  # the connection ends behind it
        self.has_left = False  # its head is among the bytes given
        self.complete = False

    @property
    def status(self) -> int:
        """The status; 0 before the start."""
        return self._status

    def take(self, event: Event, connection: Callable[[bool], str]) -> bytes:
        """What is to be written now. ``connection(closes)`` gives the Connection option of the head."""
        start, body = self._kinds
        kind = event.get("type") if type(event) is dict else kind_of(event)
        if kind == body:
            if not self._status:
                raise RuntimeError(f"send({kind!r}) before {start!r}")
            if self.complete:
                raise RuntimeError(f"send({kind!r}) behind the end of the answer: the last one had no more_body")
            return self._body(event, connection)
        if kind != start:
            raise RuntimeError(f"send({kind_of(event)!r}): expected {start!r} or {body!r}")
        if self._status:
            raise RuntimeError(f"send({kind!r}): the answer has been started already, with status {self._status}")
        self._start(event)
        return b""

    def _start(self, event: Event) -> None:
        status = event.get("status")
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"status={status!r} must be an int from 200 to 599")
        if not 200 <= status <= 599:
            raise ValueError(f"status={status!r} must be from 200 to 599")
        fields: list[bytes] = []
        dated = False
        length = None
        for pair in event.get("headers") or ():
            try:
                name, value = pair
                lowered = _names[name]
                if type(value) is not bytes or _forbidden(value):
                    raise ValueError
            except (KeyError, TypeError, ValueError):
                name, value, lowered = _checked(pair)
            if lowered == b"content-length":
                if length is not None or not _number(value):
                    raise ValueError(f"headers: content-length {value!r} must be one number of bytes")
                length = int(value)
            elif lowered == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise ValueError(f"headers: transfer-encoding {value!r}: the server frames the answer")
            elif lowered == b"connection":
                options = split_list(value.decode("latin-1").lower())
                self.closes = self.closes or "close" in options
            else:
                dated = dated or lowered == b"date"
                fields.append(b"%s: %s\r\n" % (name, value))
        if not dated:
            fields.append(b"date: %s\r\n" % http_date())
        self._fields = fields
        self._length = length
        self._status = int(status)

    def _head(self, whole: int | None, connection: Callable[[bool], str]) -> bytes:
        """The head. *whole* is the length of a body that is all here."""
        parts = [_LINES.get(self._status) or b"HTTP/1.1 %d Status\r\n" % self._status, *self._fields]
        length = self._length
        if self._status == 204 or self._status == 304:
            if length is not None and self._status == 304:
                parts.append(b"content-length: %d\r\n" % length)
            self._left = 0
        else:
            if length is None and whole is not None and (whole or self._method != "HEAD"):
                length = whole
            if length is not None:
                parts.append(b"content-length: %d\r\n" % length)
                self._left = length
            elif self._old:
                self.closes = True
            elif self._method != "HEAD":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
            self._length = length
        option = connection(self.closes)
        if option:
            parts.append(b"connection: %s\r\n" % option.encode())
        parts.append(b"\r\n")
        return b"".join(parts)

    def _body(self, event: Event, connection: Callable[[bool], str]) -> bytes:
        body: Any = event.get("body", b"")
        if type(body) is not bytes:
            if not isinstance(body, (bytes, bytearray, memoryview)):
                raise TypeError(f"body={body!r:.200} must be bytes, not {type(body).__name__}")
            body = bytes(body)
        more = bool(event.get("more_body", False))
        head = b"" if self.has_left else self._head(None if more else len(body), connection)
        if self._method == "HEAD" or self._status == 204 or self._status == 304:
            self.complete = not more
            self.has_left = True
            return head
        if self._length is not None:
            if len(body) > self._left:
                raise RuntimeError(f"the body is longer than its content-length={self._length} bytes")
            self._left -= len(body)
            if not more and self._left:
                raise RuntimeError(
                    f"the body ends after {self._length - self._left} bytes, and its content-length is {self._length}"
                )
        elif self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        self.complete = not more
        self.has_left = True
        data: bytes = head + body if head else body
        return data


def _checked(pair: Any) -> tuple[bytes, bytes, bytes]:
    """One field, checked, and its name in lower case."""
    try:
        name, value = pair
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError
    except (TypeError, ValueError):
        raise TypeError(f"headers: {pair!r} must be a pair (name, value) of bytes") from None
    if not _is_token(name):
        raise ValueError(f"headers: name {name!r} must be a token (RFC 9110 §5.6.2)")
    if _forbidden(value):
        raise ValueError(f"headers: {name!r} has a value with CR, LF, NUL or other control characters: {value!r}")
    lowered = name.lower()
    if len(_names) < _MANY:
        _names[name] = lowered
    return name, value, lowered
