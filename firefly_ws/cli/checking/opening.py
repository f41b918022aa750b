"""Rules of the opening handshake (RFC 6455 §4.2): what is upgraded, what is not, and with which answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .frames import TEXT, Answer, frame
from .verdicts import Finding, Group, fail, skip, warn

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["OPENING"]

OPENING: Final = Group("Opening handshake")

rule = OPENING.rule


def _refused(answer: Answer | None, *expected: int) -> None:
    """Not upgraded; and where *expected* says with what, with that."""
    if answer is None:
        warn("the server ended the connection without an answer")
    if answer.status == 101:
        fail("upgraded all the same")
    if expected and answer.status not in expected:
        text = f"answered {answer.line[9:]!r}; expected {' or '.join(map(str, expected))}"
        (warn if 400 <= answer.status < 500 else fail)(text)


@rule("RFC 6455 §4.2.2", "a correct request is upgraded")
async def upgrade(peer: Peer) -> None:
    await peer.open()


@rule("RFC 6455 §4.2.1", "names and tokens count in any case, among others")
async def any_case(peer: Peer) -> None:
    await peer.open({"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"})


@rule("RFC 9112 §2.2", "a request that comes in pieces is upgraded")
async def request_in_pieces(peer: Peer) -> None:
    request = peer.request()
    for start in range(0, len(request), 40):
        peer.send(request[start : start + 40])
        await asyncio.sleep(0.001)
    peer.upgraded(await peer.answer())


@rule("RFC 6455 §4.2.2", "a subprotocol is chosen only among those offered")
async def subprotocol(peer: Peer) -> None:
    offered = peer.target.subprotocols or ["firefly-check"]
    chosen = (await peer.open({"Sec-WebSocket-Protocol": ", ".join(offered)})).headers.get("sec-websocket-protocol")
    if chosen not in (None, *offered):
        fail(f"{chosen!r} was not offered")


@rule("RFC 6455 §4.2.2", "without an offer no subprotocol is chosen")
async def no_subprotocol(peer: Peer) -> None:
    peer.send(peer.request({"Sec-WebSocket-Protocol": None}))
    answer = await peer.answer()
    if answer is not None and 400 <= answer.status < 500 and peer.target.subprotocols:
        skip("the server does without no subprotocol, which it may")
    chosen = peer.upgraded(answer).headers.get("sec-websocket-protocol")
    if chosen is not None:
        fail(f"{chosen!r} was not offered")


@rule("RFC 6455 §9.1", "without an offer no extension is used")
async def no_extension(peer: Peer) -> None:
    chosen = (await peer.open()).headers.get("sec-websocket-extensions")
    if chosen is not None:
        fail(f"{chosen!r} was not offered")


@rule("RFC 6455 §9.1", "an extension that nobody knows is declined")
async def unknown_extension(peer: Peer) -> None:
    chosen = (await peer.open({"Sec-WebSocket-Extensions": "x-firefly-check; a=1"})).headers
    if "sec-websocket-extensions" in chosen:
        fail(f"the answer has Sec-WebSocket-Extensions: {chosen['sec-websocket-extensions']}")


@rule("RFC 6455 §4.4", "version 99 is answered with 426 and the versions spoken")
async def other_version(peer: Peer) -> None:
    peer.send(peer.request({"Sec-WebSocket-Version": "99"}))
    answer = await peer.answer()
    _refused(answer, 426)
    if answer is not None and "13" not in answer.headers.get("sec-websocket-version", ""):
        warn("426 without Sec-WebSocket-Version: 13")


@rule("RFC 6455 §4.2.1", "no version at all is refused")
async def no_version(peer: Peer) -> None:
    peer.send(peer.request({"Sec-WebSocket-Version": None}))
    _refused(await peer.answer(), 400, 426)


@rule("RFC 6455 §4.2.1", "a missing key is answered with 400")
async def no_key(peer: Peer) -> None:
    peer.send(peer.request({"Sec-WebSocket-Key": None}))
    _refused(await peer.answer(), 400)


@rule("RFC 6455 §4.2.1", "a key that is not 16 bytes of base64 is answered with 400")
async def bad_key(peer: Peer) -> None:
    peer.send(peer.request({"Sec-WebSocket-Key": "c2hvcnQ="}))
    _refused(await peer.answer(), 400)


@rule("RFC 9112 §3.2", "a missing Host is answered with 400")
async def no_host(peer: Peer) -> None:
    peer.send(peer.request({"Host": None}))
    _refused(await peer.answer(), 400)


@rule("RFC 6455 §4.2.1", "a GET without Upgrade is answered as HTTP")
async def no_upgrade(peer: Peer) -> None:
    peer.send(peer.request({"Upgrade": None, "Connection": None}))
    _refused(await peer.answer())


@rule("RFC 6455 §4.2.1", "an Upgrade to something else is not taken for one to websocket")
async def other_upgrade(peer: Peer) -> None:
    peer.send(peer.request({"Upgrade": "h2c"}))
    _refused(await peer.answer())


@rule("RFC 6455 §4.2.1", "Upgrade counts only where Connection names it")
async def no_connection(peer: Peer) -> None:
    peer.send(peer.request({"Connection": "keep-alive"}))
    _refused(await peer.answer())


@rule("RFC 6455 §4.2.1", "a POST is not upgraded")
async def post(peer: Peer) -> None:
    peer.send(peer.request({"Content-Length": "0"}, method="POST"))
    _refused(await peer.answer())


@rule("RFC 6455 §4.2.1", "HTTP/1.0 is not upgraded")
async def http_1_0(peer: Peer) -> None:
    peer.send(peer.request(version="1.0"))
    _refused(await peer.answer())


@rule("RFC 6455 §4.1", "a frame that comes with the request is not lost", echo=True)
async def early_frame(peer: Peer) -> None:
    peer.send(peer.request(), frame(TEXT, b"early"))
    try:
        peer.upgraded(await peer.answer())
        await peer.echoed(TEXT, b"early")
    except Finding as finding:
        # A client must wait for the answer, so no server owes this; but some do not wait.
        warn(finding.detail)
