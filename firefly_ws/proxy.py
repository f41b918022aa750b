"""Proxies: their addresses, taken apart and checked, and which one the environment names; connects nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from .url import WebSocketURL, check_authority, decoded_user, malformed, normal_host, without_user

__all__ = ["ProxyURL", "from_environment", "parse"]

_DEFAULT_PORT: Final = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_control = re.compile(r"[\x00-\x20\x7f]").search


@dataclass(frozen=True, slots=True)
class ProxyURL:
    """Where a proxy is, and how it is asked."""

    scheme: str
    """http or https (CONNECT, RFC 9110 §9.3.6), socks4, socks5 (RFC 1928): with a or h it resolves the names, too."""
    host: str
    port: int
    userinfo: tuple[str, str] | None = field(default=None, repr=False)
    """User and password, decoded; never shown."""

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS rather than HTTP."""
        return self.scheme.startswith("socks")

    @property
    def resolves(self) -> bool:
        """Whether the proxy looks the server's name up, as curl has it: always over HTTP, else socks4a and socks5h."""
        return self.scheme not in ("socks4", "socks5")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(url: str) -> ProxyURL:
    """Take a proxy's URL apart.

    Raises ``ValueError`` that says what is wrong with it and shows no password, and ``ImportError`` for SOCKS
    where python-socks is not installed.
    """
    if not isinstance(url, str):
        raise TypeError(f"proxy={url!r} must be a str, as 'http://host:port'")
    shown = without_user(url)
    if _control(url):
        raise ValueError(f"proxy {shown!r} must not contain blanks or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"proxy {malformed(url, error)}") from None
    scheme = parts.scheme
    if scheme not in _DEFAULT_PORT or "://" not in url:
        raise ValueError(f"proxy {shown!r} must begin with one of {', '.join(f'{one}://' for one in _DEFAULT_PORT)}")
    if not parts.hostname:
        raise ValueError(f"proxy {shown!r} has no host")
    if port == 0:
        raise ValueError(f"proxy {shown!r}: port 0 must be from 1 to 65535")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"proxy {shown!r} must end behind its port: a proxy has no path, query or fragment")
    check_authority(parts.netloc, f"proxy {shown!r}")
    userinfo = decoded_user(parts.username, parts.password, f"proxy {shown!r}")
    proxy = ProxyURL(scheme, normal_host(parts.hostname, shown), port or _DEFAULT_PORT[scheme], userinfo)
    if proxy.is_socks:
        _check_socks(proxy, shown)
    elif userinfo is not None and ":" in userinfo[0]:
        raise ValueError(f"proxy {shown!r}: the user may have no ':' (RFC 7617 §2)")
    return proxy


def _check_socks(proxy: ProxyURL, shown: str) -> None:
    if proxy.userinfo is not None:
        user, password = proxy.userinfo
        if proxy.scheme.startswith("socks4"):
            if password:
                raise ValueError(f"proxy {shown!r}: SOCKS 4 knows a user and no password; use socks5://")
            if not user.isascii() or "\0" in user:
                raise ValueError(f"proxy {shown!r}: the user must be ASCII")
        elif not (0 < len(user) < 256 and 0 < len(password) < 256 and (user + password).isascii()):
            raise ValueError(f"proxy {shown!r}: user and password must be 1 to 255 bytes of ASCII each (RFC 1929 §2)")
    if find_spec("python_socks") is None:
        raise ImportError(f"proxy {shown!r}: SOCKS needs python-socks; pip install 'firefly-ws[proxy]'")


def from_environment(url: WebSocketURL, environ: Mapping[str, str]) -> ProxyURL | None:
    """The proxy that *environ* names for *url*, ``None`` for none; raises as `parse`, naming the variable.

    HTTPS_PROXY is for ``wss``, HTTP_PROXY for ``ws``, ALL_PROXY for what has none of its own; NO_PROXY lists hosts
    to be reached directly: names with all below them, addresses, networks (``10.0.0.0/8``), each with a port or
    without, or ``*``. Names in lower case win, also empty ones. An address without a scheme is an HTTP proxy's.
    """
    for name in ("https_proxy" if url.secure else "http_proxy", "all_proxy"):
        spelled = name if name in environ else name.upper()
        # A CGI program gets a request's header "Proxy: ..." as HTTP_PROXY.
        if spelled == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            continue
        value = environ.get(spelled, "").strip()
        if not value:
            continue
        if _is_exempt(url, environ.get("no_proxy", environ.get("NO_PROXY", ""))):
            return None
        try:
            return parse(value if "://" in value else f"http://{value}")
        except (ValueError, ImportError) as error:
            raise type(error)(f"{spelled}: {error}") from None
    return None


def _is_exempt(url: WebSocketURL, listed: str) -> bool:
    return any(_covers(entry.strip().lower(), url) for entry in listed.split(",") if entry.strip())


def _covers(entry: str, url: WebSocketURL) -> bool:
    if entry == "*":
        return True
    if _is_network(entry, url.host):
        return True
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.startswith("[")):
        if int(port) != url.port:
            return False
        entry = host
    entry = entry.removeprefix("*").strip(".").strip("[]")
    name = url.host.removesuffix(".")
    return bool(entry) and (name == entry or name.endswith("." + entry) or _is_network(entry, name))


def _is_network(entry: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return False
