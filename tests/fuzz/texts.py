"""What reads text of the other end, each held to its promises on any bytes: the errors it may raise, and what must
come out alike however it goes in. Knows no sockets.

A target takes bytes, returns nothing, and raises only what is a fault of the library.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

from heads import CLIENTS, KEY, ODD, PLAIN

from firefly_ws.errors import HandshakeError
from firefly_ws.extensions.grammar import MalformedExtensions, format_items, parse_items
from firefly_ws.extensions.negotiation import client_verify, server_answer
from firefly_ws.extensions.registry import known_extensions, resolve
from firefly_ws.handshake import Agreement, Refused, accept, make_offer, verify
from firefly_ws.http.body import RequestBody, body_length
from firefly_ws.http.head import BadRequest, RequestHead, ResponseHead
from firefly_ws.http.headers import Headers
from firefly_ws.proxy import parse as parse_proxy
from firefly_ws.redirects import follow
from firefly_ws.routes import RouteTable
from firefly_ws.url import parse as parse_url

__all__ = ["TARGETS", "mutated"]

EXTENSIONS = tuple(resolve(name) for name in known_extensions())
EACH = [(extension,) for extension in EXTENSIONS] + [EXTENSIONS]
ASKED = parse_url("wss://example.com/a/b?c=d")
# All that one end may agree on at a time: two that claim RSV1 cannot both be.
OFFER = make_offer(ASKED, extensions=(resolve("permessage-deflate"),), sub_protocols=("chat", "superchat"), key=KEY)
ROUTES: RouteTable[str] = RouteTable()
for _path in ("/chat", "/room/{name}", "/room/{name}/{id}", "/files/*", "/page", "/room/garden"):
    ROUTES.add(_path, _path)


def grammar(data: bytes) -> None:
    """Sec-WebSocket-Extensions."""
    try:
        items = parse_items(data.decode("latin-1"))
    except MalformedExtensions:
        return
    assert parse_items(format_items(items)) == items


def negotiation(data: bytes) -> None:
    """An offer to a server, and the answer of one."""
    text = data.decode("latin-1")
    for extensions in EACH:
        try:
            agreed, line = server_answer(extensions, text)
        except MalformedExtensions:
            pass
        else:
            if agreed:
                # What we answer is a list that parses, of what was offered.
                answered = parse_items(line.decode().partition(":")[2].strip())
                assert [one.name for one in answered] == [one.name for one in agreed]
                assert {one.name for one in answered} <= {one.name for one in parse_items(text)}
        with contextlib.suppress(ValueError):
            client_verify(extensions, text)


def url(data: bytes) -> None:
    """Addresses: of a websocket, of a proxy, and where a redirect leads."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        parsed = parse_url(text)
    except ValueError:
        pass
    else:
        again = parse_url(str(parsed))
        assert again == parsed
        make_offer(parsed)
    with contextlib.suppress(ValueError, ImportError):
        parse_proxy(text)
    latin = data.decode("latin-1")
    try:
        to = follow(ASKED, HandshakeError(302, Headers([("location", latin)]), b""))
    except HandshakeError:
        pass
    else:
        assert to.secure
        assert to.userinfo is None


def _cuts(data: bytes) -> list[list[bytes]]:
    dice = random.Random(len(data))
    marks = sorted(dice.randrange(len(data) + 1) for _ in range(3))
    cut = [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True) if start < end]
    return [[data], cut, [data[at : at + 1] for at in range(len(data))]]


def _request(pieces: list[bytes]) -> tuple[Any, bytes, bool]:
    """A request's head: what it is, what came behind it, and whether it was refused."""
    head = RequestHead(8192, 64)
    for index, piece in enumerate(pieces):
        try:
            request = head.feed(piece)
        except BadRequest:
            return None, b"", True
        if request is not None:
            return request, head.rest + b"".join(pieces[index + 1 :]), False
    return None, b"", False


def request(data: bytes) -> None:
    """A request: its head, its handshake, what is asked of it, and its body."""
    seen = [_request(pieces) for pieces in _cuts(data[:4000])]
    (first, rest, refused), *others = seen
    for other, behind, no in others:
        assert (other is None) == (first is None)
        assert refused == no
        if first is not None:
            assert (other.method, other.target, behind) == (first.method, first.target, rest)
            assert list(other.headers.items()) == list(first.headers.items())
    if first is None:
        return
    for fact in ("path", "raw_path", "host", "query", "cookies"):
        getattr(first, fact)
    ROUTES.match(first.raw_path)
    _body(first, rest)
    try:
        agreement = accept(first, extensions=EXTENSIONS, sub_protocols=("chat",), origins=("*",))
    except Refused as refusal:
        status = refusal.response.status
    else:
        status = 400
        assert agreement.head.startswith(b"HTTP/1.1 101 ")
        assert agreement.head.endswith(b"\r\n\r\n")
        assert agreement.head.count(b"\r\n\r\n") == 1
    assert 400 <= status < 500


