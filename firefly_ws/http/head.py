"""Heads of HTTP/1.x messages read as their bytes arrive; knows limits and syntax, no field's use and no socket.

httptools (llhttp) judges the syntax: it refuses bare LF, folded lines, control
characters and clashing lengths. It limits nothing, takes HTTP/0.9 and 2.0 and
runs of spaces; those checks are here. It gets no header callback: splitting the checked
block ourselves costs less than two `bytes` and a call per field. Nor is it given the last
byte of a head, a known one: that would end in an exception for every upgrade (0.5 µs).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NoReturn

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser
from httptools import HttpResponseParser as _ResponseParser

from firefly_ws.errors import HandshakeError

from .headers import Headers, HeaderSource
from .request import Request
from .response import Response
from .said import answered

__all__ = ["BadRequest", "RequestHead", "ResponseBody", "ResponseHead", "ResponseInfo"]

_END = b"\r\n\r\n"
_MAX_INTERIM = 16
"""Interim answers (1xx) a server may send before the final one; RFC 9110 §15.2 names no number."""
_SHOWN_BYTES = 40
"""Bytes of an answer that is none, in the error that says so."""
_SHOWN = 100
"""Characters of what a peer has sent, in a line of the log."""

_empty_lines: Callable[[bytes], re.Match[bytes]] = re.compile(rb"(?:\r\n)*").match  # type: ignore[assignment]
_unprintable = re.compile(rb"[^\x20-\x7e\r\n]").search
_other_method = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/1\.[01]").fullmatch
_host_syntax = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z\-._~!$&'()*+;=\x80-\xff]|%[0-9A-Fa-f]{2})+)(?::([0-9]*))?"
).fullmatch
_NO_HTTP1 = ("Invalid HTTP version", "Pause on PRI/Upgrade")


class BadRequest(Exception):
    """No request we serve: ``status`` and ``message`` are what the peer is told, ``response`` both.

    ``why`` is for this side alone, and the text: what came, and the option that would change it.
    """

    def __init__(self, status: int, message: str, headers: HeaderSource | None = None, *, why: str = "") -> None:
        self.status = status
        self.message = message
        self.why = why or message
        self.response = Response.text(status, message, headers)
        super().__init__(f"{status}: {self.why}")


class _Callbacks:
    """httptools wants an object to look for callbacks on; we have none."""

    __slots__ = ()


_SILENT = _Callbacks()


class RequestHead:
    """Reads one request's head; one per request.

    ``max_size`` (bytes, first line included) and ``max_count`` (field lines) are checked
    as bytes arrive; ``None`` switches one off. ``rest`` holds what came behind the head.
    """

    __slots__ = ("_buffer", "_max_count", "_max_size", "_parser", "_skipped", "rest")

    def __init__(self, max_size: int | None = 16384, max_count: int | None = 128) -> None:
        self._max_size = max_size
        self._max_count = max_count
        self._buffer: bytearray | None = None
        self._parser: HttpRequestParser | None = None
        self._skipped = 0
        self.rest = b""

    @property
    def size(self) -> int:
        """Bytes of it that have come, while it is not whole."""
        return len(self._buffer or b"") + self._skipped

    def feed(self, data: bytes) -> Request | None:
        """The request once its head is whole, ``None`` before. Raises `BadRequest`."""
        if self._buffer is None:
            end = data.find(_END) + 4
            # Most heads come in one packet: no copy, and one call of the parser.
            if end > 4 and data[0] > 0x20:
                if end == len(data):
                    head = data
                else:
                    head = data[:end]
                    self.rest = data[end:]
                self._limit(head, end)
                try:
                    HttpRequestParser(_SILENT).feed_data(head[:-1])
                except HttpParserError as error:
                    _refuse(error, head)
                return _request(head)
            self._buffer = bytearray()
            self._parser = HttpRequestParser(_SILENT)
        return self._feed_part(data)

    def _feed_part(self, data: bytes) -> Request | None:
        buffer = self._buffer
        assert buffer is not None
        if not buffer or buffer == b"\r":
            # Empty lines before a request are skipped (RFC 9112 §2.2), and count. A CR or LF alone is no such line.
            data = bytes(buffer) + data
            buffer.clear()
            skipped = _empty_lines(data).end()
            self._skipped += skipped
            data = data[skipped:]
            if data == b"\r":
                buffer += data
                self._limit(buffer, 0)
                return None
            if data[:1] in (b"\r", b"\n"):
                raise BadRequest(400, "malformed request line")
        seen = len(buffer)
        buffer += data
        end = buffer.find(_END, max(0, seen - 3)) + 4
        if end < 4:
            end = 0
        self._limit(buffer, end)
        if self._parser is not None:
            try:
                self._parser.feed_data(bytes(buffer[seen : end - 1]) if end else data)
            except HttpParserInvalidMethodError:
                # The method's first odd letter is no verdict yet: the line tells 501 from 400, however it was cut.
                self._parser = None
            except HttpParserError as error:
                _refuse(error, bytes(buffer))
        if self._parser is None and (end or b"\r\n" in buffer or _unprintable(buffer)):
            _refuse_method(bytes(buffer))
        if not end:
            return None
        self.rest = bytes(buffer[end:])
        head = bytes(buffer[:end])
        self._buffer = None
        return _request(head)

    def _limit(self, head: bytes | bytearray, end: int) -> None:
        """Raise 431 when the head is, or will be, beyond a limit; ``end`` is 0 while it is not whole."""
        size = (end or len(head)) + self._skipped
        if self._max_size is not None and size > self._max_size:
            message = f"the head is longer than max_header_size={self._max_size} bytes"
            raise BadRequest(431, message, why=f"{message}; raise it with .max_header_size(bytes)")
        # A field takes four bytes at least.
        if self._max_count is not None and size > 4 * self._max_count:
            # Neither the request line nor the empty line at the end is a field.
            count = head.count(b"\n", 0, end) - 2 if end else head.count(b"\n") - 1
            if count > self._max_count:
                message = f"the head has more than max_header_count={self._max_count} fields"
                raise BadRequest(431, message, why=f"{message}; raise it with .max_header_count(number)")


def _request(head: bytes) -> Request:
    """The request of a whole head that llhttp found well-formed."""
    lines = head.decode("latin-1").split("\r\n")
    line = lines[0]
    parts = line.split(" ")
    if len(parts) != 3:
        raise _malformed(line)
    method, target, version = parts
    if version != "HTTP/1.1" and version != "HTTP/1.0":
        if version.startswith("HTTP/"):
            raise BadRequest(505, "only HTTP/1.1 is served", why=f"only HTTP/1.1 is served, not {version[:_SHOWN]!r}")
        raise _malformed(line)
    if "#" in target:
        what = "the request target has a fragment"
        raise BadRequest(400, what, why=f"{what}, {target[target.index('#') :][:_SHOWN]!r}")
    headers = Headers.of_head(head, len(line) + 2, lines[1:-2])
    # RFC 9112 §3.2: missing, repeated or invalid must be answered with 400, whatever the request is about.
    host = headers.fields().get("host")
    if host is None:
        if version == "HTTP/1.1":
            raise BadRequest(400, "the Host header is missing")
    elif headers.is_repeated("host"):
        raise BadRequest(400, "the Host header came more than once")
    elif not _host_is_valid(host[:300]):
        what = "the Host header is no host and port"
        raise BadRequest(400, what, why=f"{what}: {host.strip(' ')[:_SHOWN]!r}")
    request = Request(method, target, headers, version[5:])
    if target[:1] != "/" and "://" in target and not _host_is_valid(request.host[:300]):
        # RFC 9110 §4.2.4: a user before the host is there to mislead.
        raise BadRequest(400, "the request target must have a host and a port at most before its path")
    return request


@lru_cache(maxsize=128)
def _host_is_valid(host: str) -> bool:
    """Of 300 characters at most, as it is kept: longer ones are none."""
    if len(host) == 300:
        return False
    host = host.strip(" \t")
    found = _host_syntax(host)
    if found is None or int(found[1] or 0) > 65535:
        return False
    try:
        return host[0] != "[" or bool(IPv6Address(host[1 : host.index("]")]))
    except ValueError:
        return False


def _refuse(error: HttpParserError, head: bytes) -> NoReturn:
    if isinstance(error, HttpParserInvalidMethodError):
        _refuse_method(head)
    reason = str(error)
    if reason in _NO_HTTP1:
        raise BadRequest(505, "only HTTP/1.1 is served") from None
    raise BadRequest(400, f"malformed request: {reason}") from None


def _refuse_method(head: bytes) -> NoReturn:
    line = head.partition(b"\r\n")[0]
    if _other_method(line):
        method = line.partition(b" ")[0].decode("ascii")
        # RFC 9110 §9.1: one that nobody knows, whatever the routes are.
        raise BadRequest(501, f"method {method} is not known") from None
    odd = _unprintable(line)
    # No further than to what is odd, which may be the last that has come.
    raise _malformed((line if odd is None else line[: odd.end()]).decode("latin-1")) from None


def _malformed(line: str) -> BadRequest:
    """Behind a question mark there may be a token, which is not for the log."""
    what = "malformed request line"
    tls = ": TLS, at a port without it" if line[:1] == "\x16" else ""
    return BadRequest(400, what, why=f"{what} {line.partition('?')[0][:_SHOWN]!r}{tls}")


class ResponseInfo:
    """The head of a response: ``status``, ``reason``, ``headers`` and ``http_version``."""

    __slots__ = ("_head", "headers", "http_version", "reason", "status")

    def __init__(
        self, status: int, reason: str, headers: Headers, http_version: str = "1.1", head: bytes = b""
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.http_version = http_version
        self._head = head

    def body(self, limit: int = 65536) -> ResponseBody:
        """A reader for what follows this head; for telling a user why an upgrade was refused."""
        return ResponseBody(self._head, limit)

    def __repr__(self) -> str:
        return f"<ResponseInfo {answered(self.status, self.reason)}>"


class ResponseHead:
    """Reads the head of the final response; interim ones (1xx other than 101) are passed over.

    Limits as in `RequestHead`. ``rest`` holds what came behind the head.
    Raises `HandshakeError` with status 0 where it is no HTTP/1.x head or beyond a limit.
    """

    __slots__ = ("_buffer", "_interim", "_max_count", "_max_size", "_parser", "rest")

    def __init__(self, max_size: int | None = 16384, max_count: int | None = 128) -> None:
        self._max_size = max_size
        self._max_count = max_count
        self._buffer = b""
        self._parser: _ResponseParser | None = None
        self._interim = 0
        self.rest = b""

    def feed(self, data: bytes) -> ResponseInfo | None:
        """The response's head once it is whole, ``None`` before."""
        while True:
            seen = len(self._buffer)
            self._buffer += data
            end = self._buffer.find(_END, max(0, seen - 3)) + 4
            if end < 4:
                end = 0
            self._limit(end)
            if self._parser is None:
                self._parser = _ResponseParser(_SILENT)
            try:
                self._parser.feed_data(self._buffer[seen : end - 1] if end else data)
            except HttpParserError as error:
                raise HandshakeError(0, message=_no_response(self._buffer, f"{error}")) from None
            if not end:
                return None
            head, rest = self._buffer[:end], self._buffer[end:]
            info = _response(head)
            if info.status == 101 or info.status >= 200:
                self.rest = rest
                return info
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise HandshakeError(0, message=f"the server sent more than {_MAX_INTERIM} interim answers")
            self._buffer = b""
            self._parser = None
            data = rest

    def _limit(self, end: int) -> None:
        size = end or len(self._buffer)
        if self._max_size is not None and size > self._max_size:
            raise HandshakeError(
                0,
                message=f"the answer's head of at least {size} bytes exceeds max_header_size={self._max_size}; "
                "raise it with .max_header_size(bytes)",
            )
        if self._max_count is not None:
            count = self._buffer.count(b"\n", 0, end) - 2 if end else self._buffer.count(b"\n") - 1
            if count > self._max_count:
                raise HandshakeError(
                    0,
                    message=f"the answer's head of at least {count} fields exceeds max_header_count={self._max_count}; "
                    "raise it with .max_header_count(number)",
                )


