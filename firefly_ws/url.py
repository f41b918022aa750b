"""ws:// and wss:// addresses (RFC 6455 §3) taken apart and checked; resolves and connects nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, unquote, urlsplit

__all__ = ["WebSocketURL", "check_authority", "decoded_user", "malformed", "normal_host", "parse", "without_user"]

_control = re.compile(r"[\x00-\x1f\x7f]").search
_host_chars = re.compile(r"[0-9A-Za-z\-._~!$&'()*+,;=]+").fullmatch
_lone_percent = re.compile(r"%(?![0-9A-Fa-f]{2})").sub
_is_zone = re.compile(r"[0-9A-Za-z\-._~]+").fullmatch
_bracketed = re.compile(r"\[[^\]]*\](?::[0-9]*)?").fullmatch
_user = re.compile(r"//.*@", re.DOTALL).sub  # up to the last one: a password that is not encoded has any sign
_DEVIATING = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")  # ß ẞ ς and the two joiners (UTS 46 §7)
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
    userinfo: tuple[str, str] | None = field(default=None, repr=False, compare=False)
    """User and password, decoded; sent as basic authentication, never as part of the URL, and never shown."""

    @property
    def host_header(self) -> str:
        """The authority as the Host header has it: the port only where it is not the default (RFC 6455 §4.1)."""
        # A zone is a name of this machine for one of its interfaces: no server's business (RFC 6874 §1).
        return self._with_port(self.host.partition("%")[0] if ":" in self.host else self.host)

    @property
    def authority(self) -> str:
        """Host and port, always both: what a proxy's CONNECT asks for."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _with_port(self, host: str) -> str:
        host = f"[{host}]" if ":" in host else host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = self.host.replace("%", "%25") if ":" in self.host else self.host  # of a zone (RFC 6874 §2)
        return f"{'wss' if self.secure else 'ws'}://{self._with_port(host)}{self.target}"


def without_user(url: str) -> str:
    """*url* as errors may show it, well-formed or not: without user and password, where there are any."""
    return _user("//***@", url)


def malformed(url: str, error: ValueError) -> str:
    """What is wrong with *url*, which could not be taken apart; what urllib says may have a part of the password."""
    text = str(error)
    if text.startswith("Port could"):
        text = "its port is no number"
    elif text.startswith("Port out"):
        text = "its port must be from 1 to 65535"
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
    check_authority(parts.netloc, f"url {shown!r}")
    secure = parts.scheme == "wss"
    target = _encoded(parts.path, _SAFE) or "/"
    if parts.query:
        target += "?" + _encoded(parts.query, _SAFE + "?")
    return WebSocketURL(
        secure,
        normal_host(parts.hostname, shown),
        _port(port, shown, secure),
        target,
        decoded_user(parts.username, parts.password, f"url {shown!r}"),
    )


def _encoded(text: str, safe: str) -> str:
    # A percent sign that begins no octet is meant as itself, and would make the request malformed (RFC 3986 §2.4).
    return quote(_lone_percent("%25", text), safe=safe)


def check_authority(authority: str, what: str) -> None:
    """``ValueError``, beginning with *what*, for an authority that others take apart in another way than urllib."""
    if "\\" in authority:
        # Browsers see a slash, so that "ws://a\\@b/" is host a for them and host b for urllib.
        raise ValueError(f"{what} must have no backslash before its path; in a password it is %5C")
    host = authority.rpartition("@")[2]
    if host.startswith("[") and not _bracketed(host):
        raise ValueError(f"{what}: behind the ] of its IPv6 address there may be a port alone")


def decoded_user(user: str | None, password: str | None, what: str) -> tuple[str, str] | None:
    """User and password of a URL, ``None`` without; ``ValueError``, beginning with *what*, where they are no UTF-8."""
    if not user and not password:
        return None
    try:
        return unquote(user or "", errors="strict"), unquote(password or "", errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{what}: user and password must be UTF-8, each octet encoded as %XX") from None


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
            address = IPv6Address(host.replace("%25", "%", 1))
            if address.scope_id is not None and not _is_zone(address.scope_id):
                raise ValueError
            return str(address)
        except ValueError:
            raise ValueError(f"url {url!r}: {host!r} is no IPv6 address") from None
    host = unquote(host)
    if not host.isascii():
        if set(host) & _DEVIATING:
            # Browsers would connect to another host than Python's codec names.
            why = "has a character that IDNA 2003 and 2008 encode differently; give the host as xn--…"
            raise ValueError(f"url {url!r}: {host!r} {why}")
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(f"url {url!r}: {host!r} is no valid host name") from None
    labels = host.removesuffix(".").split(".")
    if not _host_chars(host) or len(host) > 254 or not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"url {url!r}: {host!r} is no valid host name")
    return host.lower()
