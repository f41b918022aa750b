"""The opening handshake on the client's side, as functions of bytes."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cuts import cuts
from websockets.http11 import Request as TheirRequest
from websockets.server import ServerProtocol

from firefly_ws.errors import HandshakeError
from firefly_ws.extensions.permessage_deflate import PerMessageDeflate
from firefly_ws.handshake import Agreement, Offer, accept, check_header, generate_key, make_offer, verify
from firefly_ws.http.head import RequestHead, ResponseHead
from firefly_ws.url import parse

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
DEFLATE = (PerMessageDeflate(),)


def offer(url: str = "ws://a/chat?x=1", **options: Any) -> Offer:
    return make_offer(parse(url), key=KEY, **options)


def test_a_client_asks_as_the_rfc_has_it() -> None:
    assert offer().request == (
        b"GET /chat?x=1 HTTP/1.1\r\n"
        b"Host: a\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"User-Agent: firefly-ws\r\n"
        b"\r\n"
    )


def test_every_request_has_a_key_of_its_own() -> None:
    keys = {generate_key() for _ in range(100)} | {make_offer(parse("ws://a")).key for _ in range(100)}
    assert len(keys) == 200
    assert all(len(base64.b64decode(key, validate=True)) == 16 for key in keys)


def test_an_offer_carries_all_that_was_set() -> None:
    made = offer(
        "wss://a:8443/",
        extensions=(PerMessageDeflate(context_takeover=True),),
        sub_protocols=("a", "b"),
        origin="https://a",
        headers=[("Cookie", "x=1"), ("Authorization", "Bearer t"), ("User-Agent", "mine")],
    )
    assert made.headers["host"] == "a:8443"
    assert made.headers["sec-websocket-extensions"] == "permessage-deflate; client_max_window_bits"
    assert made.headers["sec-websocket-protocol"] == "a, b"
    assert made.headers["origin"] == "https://a"
    assert made.headers["cookie"] == "x=1"
    assert made.headers["authorization"] == "Bearer t"
    assert made.headers.get_all("user-agent") == ["mine"]


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "upgrade",
        "CONNECTION",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Accept",
        "Content-Length",
        "Transfer-Encoding",
    ],
)
def test_the_handshakes_own_headers_cannot_be_overwritten(name: str) -> None:
    for attempt in (lambda: check_header(name, "x"), lambda: offer(headers={name: "x"})):
        with pytest.raises(ValueError, match=f"header '{name}' belongs to the handshake"):
            attempt()


def test_an_error_names_the_option_that_does_it() -> None:
    with pytest.raises(ValueError, match=r"use \.sub_protocols\(\.\.\.\)"):
        check_header("Sec-WebSocket-Protocol", "a")


@pytest.mark.parametrize(("name", "value"), [("X", "a\r\nHost: b"), ("X", "a\0"), ("X\r\nY", "a"), ("X:", "a")])
def test_a_header_cannot_break_its_line(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        offer(headers={name: value})


def test_an_origin_is_given_once() -> None:
    assert offer(headers={"Origin": "http://a"}).headers.get_all("origin") == ["http://a"]
    with pytest.raises(ValueError, match="has set it already"):
        offer(origin="http://a", headers={"origin": "http://b"})


@pytest.mark.parametrize(("names", "why"), [(("a b",), "must be a token"), (("",), "token"), (("a", "a"), "twice")])
def test_a_subprotocol_must_be_a_token_and_unique(names: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        offer(sub_protocols=names)


ANSWER = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}


def reply(*more: str, line: str = "HTTP/1.1 101 Switching Protocols", **changed: str | None) -> bytes:
    fields: dict[str, str | None] = dict(ANSWER)
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def check(data: bytes, made: Offer | None = None, body: bytes = b"") -> Agreement:
    info = ResponseHead().feed(data)
    assert info is not None
    return verify(info, made or offer(), body)


def test_a_good_answer_is_taken() -> None:
    agreement = check(reply())
    assert (agreement.sub_protocol, agreement.extensions, agreement.head) == (None, (), b"")


@pytest.mark.parametrize(
    "changed",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "upgrade"},
        {"Connection": "keep-alive, UPGRADE"},
        {"Sec_WebSocket_Accept": f"  {ACCEPT} "},
    ],
)
def test_tokens_of_an_answer_come_in_any_case(changed: dict[str, Any]) -> None:
    assert check(reply(**changed)).sub_protocol is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (reply(line="HTTP/1.1 200 OK"), "answered 200 OK instead of 101"),
        (reply(line="HTTP/1.1 403 Forbidden"), "answered 403 Forbidden"),
        (reply(line="HTTP/1.1 302 Found"), "answered 302 Found"),
        (reply(line="HTTP/1.0 101 Switching Protocols"), r"HTTP/1\.0; an upgrade needs HTTP/1\.1"),
        (reply(Upgrade=None), "Upgrade is missing"),
        (reply(Upgrade="h2c"), "Upgrade is 'h2c'"),
        (reply("Upgrade: websocket"), "Upgrade is 'websocket, websocket'"),
        (reply(Connection=None), "Connection is missing"),
        (reply(Connection="keep-alive"), "Connection is 'keep-alive' and lacks 'Upgrade'"),
        (reply(Sec_WebSocket_Accept=None), "Sec-WebSocket-Accept is missing"),
        (reply(Sec_WebSocket_Accept=ACCEPT.lower()), "Sec-WebSocket-Accept is 's3ppl"),
        (reply(Sec_WebSocket_Accept=KEY), "Sec-WebSocket-Accept is 'dGhl.* instead of 's3pPL"),
        (reply(f"Sec-WebSocket-Accept: {ACCEPT}"), "Sec-WebSocket-Accept is"),
        (reply("Sec-WebSocket-Protocol: a"), "subprotocol 'a', which was not offered; offered: none"),
        (reply("Sec-WebSocket-Protocol: "), "subprotocol '', which was not offered"),
        (reply("Sec-WebSocket-Extensions: x"), "extension 'x', which was not offered"),
        (reply("Sec-WebSocket-Extensions: permessage-deflate"), "'permessage-deflate', which was not offered"),
        (reply("Sec-WebSocket-Extensions: ;"), "malformed extension list"),
    ],
)
def test_anything_else_is_a_handshake_error_that_says_what(data: bytes, why: str) -> None:
    for packets in cuts(data, rounds=3):
        head = ResponseHead()
        infos = [info for packet in packets if (info := head.feed(packet)) is not None]
        with pytest.raises(HandshakeError, match=why) as caught:
            verify(infos[0], offer(), b"body")
        assert caught.value.status == infos[0].status
        assert caught.value.headers is infos[0].headers
        assert caught.value.body == b"body"


def test_an_offered_subprotocol_is_taken_and_one_alone() -> None:
    made = offer(sub_protocols=("a", "b"))
    assert check(reply("Sec-WebSocket-Protocol: b"), made).sub_protocol == "b"
    for more in (("Sec-WebSocket-Protocol: a, b",), ("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a")):
        with pytest.raises(HandshakeError, match="more than one subprotocol"):
            check(reply(*more), made)
    with pytest.raises(HandshakeError, match="'c', which was not offered; offered: a, b"):
        check(reply("Sec-WebSocket-Protocol: c"), made)


def test_an_offered_extension_is_taken_and_its_parameters_checked() -> None:
    made = offer(extensions=DEFLATE)
    good = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"
    assert [extension.name for extension in check(reply(good), made).extensions] == ["permessage-deflate"]
    with pytest.raises(HandshakeError, match="unknown parameter 'x'"):
        check(reply(good + "; x"), made)
    with pytest.raises(HandshakeError, match="twice"):
        check(reply(good, good), made)


def test_our_server_accepts_our_client() -> None:
    made = make_offer(
        parse("ws://a:81/x"), extensions=DEFLATE, sub_protocols=("p", "q"), origin="http://a:81", headers={"X": "é"}
    )
    for packets in cuts(made.request, rounds=4):
        head = RequestHead()
        requests = [request for packet in packets if (request := head.feed(packet)) is not None]
        answer = accept(requests[0], extensions=DEFLATE, sub_protocols=("q",))
        info = ResponseHead().feed(answer.head)
        assert info is not None
        agreed = verify(info, made)
        assert agreed.sub_protocol == answer.sub_protocol == "q"
        assert str(agreed.extensions[0]) == str(answer.extensions[0])


def test_our_client_and_another_librarys_server_agree() -> None:
    server = ServerProtocol()
    made = make_offer(parse("ws://a/x"))
    server.receive_data(made.request)
    (request,) = server.events_received()
    assert isinstance(request, TheirRequest)
    server.send_response(server.accept(request))
    (sent,) = server.data_to_send()
    assert check(sent, made).extensions == ()