def _response(head: bytes) -> ResponseInfo:
    head = head.lstrip(b"\r\n")
    start = head.find(b"\r\n") + 2
    version, _, rest = head[: start - 2].decode("latin-1").partition(" ")
    status, _, reason = rest.partition(" ")
    number = len(status) == 3 and status.isascii() and status.isdigit() and status[0] != "0"
    if not version.startswith("HTTP/1.") or not number:
        raise HandshakeError(0, message=_no_response(head, "its first line has no status"))
    return ResponseInfo(int(status), reason, Headers.of_head(head, start), version[5:], head)


def _no_response(data: bytes, why: str) -> str:
    tls = "; that is TLS: is it a server for wss://?" if data[:2] in (b"\x15\x03", b"\x16\x03") else ""
    return f"the answer is no HTTP/1.1 response: {why}; it begins with {data[:_SHOWN_BYTES]!r}{tls}"


class ResponseBody:
    """Reads a response's body, by its length, in chunks, or to the end of the connection.

    Stops at ``limit`` bytes: it is for reading a refusal, which nobody asked to be long.
    """

    __slots__ = ("_limit", "_parser", "_parts", "_size", "complete")

    def __init__(self, head: bytes, limit: int = 65536) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.complete = False
        self._parser = _ResponseParser(self)
        self.feed(head)

    def feed(self, data: bytes) -> bool:
        """Whether it is complete: nothing more is to be read."""
        if data and not self.complete:
            try:
                self._parser.feed_data(data)
            except (HttpParserError, HttpParserUpgrade):
                # Malformed: what was read so far is still the best explanation there is.
                self.complete = True
        return self.complete

    @property
    def data(self) -> bytes:
        """What has been read."""
        return b"".join(self._parts)

    def on_body(self, data: bytes) -> None:
        """For httptools."""
        data = data[: self._limit - self._size]
        self._parts.append(data)
        self._size += len(data)
        if self._size >= self._limit:
            self.complete = True

    def on_message_complete(self) -> None:
        """For httptools."""
        self.complete = True
