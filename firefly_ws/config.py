"""What the builders of both ends share: the defaults of a server or a client, and checks of what both are given."""

from __future__ import annotations

import re
import ssl as _ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .converters import Converter, check_converters
from .extensions.base import Extension
from .options import check_extensions
from .policy import MIB, WebSocketPolicy

__all__ = [
    "HttpConfig", "check", "check_config", "check_context", "check_count", "check_origins", "check_port",
    "check_seconds", "check_size",
]  # fmt: skip

# None is a value: it switches the limit off.
_OF_POLICY: Any = object()

# The host may be empty: a page of a file has "file://" in some browsers.
_is_origin = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[0-9A-Za-z\-._~!$&'()+;=%\[\]:]*").fullmatch


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpConfig:
    """Defaults of a server or a client. Sizes are bytes, times are seconds, ``None`` switches a limit off.

    ``policy``, ``extensions`` and ``converter`` (one, or several for different types of
    messages) hold for routes and connections that set none of their own; ``ssl`` is the
    context for TLS. The three limits that follow are fields of the policy, written
    shorter: on a server they hold before a route is known. ``timeout`` and
    ``max_body_size`` are a server's for HTTP, see `HttpServer.timeout`; so are the numbers of connections,
    and ``slow_callback``.
    """

    policy: WebSocketPolicy = field(default_factory=WebSocketPolicy)
    extensions: Iterable[str | Extension] | None = None
    converter: Converter | Iterable[Converter] | None = None
    ssl: _ssl.SSLContext | None = None
    max_header_size: int | None = _OF_POLICY
    max_header_count: int | None = _OF_POLICY
    open_timeout: float | None = _OF_POLICY
    timeout: float | None = 75.0  # nginx's; load balancers in front wait for 60 and must be those who close
    max_body_size: int | None = MIB
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    slow_callback: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.policy, WebSocketPolicy):
            raise TypeError(f"policy={self.policy!r} must be a WebSocketPolicy")
        check_context(self.ssl, optional=True)
        if self.extensions is not None:
            object.__setattr__(self, "extensions", check_extensions(self.extensions))
        object.__setattr__(self, "converter", check_converters(self.converter))
        check_seconds("timeout", self.timeout)
        check_size("max_body_size", self.max_body_size)
        check_count("max_connections", self.max_connections)
        check_count("max_connections_per_address", self.max_connections_per_address)
        check_seconds("slow_callback", self.slow_callback)
        names = ("max_header_size", "max_header_count", "open_timeout")
        given = {name: value for name in names if (value := getattr(self, name)) is not _OF_POLICY}
        if given:
            object.__setattr__(self, "policy", self.policy.replace(**given))
        for name in names:
            object.__setattr__(self, name, getattr(self.policy, name))


def check_config(config: object) -> HttpConfig:
    """*config*, or the defaults where there is none; ``TypeError`` for anything else."""
    if config is None:
        return HttpConfig()
    if not isinstance(config, HttpConfig):
        raise TypeError(f"config={config!r} must be an HttpConfig, not {type(config).__name__}")
    return config


def check(name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    """``TypeError`` where *value* is no *kind*; *what* says what it must be."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}={value!r} must be {what}, not {type(value).__name__}")


def check_port(port: object, least: int) -> None:
    """``ValueError`` for a port below *least* or above 65535."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port={port!r} must be an int")
    if not least <= port <= 65535:
        raise ValueError(f"port={port!r} must be {least} to 65535")


def check_context(context: object, *, optional: bool, not_for: int | None = None) -> None:
    """``TypeError`` for anything but an `ssl.SSLContext` (or ``None``, where it is optional); ``ValueError`` for one
    of the other end, whose protocol is *not_for*."""
    if context is None and optional:
        return
    if not isinstance(context, _ssl.SSLContext):
        raise TypeError(f"ssl={context!r} must be an ssl.SSLContext, not {type(context).__name__}")
    if context.protocol == not_for:
        ours = "client" if not_for == _ssl.PROTOCOL_TLS_SERVER else "server"
        raise ValueError(f"ssl={context!r} is of {context.protocol.name}, which no {ours} can use")


def check_size(name: str, size: int | None) -> int | None:
    """*size* as it is; ``TypeError`` or ``ValueError`` for what is no number of bytes."""
    if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
        raise TypeError(f"{name}={size!r} must be an int, in bytes, or None for no limit")
    if size is not None and size < 0:
        raise ValueError(f"{name}={size!r} must be at least 0 bytes, or None for no limit")
    return size


def check_count(name: str, number: int | None) -> int | None:
    """*number* as it is; ``TypeError`` or ``ValueError`` for what is no number of things, at least one."""
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise TypeError(f"{name}={number!r} must be an int, or None for no limit")
    if number is not None and number < 1:
        raise ValueError(f"{name}={number!r} must be at least 1, or None for no limit")
    return number


def check_seconds(name: str, seconds: float | None) -> float | None:
    """*seconds* as they are; ``TypeError`` or ``ValueError`` for what is no time to wait."""
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float))):
        raise TypeError(f"{name}={seconds!r} must be a number of seconds, or None for no limit")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"{name}={seconds!r} must be more than 0 seconds, or None for no limit")
    return seconds


def check_origins(allowed: tuple[str, ...]) -> tuple[str, ...]:
    """*allowed* as they are; ``TypeError`` or ``ValueError`` for what no browser sends as Origin."""
    if not allowed:
        raise ValueError("origins() needs at least one origin, as 'https://example.com', or '*' for all")
    for origin in allowed:
        if not isinstance(origin, str):
            raise TypeError(f"origins: {origin!r} must be a str")
        if origin not in ("*", "null") and "://" not in origin:
            raise ValueError(f"origins: {origin!r} has no scheme; an origin is 'https://example.com' (RFC 6454 §6.2)")
        if origin not in ("*", "null") and not _is_origin(origin):
            # It would never equal what a browser sends, and nobody would see why.
            raise ValueError(
                f"origins: {origin!r} must be a scheme, a host in ASCII and maybe a port, as "
                "'https://example.com:8443', each an argument of its own; no path, user or pattern: "
                "what a list cannot say, .on_upgrade(...) decides behind .origins('*')"
            )
    return allowed
