"""Rules for what a server must refuse: frames that no client may send (RFC 6455 §5 to §8)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from .frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_frame, frame
from .verdicts import Finding, Group, Verdict, fail, warn

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["VIOLATIONS"]

VIOLATIONS: Final = Group("What must be refused")

rule = VIOLATIONS.rule

_PROTOCOL_ERROR: Final = 1002
_INVALID: Final = 1007
_TOO_BIG: Final = 1009


async def _refuses(peer: Peer, code: int, *data: bytes) -> None:
    await peer.open()
    peer.send(*data)
    await peer.refused(code)


async def _refuses_each(peer: Peer, code: int, cases: dict[str, bytes]) -> None:
    """Each on a connection of its own; the first that fails, or else the first warning, is what is found."""
    worst: Finding | None = None
    for name, data in cases.items():
        async with type(peer)(peer.target) as other:
            try:
                await _refuses(other, code, data)
            except Finding as finding:
                if worst is None or finding.verdict is Verdict.FAIL:
                    worst = Finding(finding.verdict, f"{name}: {finding.detail}")
        if worst is not None and worst.verdict is Verdict.FAIL:
            break
    if worst is not None:
        raise worst


@rule("RFC 6455 §5.2", "reserved bits, without an extension that uses them: 1002")
async def reserved_bits(peer: Peer) -> None:
    cases = {f"RSV{number}": frame(TEXT, b"x", rsv=bit) for number, bit in ((1, 4), (2, 2), (3, 1))}
    await _refuses_each(peer, _PROTOCOL_ERROR, cases)


@rule("RFC 6455 §5.2", "reserved opcodes: 1002")
async def reserved_opcodes(peer: Peer) -> None:
    await _refuses_each(peer, _PROTOCOL_ERROR, {f"opcode {opcode}": frame(opcode, b"x") for opcode in (3, 7, 11, 15)})


@rule("RFC 6455 §5.1", "a frame that is not masked: 1002")
async def unmasked(peer: Peer) -> None:
    await _refuses(peer, _PROTOCOL_ERROR, frame(TEXT, b"unmasked", mask=False))


@rule("RFC 6455 §5.5", "a control frame of 126 bytes: 1002")
async def long_control(peer: Peer) -> None:
    await _refuses(peer, _PROTOCOL_ERROR, frame(PING, b"x" * 126))


@rule("RFC 6455 §5.5", "a control frame in fragments: 1002")
async def fragmented_control(peer: Peer) -> None:
    await _refuses(peer, _PROTOCOL_ERROR, frame(PING, b"x", fin=False))


@rule("RFC 6455 §5.4", "a continuation of nothing: 1002")
async def continuation_alone(peer: Peer) -> None:
    await _refuses(peer, _PROTOCOL_ERROR, frame(CONTINUATION, b"of nothing"))


@rule("RFC 6455 §5.4", "a new message within one that has not ended: 1002")
async def message_in_message(peer: Peer) -> None:
    await _refuses(peer, _PROTOCOL_ERROR, frame(TEXT, b"one", fin=False), frame(TEXT, b"two"))


@rule("RFC 6455 §5.2", "a length of 64 bits with the highest bit set: 1002")
async def negative_length(peer: Peer) -> None:
    await peer.open()
    peer.send(struct.pack("!BBQ", 0x82, 0xFF, 1 << 63 | 5), b"mask", b"12345")
    await peer.refused(_PROTOCOL_ERROR, _TOO_BIG, ask=False)


@rule("RFC 6455 §10.4", "a frame that announces 2^62 bytes is not waited for: 1009")
async def huge_length(peer: Peer) -> None:
    await peer.open()
    peer.send(struct.pack("!BBQ", 0x82, 0xFF, 1 << 62), b"mask", b"12345")
    try:
        await peer.refused(_TOO_BIG, _PROTOCOL_ERROR, ask=False)
    except Finding as finding:
        warn(finding.detail)


@rule("RFC 6455 §5.2", "a length in more bytes than it needs: 1002")
async def long_length(peer: Peer) -> None:
    try:
        await _refuses_each(
            peer, _PROTOCOL_ERROR, {f"{8 * size} bits for 5": frame(BINARY, b"12345", length=size) for size in (2, 8)}
        )
    except Finding as finding:
        # The minimum binds who sends; whether the other looks, the standard does not say.
        warn(finding.detail)


@rule("RFC 6455 §8.1", "text that is no UTF-8: 1007")
async def invalid_text(peer: Peer) -> None:
    cases = {
        "a wrong byte": b"\xff",
        "an overlong slash": b"\xc0\xaf",
        "a surrogate": b"\xed\xa0\x80",
        "a character above U+10FFFF": b"\xf4\x90\x80\x80",
        "an unfinished character": b"x\xe2\x82",
    }
    await _refuses_each(peer, _INVALID, {name: frame(TEXT, payload) for name, payload in cases.items()})


@rule("RFC 6455 §8.1", "a wrong byte in a fragment, at once or at the message's end: 1007")
async def invalid_fragment(peer: Peer) -> None:
    await peer.open()
    peer.send(frame(TEXT, b"wrong: \xff", fin=False))
    try:
        await peer.refused(_INVALID)
    except Finding as finding:
        if finding.verdict is not Verdict.FAIL:
            raise
        peer.send(frame(CONTINUATION, b"end"))
        await peer.refused(_INVALID)


@rule("RFC 6455 §8.1", "each fragment UTF-8, the message not: 1007")
async def invalid_across_fragments(peer: Peer) -> None:
    await _refuses(peer, _INVALID, frame(TEXT, b"\xe2", fin=False), frame(CONTINUATION, b"x"))


@rule("RFC 6455 §7.4.1", "close codes that may not be sent: 1002")
async def close_codes(peer: Peer) -> None:
    codes = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)
    await _refuses_each(peer, _PROTOCOL_ERROR, {f"{code}": close_frame(code) for code in codes})


@rule("RFC 6455 §5.5.1", "a Close of one byte: 1002")
async def close_of_one_byte(peer: Peer) -> None:
    await _refuses(peer, _PROTOCOL_ERROR, frame(CLOSE, b"\x03"))


@rule("RFC 6455 §8.1", "a Close whose reason is no UTF-8: 1007")
async def close_reason(peer: Peer) -> None:
    await peer.open()
    peer.send(close_frame(1000, b"\xff"))
    await peer.refused(_INVALID, _PROTOCOL_ERROR)


@rule("RFC 6455 §7.1.7", "behind a violation nothing is taken any more", echo=True)
async def behind_a_violation(peer: Peer) -> None:
    await peer.open()
    peer.send(frame(3, b"reserved"), frame(TEXT, b"late"))
    try:
        while (found := await peer.frame()) is not None and found.opcode != CLOSE:
            if found.opcode == TEXT and found.payload == b"late":
                fail("a message behind the violation was echoed")
    except TimeoutError:
        fail("the server did not close")
