"""A request as its handler sees it; knows no socket, and reads nothing before it is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from .asked import Asked
from .headers import Headers

__all__ = ["NotJson", "Request"]


class _Body(Protocol):
    """What a request's body is read from."""

    def pieces(self) -> AsyncIterator[bytes]: ...


class NotJson(ValueError):
    """A body that should have been JSON, which is its sender's fault: left alone it is answered with 400."""


class Request(Asked):
    """Method, target and header fields of one request.

    ``target`` is as sent. ``path_params`` are set by the routes, ``remote_address``
    and ``is_secure`` by the server.
    """

    __slots__ = ()

    # Set for HTTP handlers alone.
    _body: _Body | bytes | None

    @classmethod
    def of_client(cls, target: str, headers: Headers) -> Request:
        """The request a client sends to open a websocket."""
        return cls("GET", target, headers)

    @property
    def raw_path(self) -> str:
        """The path as sent, percent signs and all, without the query: what the routes match."""
        target = self.target
        if target[:1] != "/" and "://" in target:
            # The absolute form, which a server must take too (RFC 9112 §3.2.2).
            rest = target[target.index("://") + 3 :]
            authority = rest.partition("?")[0].partition("/")[0]
            rest = rest[len(authority) :]
            target = rest if rest[:1] == "/" else "/" + rest
        return target.partition("?")[0] if "?" in target else target

    @property
    def host(self) -> str:
        """Whom the request is for, as ``example.com:8080``: of an absolute target, else the Host header."""
        if self.target[:1] != "/" and "://" in self.target:
            return self.target.partition("://")[2].partition("?")[0].partition("/")[0]
        return self.headers.get("host", "")

    @property
    def path(self) -> str:
        """The path, percent-decoded as UTF-8."""
        path = self.raw_path
        return unquote(path) if "%" in path else path

    @property
    def query_string(self) -> str:
        """What follows the ``?``, as sent; empty when nothing does."""
        return self.target.partition("?")[2]

    @property
    def query_all(self) -> Mapping[str, list[str]]:
        """Every value of every query parameter, decoded."""
        if self._query is None:
            found: dict[str, list[str]] = {}
            for name, value in parse_qsl(self.query_string, keep_blank_values=True):
                found.setdefault(name, []).append(value)
            self._query = found
        return self._query

    @property
    def query(self) -> dict[str, str]:
        """The query parameters, decoded; the last one where a name came several times."""
        return {name: values[-1] for name, values in self.query_all.items()} if "?" in self.target else {}

    @property
    def path_params(self) -> dict[str, str]:
        """The parameters of the route that matched, decoded."""
        if self._path_params is None:
            self._path_params = {}
        return self._path_params

    @path_params.setter
    def path_params(self, params: dict[str, str]) -> None:
        self._path_params = params or None

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies sent; the first where a name came several times (the closest path, RFC 6265 §5.4)."""
        if self._cookies is None:
            cookies: dict[str, str] = {}
            for line in self.headers.get_all("cookie"):
                for part in line.split(";"):
                    name, equals, value = part.strip(" \t").partition("=")
                    if equals and name:
                        if len(value) > 1 and value[0] == value[-1] == '"':
                            value = value[1:-1]
                        cookies.setdefault(name, value)
            self._cookies = cookies
        return self._cookies

    @property
    def attributes(self) -> dict[Any, Any]:
        """A dict for whoever handles the request, made when first asked for."""
        if self._attributes is None:
            self._attributes = {}
        return self._attributes

    async def body(self) -> bytes:
        """The whole body, empty where there is none; may be asked for again.

        Raises `firefly_ws.http.BadRequest` where it is longer than ``max_body_size`` or malformed (left alone
        it becomes the answer), ``ConnectionError`` where the client went away before its end, and
        ``RuntimeError`` behind `stream`.
        """
        body = self._body
        if body is None:
            return b""
        if not isinstance(body, bytes):
            self._body = _Streamed("body()")
            body = self._body = b"".join([piece async for piece in body.pieces()])
        return body

    async def json(self) -> Any:
        """The body as JSON. Raises what `body` raises, and ``ValueError`` where it is none: left alone, 400."""
        body = await self.body()
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise NotJson(f"the body is no JSON: {_no_json(error)}") from error

    async def stream(self) -> AsyncIterator[bytes]:
        """The body piece by piece as it comes: ``async for piece in request.stream()``. Reading
        the connection pauses while nobody asks for more. Once only; raises what `body` raises.
        """
        body = self._body
        if isinstance(body, bytes):
            if body:
                yield body
        elif body is not None:
            self._body = _Streamed("stream()")
            async for piece in body.pieces():
                yield piece

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} HTTP/{self.http_version}>"


def _no_json(error: Exception) -> str:
    """Why, in words for whoever sent it: what Python says of itself is not for them."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not {error.encoding.upper()} at byte {error.start}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a number in it has too many digits"


class _Streamed:
    """In the place of a body that somebody reads, or has read."""

    def __init__(self, by: str) -> None:
        self._by = by

    async def pieces(self) -> AsyncIterator[bytes]:
        raise RuntimeError(f"the request's body has been read by {self._by} already")
        yield b""
