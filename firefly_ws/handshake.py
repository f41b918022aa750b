"""The opening handshake, RFC 6455 §4, both roles: request to agreement or refusal; knows no socket and no frame."""

from __future__ import annotations

import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha1

from .errors import HandshakeError
from .extensions.base import Agreed, AgreedExtension, Extension, ExtensionOffer
from .extensions.grammar import MalformedExtensions
from .extensions.negotiation import client_offer, client_verify, server_answer, server_select
from .http.head import ResponseInfo
from .http.headers import Headers, HeaderSource, header_line, header_pairs, is_token, split_list
from .http.request import Request
from .http.response import Response
from .http.said import answered
from .url import WebSocketURL

__all__ = [
    "Agreement",
    "ExtensionSelector",
    "Offer",
    "Refused",
    "SubProtocolSelector",
    "accept",
    "accept_key",
    "agree",
    "check",
    "check_header",
    "check_origin",
    "choose_sub_protocol",
    "generate_key",
    "make_offer",
    "verify",
]

SubProtocolSelector = Callable[[tuple[str, ...], Request], "str | None"]
"""``select(offered, request)``: one of those offered, or ``None`` for none."""

ExtensionSelector = Callable[[tuple[ExtensionOffer, ...], Request], "Iterable[ExtensionOffer | str] | None"]
"""``select(offered, request)``: those to negotiate, in its own order; ``None`` leaves it to the library."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OWS = " \t"

_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
_TO_WEBSOCKET = [("Upgrade", "websocket"), ("Connection", "Upgrade")]

_OWN = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that a user's header may not overwrite."""

_OPTION = {
    "host": "the URL",
    "sec-websocket-extensions": ".extensions(...)",
    "sec-websocket-protocol": ".sub_protocols(...)",
}


class Agreement:
    """What a handshake ended with. ``head`` is the answer to write (empty on the client)."""

    __slots__ = ("extensions", "head", "sub_protocol")

    def __init__(self, sub_protocol: str | None, extensions: tuple[AgreedExtension, ...], head: bytes = b"") -> None:
        self.sub_protocol = sub_protocol
        self.extensions = extensions
        self.head = head


class Refused(Exception):
    """The request is not upgraded: ``response`` says so to the peer, ``reason`` to the log."""

    def __init__(self, response: Response, reason: str) -> None:
        self.response = response
        self.reason = reason
        super().__init__(f"{response.status}: {reason}")


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (§4.2.2, step 5.4)."""
    return _accept(key.encode("ascii")).decode("ascii")


def _accept(key: bytes) -> bytes:
    return b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)


def generate_key() -> str:
    """A new Sec-WebSocket-Key: 16 bytes of the operating system's randomness (§4.1, step 7)."""
    return b2a_base64(os.urandom(16), newline=False).decode("ascii")


def check_header(name: str, value: str) -> None:
    """Raise `ValueError` where a user's header cannot be sent or would overwrite one of the handshake's own."""
    header_line(name, value)
    lowered = name.lower()
    if lowered in _OWN:
        instead = _OPTION.get(lowered)
        raise ValueError(
            f"header {name!r} belongs to the handshake and cannot be set" + (f"; use {instead}" if instead else "")
        )


# --- server


def accept(
    request: Request,
    *,
    extensions: Sequence[Extension] | None = (),
    sub_protocols: Sequence[str] = (),
    select_sub_protocol: SubProtocolSelector | None = None,
    select_extensions: ExtensionSelector | None = None,
    origins: Sequence[str] | None = None,
    headers: HeaderSource = (),
) -> Agreement:
    """Answer an upgrade request (§4.2). Raises `Refused`, with the response to send.

    Of the client's subprotocols, its first that is among ``sub_protocols`` is chosen;
    ``select_sub_protocol`` and ``select_extensions`` choose instead where given. ``origins``
    are the allowed ones: ``("*",)`` is all, ``None`` those with the authority of Host.
    ``headers`` are added to the answer.
    """
    key = check(request, origins)
    fields = request.headers.fields()
    lines = [_SWITCHING, _accept(key), b"\r\n"]

    sub_protocol = None
    offered = fields.get("sec-websocket-protocol")
    if offered is not None:
        sub_protocol = choose_sub_protocol(offered, sub_protocols, select_sub_protocol, request)
        if sub_protocol is not None:
            lines.append(b"Sec-WebSocket-Protocol: %s\r\n" % sub_protocol.encode("ascii"))

    agreed: tuple[AgreedExtension, ...] = ()
    offer = fields.get("sec-websocket-extensions")
    if offer is not None:
        agreed, line = agree(offer.strip(_OWS), extensions, select_extensions, request)
        lines.append(line)

    if headers:
        for name, value in header_pairs(headers):
            check_header(name, value)
            lines.append(header_line(name, value))
    lines.append(b"\r\n")
    # The connection keeps the request: let it keep the bytes alone, not their table.
    request.headers.release()
    return Agreement(sub_protocol, agreed, b"".join(lines))


