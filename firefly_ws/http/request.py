"""A request as its handler sees it; knows no socket, and reads nothing before it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from .headers import Headers

__all__ = ["Request"]


class Request:
    """Method, target and header fields of one request.

    ``target`` is as sent. ``path_params`` are set by the routes, ``remote_address``
    and ``is_secure`` by the server.
    """

    __slots__ = (
        "_attributes",
        "_cookies",
        "_path_params",
        "_query",
        "headers",
        "http_version",
        "is_secure",
        "method",
        "remote_address",
        "target",
    )

    def __init__(self, method: str, target: str, headers: Headers, http_version: str = "1.1") -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.http_version = http_version
        self.remote_address: Any = None
        self.is_secure = False
        self._path_params: dict[str, str] | None = None
        self._query: dict[str, list[str]] | None = None
        self._cookies: dict[str, str] | None = None
        self._attributes: dict[Any, Any] | None = None

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

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} HTTP/{self.http_version}>"
