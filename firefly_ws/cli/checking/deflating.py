"""Rules of permessage-deflate (RFC 7692), for servers that agree to it; compresses with zlib itself."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .frames import CONTINUATION, PING, TEXT, Answer, frame
from .peer import shown
from .verdicts import Group, fail, skip

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["DEFLATE"]

DEFLATE: Final = Group("permessage-deflate")

rule = DEFLATE.rule

_TAIL: Final = b"\x00\x00\xff\xff"
_RSV1: Final = 4
_MESSAGE: Final = b'{"firefly": "glows", "how": "again and again and again and again and again and again"}'


@dataclass(slots=True)
class _Agreed:
    """Both directions of one connection; with a context or without, as the answer says."""

    forgets: bool
    """We keep no context (client_no_context_takeover)."""
    server_forgets: bool
    _deflate: object = field(default=None, init=False)
    _inflate: object = field(default=None, init=False)

    def compress(self, data: bytes) -> bytes:
        """As §7.2.1 has it."""
        if self._deflate is None or self.forgets:
            self._deflate = zlib.compressobj(wbits=-15)
        packed: bytes = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)  # type: ignore[attr-defined]
        return packed.removesuffix(_TAIL)

    def inflate(self, data: bytes) -> bytes:
        """As §7.2.2 has it."""
        if self._inflate is None or self.server_forgets:
            self._inflate = zlib.decompressobj(-15)
        try:
            plain: bytes = self._inflate.decompress(data + _TAIL)  # type: ignore[attr-defined]
        except zlib.error as error:
            fail(f"a compressed message of the server does not inflate: {error}")
        return plain


async def _open(peer: Peer, offer: str = "permessage-deflate") -> _Agreed:
    answer = await peer.open({"Sec-WebSocket-Extensions": offer})
    params = _params(answer)
    return _Agreed("client_no_context_takeover" in params, "server_no_context_takeover" in params)


def _params(answer: Answer) -> dict[str, str]:
    """Of the extension in the answer; skips the rule where there is none."""
    text = answer.headers.get("sec-websocket-extensions", "")
    name, *params = [one.strip() for one in text.split(";")]
    if not name:
        skip("the server does not agree to permessage-deflate")
    if name.lower() != "permessage-deflate" or "," in text:
        fail(f"the server chose {text!r}, which was not offered")
    pairs = [one.partition("=") for one in params]
    return {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}


async def _echoed(peer: Peer, agreed: _Agreed, payload: bytes) -> None:
    """Fails the rule unless the message comes back, compressed or not."""
    try:
        got = await peer.message()
    except TimeoutError:
        fail(f"{shown(payload)} did not come back within {peer.target.timeout:g} s")
    if got is None:
        fail(f"the server closed instead of sending {shown(payload)} back")
    opcode, data, rsv = got
    plain = agreed.inflate(data) if rsv & _RSV1 else data
    if (opcode, plain) != (TEXT, payload):
        fail(f"{shown(plain)} came back, not {shown(payload)}")


@rule("RFC 7692 §7.1", "an offer is answered with parameters that make sense")
async def deflate_answer(peer: Peer) -> None:
    params = _params(await peer.open({"Sec-WebSocket-Extensions": "permessage-deflate"}))
    for name, value in params.items():
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover" if value == "":
                pass
            case "server_max_window_bits" if value.isdigit() and 8 <= int(value) <= 15:
                pass
            case "client_max_window_bits":
                fail("client_max_window_bits was not offered, so the server may not set it (§7.1.2.2)")
            case _:
                fail(f"the answer has {name}{'=' * bool(value)}{value}")


@rule("RFC 7692 §7.1.2.1", "an offer with a parameter out of range is declined")
async def deflate_bad_offer(peer: Peer) -> None:
    answer = await peer.open({"Sec-WebSocket-Extensions": "permessage-deflate; server_max_window_bits=99"})
    if "permessage-deflate" in answer.headers.get("sec-websocket-extensions", ""):
        fail(f"the server agreed: {answer.headers['sec-websocket-extensions']}")


@rule("RFC 7692 §7.2", "a compressed message comes back", echo=True)
async def deflate_echo(peer: Peer) -> None:
    agreed = await _open(peer)
    peer.send(frame(TEXT, agreed.compress(_MESSAGE), rsv=_RSV1))
    await _echoed(peer, agreed, _MESSAGE)


@rule("RFC 7692 §7.1.1", "messages alike come back, in the context that was agreed on", echo=True)
async def deflate_context(peer: Peer) -> None:
    agreed = await _open(peer)
    for number in range(5):
        payload = _MESSAGE + b"%d" % number
        peer.send(frame(TEXT, agreed.compress(payload), rsv=_RSV1))
        await _echoed(peer, agreed, payload)


@rule("RFC 7692 §7.1.1.1", "asked for server_no_context_takeover, the server keeps no context", echo=True)
async def deflate_no_context(peer: Peer) -> None:
    agreed = await _open(peer, "permessage-deflate; server_no_context_takeover")
    if not agreed.server_forgets:
        fail("the server agreed without server_no_context_takeover")
    for _ in range(3):
        peer.send(frame(TEXT, agreed.compress(_MESSAGE), rsv=_RSV1))
        await _echoed(peer, agreed, _MESSAGE)


@rule("RFC 7692 §7.2.1", "a compressed message in fragments comes back", echo=True)
async def deflate_fragments(peer: Peer) -> None:
    agreed = await _open(peer)
    packed = agreed.compress(_MESSAGE)
    peer.send(
        frame(TEXT, packed[:5], fin=False, rsv=_RSV1),
        frame(CONTINUATION, packed[5:20], fin=False),
        frame(CONTINUATION, packed[20:]),
    )
    await _echoed(peer, agreed, _MESSAGE)


@rule("RFC 7692 §6", "a message that is not compressed comes back", echo=True)
async def deflate_plain(peer: Peer) -> None:
    agreed = await _open(peer)
    peer.send(frame(TEXT, _MESSAGE))
    await _echoed(peer, agreed, _MESSAGE)


@rule("RFC 7692 §7.2.3.6", "an empty compressed message comes back", echo=True)
async def deflate_empty(peer: Peer) -> None:
    agreed = await _open(peer)
    peer.send(frame(TEXT, b"\x00", rsv=_RSV1))
    await _echoed(peer, agreed, b"")


@rule("RFC 7692 §6.2", "data that does not inflate: 1007")
async def deflate_broken(peer: Peer) -> None:
    await _open(peer)
    peer.send(frame(TEXT, b"\xff\xff\xff\xff", rsv=_RSV1))
    await peer.refused(1007, 1002)


@rule("RFC 7692 §6.1", "the bit of compression on a continuation or a Ping: 1002")
async def deflate_bit(peer: Peer) -> None:
    agreed = await _open(peer)
    peer.send(frame(TEXT, agreed.compress(_MESSAGE), fin=False, rsv=_RSV1), frame(CONTINUATION, b"\x00", rsv=_RSV1))
    await peer.refused(1002)
    async with type(peer)(peer.target) as other:
        await _open(other)
        other.send(frame(PING, b"x", rsv=_RSV1))
        await other.refused(1002)