def agree(
    offer: str, extensions: Sequence[Extension] | None, select: ExtensionSelector | None, request: Request
) -> Agreed:
    """What is agreed on of an *offer* (a header's value), and the line to answer. Raises `Refused`."""
    configured = extensions if isinstance(extensions, tuple) else tuple(extensions or ())
    try:
        if select is None:
            return server_answer(configured, offer)
        return server_select(configured, offer, lambda offers: select(offers, request))
    except MalformedExtensions as error:
        raise _refused(400, f"Sec-WebSocket-Extensions: {error}") from None


def check(request: Request, origins: Sequence[str] | None = None) -> bytes:
    """The key of an upgrade request that `accept` will answer, but for extensions and subprotocols; or `Refused`."""
    fields = request.headers.fields()
    key = _check_request(request, fields)
    origin = fields.get("origin")
    if origin is not None:
        check_origin(origin.strip(_OWS), fields.get("host", ""), origins, request)
    return key


def wants_upgrade(request: Request) -> bool:
    """Whether a request asks for a websocket at all; `accept` tells whether it does so rightly."""
    if request.method != "GET" or request.http_version == "1.0":
        return False
    upgrade = request.headers.fields().get("upgrade")
    return upgrade is not None and _has_token(upgrade, "websocket")


def _check_request(request: Request, fields: dict[str, str]) -> bytes:
    """The key of a well-formed request (§4.2.1); the order is that of the more telling answer first."""
    headers = request.headers
    old = request.http_version == "1.0"
    host = fields.get("host")
    if not old and (host is None or not host.strip(_OWS) or headers.is_repeated("host")):
        raise _refused(400, "the Host header must come once")
    if request.method != "GET":
        raise _refused(405, f"method {request.method} is not allowed", [("Allow", "GET")])
    upgrade = fields.get("upgrade")
    # RFC 9110 §7.8: an Upgrade in HTTP/1.0 is ignored.
    # Here and below: the usual spelling first, which saves 0.2 µs a field.
    if upgrade is None or old or (upgrade != " websocket" and not _has_token(upgrade, "websocket")):
        what = "this is a websocket: ask with Upgrade: websocket, in HTTP/1.1"
        asked = f"Upgrade is {_said(None if upgrade is None else upgrade.strip(_OWS))} in HTTP/{request.http_version}"
        raise _refused(426, what, _TO_WEBSOCKET, why=f"{what}; {asked}")
    connection = fields.get("connection", "")
    if connection != " Upgrade" and not _has_token(connection, "upgrade"):
        what = "Upgrade came without Connection: Upgrade"
        why = f"{what}, which a proxy has to pass on; Connection is {_said(connection.strip(_OWS) or None)}"
        raise _refused(400, what, why=why)
    version = fields.get("sec-websocket-version")
    if version != " 13" and (version is None or version.strip(_OWS) != "13"):
        what = "Sec-WebSocket-Version is missing" if version is None else f"version {version.strip(_OWS)!r} is unknown"
        raise _refused(426, f"{what}: only 13 is served", [*_TO_WEBSOCKET, ("Sec-WebSocket-Version", "13")])
    key = fields.get("sec-websocket-key")
    if key is None:
        raise _refused(400, "Sec-WebSocket-Key is missing")
    key = key.strip(_OWS)
    try:
        raw = key.encode("ascii")
        if len(raw) != 24 or len(a2b_base64(raw, strict_mode=True)) != 16:
            raise ValueError
    except (ValueError, Base64Error):
        what = "Sec-WebSocket-Key must be 16 bytes in base64"
        raise _refused(400, what, why=f"{what}, not {_said(key)}") from None
    # What follows the head must be frames; a body would be read as some.
    length = fields.get("content-length")
    if (length is not None and length.strip(_OWS) != "0") or "transfer-encoding" in fields:
        raise _refused(400, "a websocket request has no body")
    return raw


