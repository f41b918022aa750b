"""A response and its bytes; knows no connection: after every response of this version it is closed."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from .headers import Headers, HeaderSource, header_line, header_pairs

__all__ = ["Response"]

_FRAMING = ("content-length", "transfer-encoding", "date")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PHRASES[431] = "Request Header Fields Too Large"

_TEXT = "text/plain; charset=utf-8"


class Response:
    """An answer: status, header fields and a body.

    ``body`` is bytes, text (sent as UTF-8) or a dict or list (sent as JSON).
    Raises `TypeError` or `ValueError` from the constructor, naming what is wrong.
    """

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int = 200,
        body: bytes | str | dict[str, Any] | list[Any] = b"",
        headers: HeaderSource | None = None,
        content_type: str | None = None,
    ) -> None:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"status={status!r} must be an int from 200 to 599")
        if not 200 <= status <= 599:
            raise ValueError(f"status={status!r} must be from 200 to 599")
        self.status = int(status)
        pairs = header_pairs(headers)
        for name, value in pairs:
            header_line(name, value)
            if name.lower() in _FRAMING:
                raise ValueError(f"headers: {name} is written by the library and cannot be given")
        self.headers = Headers(pairs)
        given = self.headers.get("content-type")
        if content_type is not None and given is not None:
            raise ValueError(f"content_type={content_type!r} and headers both give a Content-Type")
        self.body, default = _bytes(body)
        self.content_type = content_type or given or (default if self.body else None)
        if content_type is not None:
            header_line("Content-Type", content_type)

    @classmethod
    def text(cls, status: int, text: str, headers: HeaderSource | None = None) -> Response:
        """A line of plain text for a person who reads the answer."""
        return cls(status, text + "\n", headers)

    def encode(self, request_method: str = "GET") -> bytes:
        """The whole answer as sent: to HEAD, and with 204 and 304, without the body (RFC 9110 §6.4.1)."""
        lines = [b"HTTP/1.1 %d %s\r\nDate: %s\r\n" % (self.status, self._phrase(), http_date())]
        options = ""
        for name, value in self.headers.items():
            lowered = name.lower()
            if lowered == "connection":
                options += value + ", "
            elif lowered != "content-type":
                lines.append(header_line(name, value))
        if self.content_type is not None:
            lines.append(header_line("Content-Type", self.content_type))
        bodyless = self.status in (204, 304)
        if not bodyless:
            lines.append(b"Content-Length: %d\r\n" % len(self.body))
        lines.append(header_line("Connection", options + "close") + b"\r\n")
        if not bodyless and request_method != "HEAD":
            lines.append(self.body)
        return b"".join(lines)

    def _phrase(self) -> bytes:
        return _PHRASES.get(self.status, "Status").encode("ascii")

    def __repr__(self) -> str:
        return f"<Response {self.status} {_PHRASES.get(self.status, '')}, {len(self.body)} bytes>"


def _bytes(body: object) -> tuple[bytes, str]:
    """The body as bytes, and the content type that fits it."""
    if isinstance(body, str):
        return body.encode(), _TEXT
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), "application/octet-stream"
    if isinstance(body, dict | list):
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(), "application/json"
    raise TypeError(f"body={body!r} must be bytes, str, dict or list")


_date = (0, b"")


def http_date() -> bytes:
    """Now, as RFC 9110 §5.6.7 writes it; formatted once per second."""
    global _date  # one tuple, replaced whole: threads may race and lose nothing
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]
