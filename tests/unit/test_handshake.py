"""The opening handshake on the server's side, as a function of bytes; the client's is in `test_handshake_client`."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cuts import cuts
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from firefly_ws.extensions.permessage_deflate import PerMessageDeflate
from firefly_ws.handshake import (
    Agreement,
    Refused,
    accept,
    accept_key,
    generate_key,
)
from firefly_ws.http.head import BadRequest, RequestHead
from firefly_ws.http.headers import Headers
from firefly_ws.http.request import Request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
DEFLATE = (PerMessageDeflate(),)

FIELDS = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


LINE = "GET /chat HTTP/1.1"


def wire(*more: str, line: str = LINE, **changed: str | None) -> bytes:
    """A good request; ``Sec_WebSocket_Key="x"`` changes a field, ``None`` takes it out, *more* are lines added."""
    fields: dict[str, str | None] = dict(FIELDS)
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = [line, *(f"{name}: {value}" for name, value in fields.items() if value is not None), *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read(data: bytes) -> Request:
    request = RequestHead().feed(data)
    assert request is not None
    return request


def upgrade(*more: str, options: dict[str, Any] | None = None, **changed: str | None) -> Agreement:
    return accept(read(wire(*more, line=LINE, **changed)), **(options or {}))


def refusal(data: bytes, **options: Any) -> tuple[int, dict[str, str]]:
    """The status of a refusal and its headers, the same however the request is cut."""
    seen = []
    for packets in cuts(data, rounds=3):
        head = RequestHead()
        try:
            for packet in packets:
                request = head.feed(packet)
                if request is not None:
                    accept(request, **options)
                    raise AssertionError("it was accepted")
        except Refused as refused:
            response = refused.response
        except BadRequest as refused:
            response = refused.response
        # A person who looks at the answer is told why.
        assert response.body
        seen.append((response.status, {name.lower(): value for name, value in response.headers.items()}))
    assert seen.count(seen[0]) == len(seen)
    return seen[0]


# --- server


def test_the_rfcs_example_is_answered_as_the_rfc_does() -> None:
    assert accept_key(KEY) == ACCEPT
    agreement = upgrade()
    assert agreement.head == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )
    assert agreement.sub_protocol is None
    assert agreement.extensions == ()


@pytest.mark.parametrize("behind", [b"", b"\x81\x80\x00\x00\x00\x00"])
def test_a_request_is_accepted_however_it_is_cut_and_frames_behind_it_are_kept(behind: bytes) -> None:
    data = wire("Sec-WebSocket-Extensions: permessage-deflate") + behind
    expected = upgrade("Sec-WebSocket-Extensions: permessage-deflate", options={"extensions": DEFLATE}).head
    for packets in cuts(data):
        head = RequestHead()
        request = None
        while request is None:
            request = head.feed(packets.pop(0))
        assert accept(request, extensions=DEFLATE).head == expected
        assert head.rest + b"".join(packets) == behind


@pytest.mark.parametrize(
    "changed",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "keep-alive,UPGRADE"},
        {"Connection": "upgrade ,"},
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Upgrade": "\tWEBSOCKET "},
        {"Sec_WebSocket_Version": " 13 "},
        {"Sec_WebSocket_Key": f"  {KEY}  "},
        {"Host": "[::1]:8080"},
        {"Content_Length": "0"},
    ],
)
def test_lists_and_tokens_come_in_any_shape(changed: dict[str, Any]) -> None:
    assert ACCEPT.encode() in upgrade(**changed).head


def test_names_come_in_any_case() -> None:
    lines = [f"{name.upper()}:{value}" for name, value in FIELDS.items()]
    request = read("\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode())
    assert ACCEPT.encode() in accept(request).head


def test_lists_may_be_spread_over_lines() -> None:
    agreement = upgrade(
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Protocol: a",
        "Sec-WebSocket-Protocol: b",
        "Sec-WebSocket-Extensions: x",
        "Sec-WebSocket-Extensions: permessage-deflate",
        Connection="keep-alive",
        Upgrade="h2c",
        options={"extensions": DEFLATE, "sub_protocols": ("b",)},
    )
    assert agreement.sub_protocol == "b"
    assert [extension.name for extension in agreement.extensions] == ["permessage-deflate"]


TO_WEBSOCKET = {"upgrade": "websocket", "connection": "Upgrade"}


@pytest.mark.parametrize("value", [None, "h2c", "websocket2", "web socket", ""])
def test_without_upgrade_to_websocket_it_is_426(value: str | None) -> None:
    assert refusal(wire(Upgrade=value)) == (426, {**TO_WEBSOCKET})


def test_an_upgrade_in_http_1_0_does_not_count() -> None:
    assert refusal(wire(line="GET / HTTP/1.0"))[0] == 426
    assert refusal(wire(line="GET / HTTP/1.0", Host=None))[0] == 426


@pytest.mark.parametrize("value", [None, "12", "14", "8", "13, 8", "013", "x", ""])
def test_another_version_is_426_that_names_ours(value: str | None) -> None:
    assert refusal(wire(Sec_WebSocket_Version=value)) == (426, {**TO_WEBSOCKET, "sec-websocket-version": "13"})


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "x",
        base64.b64encode(b"x" * 15).decode(),
        base64.b64encode(b"x" * 17).decode(),
        base64.b64encode(b"x" * 18).decode(),
        KEY[:-2],
        KEY[:-1],
        KEY + "=",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25j!Q==",
        "dGhlIHNhbXBs ZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZ\xe9==",
    ],
)
def test_a_key_that_is_not_16_bytes_of_base64_is_400(key: str | None) -> None:
    assert refusal(wire(Sec_WebSocket_Key=key))[0] == 400


def test_a_key_that_comes_twice_is_400() -> None:
    assert refusal(wire(f"Sec-WebSocket-Key: {KEY}"))[0] == 400


@pytest.mark.parametrize("value", [None, "keep-alive", "close", "upgraded", ""])
def test_upgrade_without_connection_upgrade_is_400(value: str | None) -> None:
    assert refusal(wire(Connection=value))[0] == 400


@pytest.mark.parametrize(
    "line",
    ["Content-Length: 5", "Content-Length: 00", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked"],
)
def test_a_body_is_400(line: str) -> None:
    assert refusal(wire(line))[0] == 400


def test_a_host_that_is_missing_or_repeated_is_400() -> None:
    assert refusal(wire(Host=None))[0] == 400
    assert refusal(wire("Host: other"))[0] == 400
    assert refusal(wire(Host=""))[0] == 400


def test_a_request_made_by_hand_is_held_to_the_same_rules() -> None:
    pairs = list(FIELDS.items())
    assert accept(Request("GET", "/", Headers(pairs))).head
    for fields in (pairs[1:], [*pairs, pairs[0]]):
        with pytest.raises(Refused) as caught:
            accept(Request("GET", "/", Headers(fields)))
        assert caught.value.response.status == 400


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "CONNECT"])
def test_another_method_is_405_with_allow(method: str) -> None:
    target = "a:80" if method == "CONNECT" else "/"
    assert refusal(wire(line=f"{method} {target} HTTP/1.1")) == (405, {"allow": "GET"})


def test_the_request_is_still_readable_after_its_table_was_dropped() -> None:
    request = read(wire())
    accept(request)
    assert request.headers["host"] == "server.example.com"


# --- origins


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://a", "a"),
        ("https://a", "a"),
        ("ws://a", "a"),
        ("HTTP://A.Example", "a.EXAMPLE"),
        ("http://a:8080", "a:8080"),
        ("http://a", "a:80"),
        ("http://a:80", "a"),
        ("https://a", "a:443"),
        ("https://a:443", "a"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_an_origin_with_the_hosts_authority_is_allowed_by_default(origin: str, host: str) -> None:
    assert upgrade(f"Origin: {origin}", Host=host).head


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil", "a"),
        ("http://a.evil", "a"),
        ("http://evil/a", "a"),
        ("http://a/", "a"),
        ("http://user@a", "a"),
        ("http://a:8080", "a"),
        ("http://a", "a:8080"),
        ("https://a", "a:80"),
        ("http://a:443", "a"),
        ("http://localhost", "127.0.0.1"),
        ("null", "a"),
        ("null", "null"),
        ("", "a"),
        ("a", "a"),
        ("http://", "a"),
        ("://a", "b"),
        ("file://", "a"),
    ],
)
def test_any_other_origin_is_403_with_the_method_that_allows_it(origin: str, host: str) -> None:
    with pytest.raises(Refused) as caught:
        upgrade(f"Origin: {origin}", "X-Forwarded-Host: evil", Host=host)
    assert caught.value.response.status == 403
    assert b".origins(...)" in caught.value.response.body
    assert ".origins(...)" in caught.value.reason
    assert repr(origin) in caught.value.reason


def test_two_origins_are_403() -> None:
    assert refusal(wire("Origin: http://server.example.com", "Origin: http://evil"))[0] == 403
    assert refusal(wire("Origin: http://server.example.com", "Origin: http://server.example.com"))[0] == 403


def test_who_sends_no_origin_is_no_browser_and_passes() -> None:
    assert upgrade(options={"origins": ("https://a",)}).head


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        (("*",), "http://evil", True),
        (("*",), "null", True),
        (("https://a.example",), "https://a.example", True),
        (("https://a.example",), "HTTPS://A.example:443", True),
        (("HTTPS://A.example:443",), "https://a.example", True),
        (("https://a.example",), "http://a.example", False),
        (("https://a.example",), "https://b.example", False),
        (("https://a.example",), "http://server.example.com", False),
        (("https://a.example", "https://b.example"), "https://b.example", True),
        (("https://a.example:8443",), "https://a.example", False),
        (("null",), "null", True),
        (("https://a.example",), "null", False),
        ((), "http://server.example.com", False),
    ],
)
def test_listed_origins_alone_are_allowed(allowed: tuple[str, ...], origin: str, passes: bool) -> None:
    if passes:
        assert upgrade(f"Origin: {origin}", options={"origins": allowed}).head
    else:
        assert refusal(wire(f"Origin: {origin}"), origins=allowed)[0] == 403


# --- subprotocols, extensions and headers of the answer


def test_the_clients_first_supported_subprotocol_is_chosen() -> None:
    agreement = upgrade("Sec-WebSocket-Protocol: x, b ,a", options={"sub_protocols": ("a", "b")})
    assert agreement.sub_protocol == "b"
    assert b"\r\nSec-WebSocket-Protocol: b\r\n" in agreement.head


@pytest.mark.parametrize("more", [(), ("Sec-WebSocket-Protocol: x",), ("Sec-WebSocket-Protocol: A",)])
def test_without_a_common_subprotocol_there_is_none(more: tuple[str, ...]) -> None:
    agreement = upgrade(*more, options={"sub_protocols": ("a",)})
    assert agreement.sub_protocol is None
    assert b"Protocol:" not in agreement.head


def test_a_selector_chooses_the_subprotocol() -> None:
    seen: list[tuple[tuple[str, ...], str]] = []

    def select(offered: tuple[str, ...], request: Request) -> str | None:
        seen.append((offered, request.path))
        return "b"

    agreement = upgrade("Sec-WebSocket-Protocol: a, b", options={"select_sub_protocol": select})
    assert agreement.sub_protocol == "b"
    assert seen == [(("a", "b"), "/chat")]


def test_a_selector_that_chooses_what_was_not_offered_is_told() -> None:
    with pytest.raises(ValueError, match="returned 'c', which is not one of those offered"):
        upgrade("Sec-WebSocket-Protocol: a, b", options={"select_sub_protocol": lambda offered, request: "c"})


@pytest.mark.parametrize("value", ["a b", "a, a", "", ",", "a, é", 'a, "b"', "a;b"])
def test_a_malformed_subprotocol_list_is_400(value: str) -> None:
    assert refusal(wire(f"Sec-WebSocket-Protocol: {value}"))[0] == 400


def test_an_agreed_extension_is_in_the_answer_and_in_the_agreement() -> None:
    agreement = upgrade("Sec-WebSocket-Extensions: permessage-deflate", options={"extensions": DEFLATE})
    assert [extension.name for extension in agreement.extensions] == ["permessage-deflate"]
    assert (
        b"\r\nSec-WebSocket-Extensions: permessage-deflate; "
        b"server_no_context_takeover; client_no_context_takeover\r\n\r\n"
    ) in agreement.head


@pytest.mark.parametrize("extensions", [(), None, []])
def test_a_server_without_extensions_agrees_to_none(extensions: Any) -> None:
    agreement = upgrade("Sec-WebSocket-Extensions: permessage-deflate", options={"extensions": extensions})
    assert agreement.extensions == ()
    assert b"Extensions" not in agreement.head


def test_a_list_of_extensions_does_as_well_as_a_tuple() -> None:
    agreement = upgrade("Sec-WebSocket-Extensions: permessage-deflate", options={"extensions": list(DEFLATE)})
    assert len(agreement.extensions) == 1


@pytest.mark.parametrize("value", ["", "a;", "a b", 'a; b="', ";"])
def test_a_malformed_extension_list_is_400(value: str) -> None:
    data = wire(f"Sec-WebSocket-Extensions: {value}")
    assert refusal(data, extensions=DEFLATE)[0] == 400
    assert refusal(data, select_extensions=lambda offers, request: None)[0] == 400


def test_a_selector_chooses_the_extensions() -> None:  # F8
    options = {"extensions": DEFLATE, "select_extensions": lambda offers, request: []}
    assert upgrade("Sec-WebSocket-Extensions: permessage-deflate", options=options).extensions == ()


def test_headers_are_added_to_the_answer() -> None:
    head = upgrade(options={"headers": [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]}).head
    assert head.endswith(b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n")
    with pytest.raises(ValueError, match="belongs to the handshake"):
        upgrade(options={"headers": {"Upgrade": "h2c"}})
    with pytest.raises(ValueError, match="X-Bad"):
        upgrade(options={"headers": {"X-Bad": "a\r\nb: c"}})


def test_the_key_is_hashed_as_the_rfc_says() -> None:
    key = generate_key()
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert accept_key(key) == base64.b64encode(digest).decode()


def test_our_server_and_another_librarys_client_agree() -> None:
    client = ClientProtocol(parse_uri("ws://a/x"))
    client.send_request(client.connect())
    (sent,) = client.data_to_send()
    client.receive_data(accept(read(sent)).head)
    assert client.handshake_exc is None
    assert client.state.name == "OPEN"