def _has_token(value: str, token: str) -> bool:
    """Whether a list such as ``keep-alive, Upgrade`` has the token, in any case."""
    value = value.strip(_OWS).lower()
    return value == token or ("," in value and token in split_list(value))


def _refused(status: int, reason: str, headers: HeaderSource | None = None, *, why: str = "") -> Refused:
    """The peer is told *reason*, the log *why* where that is more."""
    return Refused(Response.text(status, reason, headers), why or reason)


def choose_sub_protocol(
    value: str, supported: Sequence[str], select: SubProtocolSelector | None, request: Request
) -> str | None:
    """That of the list *value* to speak, or None. Raises `Refused`, and what *select* raises."""
    offered = split_list(value)
    if not offered or not all(map(is_token, offered)) or len(set(offered)) != len(offered):
        what = "Sec-WebSocket-Protocol must be a list of different tokens"
        raise _refused(400, what, why=f"{what}, not {_said(value.strip(_OWS))}")
    if select is None:
        for name in offered:
            if name in supported:
                return name
        return None
    chosen = select(tuple(offered), request)
    if chosen is not None and chosen not in offered:
        raise ValueError(f"on_sub_protocol_select returned {chosen!r}, which is not one of those offered: {offered}")
    return chosen


# --- origins


def check_origin(origin: str, host: str, allowed: Sequence[str] | None, request: Request) -> None:
    """Raise `Refused` where *origin* (a header's value, as *host*) is neither allowed nor, by default, Host's own.

    Who sends Origin is a browser: a page of another site must not use the visitor's cookies (§10.2).
    """
    if allowed is None:
        # The usual case without taking it apart: the scheme and then Host, as spelled.
        host = host.strip(_OWS).lower()
        scheme, _, authority = origin.lower().partition("://")
        if authority == host and scheme in _DEFAULT_PORT and host:
            return
        fine = not request.headers.is_repeated("origin") and _is_same_origin(scheme, authority, host)
    else:
        fine = _is_listed(origin, tuple(allowed))
    if not fine:
        reason = (
            f"origin {origin[:200]!r} is not allowed for host {host.strip(_OWS)[:200]!r}; .origins(...) sets which are"
        )
        raise _refused(403, reason)


_DEFAULT_PORT = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


def _is_same_origin(scheme: str, authority: str, host: str) -> bool:
    """Compared in lower case; the port that is the Origin's default may be left out on either side."""
    # An Origin is scheme, host and port alone (RFC 6454 §7): "null" or one with a path equals no Host.
    default = _DEFAULT_PORT.get(scheme)
    if not authority or not host:
        return False
    if default is not None:
        authority = authority.removesuffix(default)
        host = host.removesuffix(default)
    return authority == host


def _normal_origin(origin: str) -> str:
    scheme, separator, authority = origin.lower().partition("://")
    return scheme + separator + authority.removesuffix(_DEFAULT_PORT.get(scheme, ""))


def _is_listed(origin: str, allowed: tuple[str, ...]) -> bool:
    listed = _normal_origins(allowed)
    return "*" in listed or origin in listed or _normal_origin(origin) in listed


@lru_cache(maxsize=64)
def _normal_origins(allowed: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_normal_origin, allowed))


# --- client


class Offer:
    """A client's request: its bytes, and what `verify` must know of it."""

    __slots__ = ("extensions", "headers", "key", "request", "sub_protocols")

    def __init__(
        self,
        request: bytes,
        headers: Headers,
        key: str,
        extensions: tuple[Extension, ...] = (),
        sub_protocols: tuple[str, ...] = (),
    ) -> None:
        self.request = request
        self.headers = headers
        self.key = key
        self.extensions = extensions
        self.sub_protocols = sub_protocols