def _body(asked: Any, data: bytes) -> None:
    try:
        length = body_length(asked)
    except BadRequest:
        return
    ends: list[object] = []
    for pieces in _cuts(data) if data else [[]]:
        try:
            body = RequestBody(length, 1000)
            behind = b""
            for piece in pieces:
                behind += piece if body.complete else body.feed(piece)
        except BadRequest as error:
            ends.append(error.status)
        else:
            ends.append((body.complete, body.received, behind))
    assert all(end == ends[0] for end in ends), ends


def body(data: bytes) -> None:
    """A body in chunks, or of a length."""
    kind, data = data[:1], data[1:]
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    if kind < b"@":
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    _body(_request([head])[0], data)


def response(data: bytes) -> None:
    """A server's answer to an upgrade."""
    ends: list[object] = []
    for pieces in _cuts(data[:4000]):
        head = ResponseHead(8192, 64)
        info = None
        try:
            for piece in pieces:
                info = head.feed(piece)
                if info is not None:
                    break
        except HandshakeError:
            ends.append("refused")
            continue
        if info is None:
            ends.append("waiting")
            continue
        ends.append((info.status, list(info.headers.items())))
        try:
            agreement = verify(info, OFFER)
        except HandshakeError:
            continue
        assert isinstance(agreement, Agreement)
        assert agreement.sub_protocol in (None, "chat", "superchat")
    assert all(end == ends[0] for end in ends), ends


Target = Callable[[bytes], None]

_OFFERS = [
    b"permessage-deflate; client_max_window_bits",
    b'permessage-deflate; server_no_context_takeover; server_max_window_bits="10", fragment;maxLength=5',
    b"x-webkit-deflate-frame; no_context_takeover; max_window_bits=9, deflate-frame, identity",
]
# fmt: off
_URLS = [
    b"ws://example.com/a?b=c", b"wss://user:pa%20ss@[::1]:8443/%2f", b"ws://b\xc3\xbccher.example:80", b"//other/x",
    b"../up?x#frag", b"http://proxy:3128", b"socks5://u:p@127.0.0.1", b"wss://[fe80::1%25eth0]/", b"https://h:65536/",
]
# fmt: on
_UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)
_ANSWERS = [
    _UPGRADED + b"\r\n",
    _UPGRADED + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
    _UPGRADED + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 3\r\n\r\nabc",
]
_REQUESTS = [
    *CLIENTS.values(),
    *PLAIN.values(),
    *ODD.values(),
    b"POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
]
_BODIES = [b"z3\r\nabc\r\n0\r\n\r\n", b"za;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext", b"!abcdefgh"]

TARGETS: dict[str, tuple[Target, list[bytes]]] = {
    "grammar": (grammar, _OFFERS),
    "negotiation": (negotiation, _OFFERS),
    "url": (url, _URLS),
    "request": (request, _REQUESTS),
    "body": (body, _BODIES),
    "response": (response, _ANSWERS),
}

# fmt: off
_WORDS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b": ", b",", b";", b"=", b'"', b"\\", b" ", b"\t", b"%", b"%00", b"%2F",
    b"[", b"]", b"@", b"#", b"?", b"/", b"//", b"..", b"\xff", b"\xc3\xa9", b"0", b"15", b"8", b"-1", b"1e5",
    b"18446744073709551616", b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 1\r\n", b"Host: b\r\n",
    b"HTTP/1.0", b"HTTP/1.1 ", b"GET ", b"websocket", b"Upgrade", b"permessage-deflate", b"client_max_window_bits",
    b"fragment", b"maxLength", b"ws://", b"http://", b"[::1]", b"\xe3\x80\x82", b"xn--",
]
# fmt: on


def mutated(seeds: list[bytes], dice: random.Random) -> bytes:
    """One of *seeds*, changed in a few places."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice([1, 1, 2, 3, 8])):
        at = dice.randrange(len(data) + 1)
        to = min(at + dice.randrange(1, 12), len(data))
        match dice.randrange(6):
            case 0:
                data[at:at] = dice.choice(_WORDS)
            case 1:
                data[at:to] = dice.choice(_WORDS)
            case 2:
                del data[at:to]
            case 3:
                data[at:at] = data[at:to] * dice.choice([1, 2, 40])
            case 4 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case _:
                other = dice.choice(seeds)
                data[at:] = other[dice.randrange(len(other) + 1) :]
    return bytes(data)
