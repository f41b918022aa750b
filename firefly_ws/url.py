"""ws:// and wss:// addresses (RFC 6455 §3) taken apart and checked; resolves and connects nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, unquote, urlsplit

__all__ = ["WebSocketURL", "malformed", "normal_host", "parse", "without_user"]

_control = re.compile(r"[\x00-\x1f\x7f]").search
_host_chars = re.compile(r"[0-9A-Za-z\-._~!$&'()*+,;=]+").fullmatch
_user = re.compile(r"//.*@", re.DOTALL).sub  # up to the last one: a password that is not encoded has any sign
_SAFE = "%/:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class WebSocketURL:
    """Where to connect, and what to ask for."""

    secure: bool
    """wss: TLS from the first byte."""
    host: str
    """What is resolved and, with TLS, verified: ASCII (IDNA), an IPv6 address without brackets."""
    port: int
    target: str
    """Path and query as sent in the request line."""
    userinfo: tuple[str, str] | None = field(default=None, repr=False)
    """User and password, decoded; sent as basic authentication, never as part of the URL, and never shown."""

    @property
    def host_header(self) -> str:
        """The authority as the Host header has it: the port only where it is not the default (RFC 6455 §4.1)."""
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def authority(self) -> str:
        """Host and port, always both: what a proxy's CONNECT asks for."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.host_header}{self.target}"


def without_user(url: str) -> str:
    """*url* as errors may show it, well-formed or not: without user and password, where there are any."""
    return _user("//***@", url)


def malformed(url: str, error: ValueError) -> str:
    """What is wrong with *url*, which could not be taken apart; what urllib says may have a part of the password."""
    text = str(error)
    if text.startswith("Port could"):
        text = "its port is no number"
    elif text.startswith("netloc"):
        text = "its host has characters that become others when it is normalised"
    return f"{without_user(url)!r} is malformed: {text}"


def parse(url: str) -> WebSocketURL:
    """Take ``url`` apart. Raises `ValueError` that names the URL, but no password, and what is wrong with it."""
    if not isinstance(url, str):
        raise TypeError(f"url={url!r} must be a str")
    shown = without_user(url)
    if _control(url):
        raise ValueError(f"url {shown!r} must not contain control characters")
    scheme, colon, _ = url.partition("://")
    if not colon or scheme.lower() not in ("ws", "wss"):
        raise ValueError(f"url {shown!r} must begin with ws:// or wss://")
    if "#" in url:
        raise ValueError(f"url {shown!r} must not have a #fragment (RFC 6455 §3)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"url {malformed(url, error)}") from None
    if not parts.hostname:
        raise ValueError(f"url {shown!r} has no host")
    secure = parts.scheme == "wss"
    userinfo = None
    if parts.username is not None:
        userinfo = (unquote(parts.username), unquote(parts.password or ""))
    target = quote(parts.path, safe=_SAFE) or "/"
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE + "?")
    return WebSocketURL(
        secure,
        normal_host(parts.hostname, shown),
        _port(port, shown, secure),
        target,
        userinfo,
    )


def _port(port: int | None, url: str, secure: bool) -> int:
    if port is None:
        return 443 if secure else 80
    if not 0 < port < 65536:
        raise ValueError(f"url {url!r}: port {port} must be from 1 to 65535")
    return port


def normal_host(host: str, url: str) -> str:
    """*host* as it is resolved: ASCII (IDNA), an IPv6 address without brackets; ``ValueError`` naming *url*."""
    if ":" in host:
        try:
            # The zone of a link-local address is written %25 in a URL (RFC 6874).
            return str(IPv6Address(host.replace("%25", "%", 1)))
        except ValueError:
            raise ValueError(f"url {url!r}: {host!r} is no IPv6 address") from None
    host = unquote(host)
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"url {url!r}: {host!r} is no valid host name") from None
    if not _host_chars(host):
        raise ValueError(f"url {url!r}: {host!r} is no valid host name")
    return host.lower()