def make_offer(
    url: WebSocketURL,
    *,
    extensions: Sequence[Extension] = (),
    sub_protocols: Sequence[str] = (),
    headers: HeaderSource | None = None,
    origin: str | None = None,
    key: str | None = None,
) -> Offer:
    """A client's request (§4.1), with a new key.

    Raises `ValueError` for a header of the user's that belongs to the handshake, that would
    break the line, or that gives Origin a second time, and for subprotocols that are no tokens
    or come twice.
    """
    key = generate_key() if key is None else key
    lines = [
        f"GET {url.target} HTTP/1.1\r\n".encode("ascii"),
        header_line("Host", url.host_header),
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        b"Sec-WebSocket-Key: %s\r\n" % key.encode("ascii"),
    ]
    offered = client_offer(extensions)
    if offered:
        lines.append(header_line("Sec-WebSocket-Extensions", offered))
    if sub_protocols:
        _check_sub_protocols(sub_protocols)
        lines.append(header_line("Sec-WebSocket-Protocol", ", ".join(sub_protocols)))
    if origin is not None:
        lines.append(header_line("Origin", origin))
    named_agent = False
    for name, value in header_pairs(headers):
        check_header(name, value)
        if origin is not None and name.lower() == "origin":
            raise ValueError(f"header {name!r}={value!r}: .origin({origin!r}) has set it already")
        named_agent = named_agent or name.lower() == "user-agent"
        lines.append(header_line(name, value))
    if not named_agent:
        # Some gateways refuse a request that has none.
        lines.append(b"User-Agent: firefly-ws\r\n")
    lines.append(b"\r\n")
    request = b"".join(lines)
    return Offer(request, Headers.of_head(request, len(lines[0])), key, tuple(extensions), tuple(sub_protocols))


def _check_sub_protocols(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not is_token(name):
            raise ValueError(f"subprotocol {name!r} must be a token (RFC 6455 §4.1): letters, digits, !#$%&'*+-.^_`|~")
        if name in seen:
            raise ValueError(f"subprotocol {name!r} is offered twice (RFC 6455 §4.1)")
        seen.add(name)


def verify(info: ResponseInfo, offer: Offer, body: bytes = b"") -> Agreement:
    """Check a server's answer (§4.1, end). Raises `HandshakeError` that says what is wrong with it."""
    headers = info.headers

    def wrong(message: str) -> HandshakeError:
        return HandshakeError(info.status, headers, body, message)

    if info.status != 101:
        raise wrong(f"the server answered {answered(info.status, info.reason)} instead of 101 Switching Protocols")
    if info.http_version != "1.1":
        raise wrong(f"the server answered in HTTP/{info.http_version}; an upgrade needs HTTP/1.1")
    upgrade = headers.get("upgrade")
    if upgrade is None or upgrade.lower() != "websocket":
        raise wrong(f"the server's Upgrade is {_said(upgrade)} instead of 'websocket'")
    connection = headers.get("connection")
    if connection is None or not _has_token(connection, "upgrade"):
        raise wrong(f"the server's Connection is {_said(connection)} and lacks 'Upgrade'")
    expected, got = accept_key(offer.key), headers.get("sec-websocket-accept")
    if got != expected:
        raise wrong(f"the server's Sec-WebSocket-Accept is {_said(got)} instead of {expected!r}")

    sub_protocol = headers.get("sec-websocket-protocol")
    if sub_protocol is not None:
        if "," in sub_protocol:
            raise wrong(f"the server chose more than one subprotocol: {sub_protocol!r}")
        if sub_protocol not in offer.sub_protocols:
            offered = ", ".join(offer.sub_protocols) or "none"
            raise wrong(f"the server chose the subprotocol {sub_protocol!r}, which was not offered; offered: {offered}")

    agreed: tuple[AgreedExtension, ...] = ()
    answer = headers.get("sec-websocket-extensions")
    if answer is not None:
        try:
            agreed = client_verify(offer.extensions, answer)
        except ValueError as error:
            raise wrong(str(error)) from None
    return Agreement(sub_protocol, agreed)


def _said(value: str | None) -> str:
    return "missing" if value is None else repr(value[:200])
