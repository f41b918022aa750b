"""A response and its bytes; knows no connection."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Self, TypeAlias, cast
from urllib.parse import quote

from .headers import Headers, HeaderSource, header_line, header_pairs, is_token

__all__ = ["Body", "Response"]

Body: TypeAlias = (
    "bytes | bytearray | memoryview | str | dict[str, Any] | list[Any] | Iterable[bytes | str] | "
    "AsyncIterable[bytes | str]"
)
"""What an answer may be made of."""

_Stream: TypeAlias = "Iterable[bytes | str] | AsyncIterable[bytes | str]"

_FRAMING = ("content-length", "transfer-encoding", "date")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PHRASES[413] = "Content Too Large"
_PHRASES[431] = "Request Header Fields Too Large"

_FIRST = {status: f"HTTP/1.1 {status} {phrase}\r\nDate: ".encode("ascii") for status, phrase in _PHRASES.items()}

_TEXT = "text/plain; charset=utf-8"
_BINARY = "application/octet-stream"
_NO_HEADERS = Headers()
_cookie_value = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch  # RFC 6265 §4.1.1, cookie-octet
_in_cookie_attribute = re.compile(r"[\x20-:<-~]*").fullmatch

# NaN and infinity are no JSON (RFC 8259 §6): a browser could not read them.
_as_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Response:
    """An answer: status, header fields and a body.

    ``body`` is bytes, text (sent as UTF-8), a dict or list (sent as JSON), or an iterable
    or async iterable of bytes and text, which is sent piece by piece: with
    ``content_length`` bytes where given, else in chunks.
    Raises `TypeError` or `ValueError` from the constructor, naming what is wrong.
    """

    __slots__ = ("_length", "body", "content_type", "cookies", "headers", "status", "stream")

    #: The body's bytes; empty where it is a stream.
    body: bytes
    #: What is sent piece by piece, or ``None``.
    stream: Iterable[bytes | str] | AsyncIterable[bytes | str] | None

    def __init__(
        self,
        status: int = 200,
        body: Body = b"",
        headers: HeaderSource | None = None,
        content_type: str | None = None,
        *,
        content_length: int | None = None,
    ) -> None:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"status={status!r} must be an int from 200 to 599")
        if not 200 <= status <= 599:
            raise ValueError(f"status={status!r} must be from 200 to 599")
        self.status = int(status)
        self.cookies: list[str] = []
        given = None
        if headers is None:
            self.headers = _NO_HEADERS
        else:
            pairs = header_pairs(headers)
            for name, value in pairs:
                header_line(name, value)
                if name.lower() in _FRAMING:
                    raise ValueError(f"headers: {name} is written by the library and cannot be given")
            self.headers = Headers(pairs)
            given = self.headers.get("content-type")
            if content_type is not None and given is not None:
                raise ValueError(f"content_type={content_type!r} and headers both give a Content-Type")
        self.stream = None
        self._length = content_length
        if isinstance(body, str):
            self.body, default = body.encode(), _TEXT
        elif isinstance(body, (bytes, bytearray, memoryview)):
            self.body, default = bytes(body), _BINARY
        elif isinstance(body, (dict, list)):
            self.body = _as_json(body).encode()
            default = "application/json"
        elif isinstance(body, (Iterable, AsyncIterable)):
            self.body, self.stream, default = b"", cast("_Stream", body), _BINARY
        else:
            raise TypeError(f"body={body!r} must be bytes, str, dict, list, or an iterable of bytes or str")
        if content_length is not None:
            if isinstance(content_length, bool) or not isinstance(content_length, int):
                raise TypeError(f"content_length={content_length!r} must be an int or None")
            if content_length < 0 or self.stream is None:
                raise ValueError(f"content_length={content_length!r} must be at least 0, and is for iterables alone")
        has_body = self.body or self.stream is not None
        self.content_type = content_type or given or (default if has_body else None)
        if content_type is not None:
            header_line("Content-Type", content_type)

    @classmethod
    def text(cls, status: int, text: str, headers: HeaderSource | None = None) -> Response:
        """A line of plain text for a person who reads the answer."""
        return cls(status, text + "\n", headers)

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Response:
        """Go there instead. *location* is a URL or a path; what may not stand in one is percent-encoded.

        303 asks for GET, 307 and 308 keep the method, 301 and 308 are for ever. Raises ``ValueError`` for others.
        """
        if not isinstance(location, str):
            raise TypeError(f"location={location!r} must be a str")
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"status={status!r} must be 301, 302, 303, 307 or 308")
        return cls(status, b"", [("Location", quote(location, safe="!#$%&'()*+,/:;=?@[]~"))])

    @property
    def content_length(self) -> int | None:
        """Bytes of the body; ``None`` for a stream that was not given it."""
        return len(self.body) if self.stream is None else self._length

    def cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        http_only: bool = True,
        same_site: str | None = "Lax",
    ) -> Self:
        """Set a cookie (RFC 6265 §4.1); *max_age* in seconds, without it until the browser closes; 0 deletes it.

        Scripts of the page cannot read it unless ``http_only=False``. Raises ``ValueError``
        for a name or value that cannot stand in a cookie.
        """
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"cookie {name!r}: name and value must be str, not {type(value).__name__}")
        if not is_token(name):
            raise ValueError(f"cookie name {name!r} must be a token (RFC 9110 §5.6.2)")
        if not _cookie_value(value):
            raise ValueError(
                f"cookie {name}: its value must be ASCII without spaces, quotes, commas, semicolons "
                "and backslashes; encode it"
            )
        parts = [f"{name}={value}"]
        if max_age is not None:
            if isinstance(max_age, bool) or not isinstance(max_age, int):
                raise TypeError(f"cookie {name}: max_age={max_age!r} must be an int, in seconds, or None")
            parts.append(f"Max-Age={max_age}")
        for attribute, text in (("Path", path), ("Domain", domain)):
            if text is not None:
                if not _in_cookie_attribute(text):
                    raise ValueError(f"cookie {name}: {attribute.lower()}={text!r} must be ASCII without semicolons")
                parts.append(f"{attribute}={text}")
        if same_site is not None:
            if same_site not in ("Strict", "Lax", "None"):
                raise ValueError(f"cookie {name}: same_site={same_site!r} must be 'Strict', 'Lax', 'None' or None")
            parts.append(f"SameSite={same_site}")
        if secure:
            parts.append("Secure")
        if http_only:
            parts.append("HttpOnly")
        self.cookies.append("; ".join(parts))
        return self

    def encode(self, request_method: str = "GET", *, connection: str = "close", chunked: bool = False) -> bytes:
        """The whole answer as sent: to HEAD, and with 204 and 304, without the body (RFC 9110 §6.4.1).

        *connection* is this hop's option: "close", "keep-alive", or nothing. Of a stream it is the
        head alone, which says how the body is framed: by its length where it is known, by *chunked*, by the end.
        """
        parts = [_FIRST.get(self.status) or b"HTTP/1.1 %d Status\r\nDate: " % self.status, http_date(), b"\r\n"]
        if self.headers is not _NO_HEADERS:
            for name, value in self.headers.items():
                lowered = name.lower()
                if lowered == "connection":
                    connection = f"{value}, {connection}" if connection else value
                elif lowered != "content-type":
                    parts.append(header_line(name, value))
        for cookie in self.cookies:
            parts.append(header_line("Set-Cookie", cookie))
        if self.content_type is not None:
            parts.append(b"Content-Type: %s\r\n" % self.content_type.encode("latin-1"))
        if self.has_body:
            length = self.content_length
            if length is not None:
                parts.append(b"Content-Length: %d\r\n" % length)
            elif chunked:
                parts.append(b"Transfer-Encoding: chunked\r\n")
        if connection:
            parts.append(header_line("Connection", connection))
        parts.append(b"\r\n")
        if self.body and self.has_body and request_method != "HEAD":
            parts.append(self.body)
        return b"".join(parts)

    @property
    def has_body(self) -> bool:
        """Whether an answer of this status has one."""
        return self.status != 204 and self.status != 304

    def __repr__(self) -> str:
        size = self.content_length
        what = "a stream" if size is None else f"{size} bytes"
        return f"<Response {self.status} {_PHRASES.get(self.status, '')}, {what}>"


_date = (0, b"")


def http_date() -> bytes:
    """Now, as RFC 9110 §5.6.7 writes it; formatted once per second."""
    global _date  # one tuple, replaced whole: threads may race and lose nothing
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]
