"""What `connect`, `bench` and `check` share: the arguments that say where to and how, and what they make of them.

One of the few files that know what a TLS context is.
"""

from __future__ import annotations

import argparse
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, NoReturn

from firefly_ws.client_builder import WebSocketClient, http_client
from firefly_ws.url import WebSocketURL, parse

from .arguments import header, without_secrets

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["add_client", "add_target", "client", "headers", "tls", "url"]


def _misused(options: argparse.Namespace, why: str) -> NoReturn:
    parser: argparse.ArgumentParser = options.parser
    parser.error(without_secrets(why))


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every client takes."""
    parser.add_argument("url", metavar="URL", help="ws://host:port/path, or wss:// for TLS")
    group = parser.add_argument_group("the request")
    group.add_argument(
        "-H", "--header", metavar="'NAME: VALUE'", type=header, action="append", default=[], help="a header; repeatable"
    )
    group.add_argument("--origin", help="the Origin header, as a browser of that page sends it")
    group.add_argument(
        "--subprotocol", metavar="NAME", action="append", default=[], help="a subprotocol to offer; repeatable"
    )
    group = parser.add_argument_group("TLS")
    group.add_argument("--insecure", action="store_true", help="take any certificate: for tests alone")
    group.add_argument("--cacert", metavar="FILE", help="trust the authorities in FILE (PEM) instead of the system's")


def add_client(parser: argparse.ArgumentParser) -> None:
    """Add those that our own client takes besides."""
    group = parser.add_argument_group("the connection")
    group.add_argument("--proxy", metavar="URL", help="http://, https://, socks4:// or socks5://[user:password@]host")


def url(options: argparse.Namespace) -> WebSocketURL:
    """The URL, taken apart; ends the program with 2 where it is none."""
    try:
        return parse(options.url)
    except ValueError as error:
        _misused(options, str(error))


def headers(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The headers of ``-H`` and ``--origin``, and of a user in the URL, for one who writes the request by hand."""
    found: list[tuple[str, str]] = [*options.header]
    if options.origin is not None:
        found.append(("Origin", options.origin))
    userinfo = url(options).userinfo
    if userinfo is not None and not any(name.lower() == "authorization" for name, _ in found):
        found.append(("Authorization", f"Basic {b64encode(':'.join(userinfo).encode()).decode()}"))  # RFC 7617
    return found


def tls(options: argparse.Namespace) -> SSLContext | None:
    """The context that the arguments ask for, ``None`` for a ``ws`` URL; ends the program with 2 for what cannot be."""
    if not url(options).secure:
        for name in ("insecure", "cacert"):
            if getattr(options, name):
                _misused(options, f"--{name} is of no use for ws://, which has no TLS; write wss://")
        return None
    try:
        context = ssl.create_default_context(cafile=options.cacert)
    except OSError as error:  # of which ssl.SSLError is one
        _misused(options, f"--cacert {options.cacert}: {error.strerror or error}")
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def client(options: argparse.Namespace) -> WebSocketClient:
    """The connection to be, as the arguments describe it; ends the program with 2 for what cannot be."""
    context = tls(options)
    try:
        builder = http_client().websocket(options.url)
        if context is not None:
            builder.ssl(context)
        if options.origin is not None:
            builder.origin(options.origin)
        if options.subprotocol:
            builder.sub_protocols(options.subprotocol)
        if getattr(options, "proxy", None) is not None:  # `check` has none
            builder.proxy(options.proxy)
    except (ValueError, ImportError) as error:
        _misused(options, str(error))
    for name, value in options.header:
        try:
            builder.header(name, value)
        except ValueError as error:
            shows = value and any(shown in str(error) for shown in (value, repr(value)[1:-1]))
            why = "its value cannot be sent, or it comes twice" if shows else str(error)
            _misused(options, f"-H {name!r}: {why}")
    return builder
