"""Rules of messages, control frames and the closing handshake, for a client that keeps them (RFC 6455 §5 to §7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame
from .peer import shown
from .verdicts import Group, fail, warn

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["CLOSING", "CONTROL", "MESSAGES"]

MESSAGES: Final = Group("Messages")
CONTROL: Final = Group("Control frames")
CLOSING: Final = Group("Closing")

_WORDS: Final = "Hällo, 世界 😀".encode()


async def _echo(peer: Peer, opcode: int, *payloads: bytes) -> None:
    await peer.open()
    for payload in payloads:
        peer.send(frame(opcode, payload))
        await peer.echoed(opcode, payload)


@MESSAGES.rule("RFC 6455 §5.6", "text comes back", echo=True)
async def text(peer: Peer) -> None:
    await _echo(peer, TEXT, b"Hello", _WORDS)


@MESSAGES.rule("RFC 6455 §5.6", "binary comes back, each byte as it was", echo=True)
async def binary(peer: Peer) -> None:
    await _echo(peer, BINARY, bytes(range(256)))


@MESSAGES.rule("RFC 6455 §5.6", "empty messages come back", echo=True)
async def empty(peer: Peer) -> None:
    await _echo(peer, TEXT, b"")
    peer.send(frame(BINARY))
    await peer.echoed(BINARY, b"")


@MESSAGES.rule("RFC 6455 §5.2", "125 bytes, the most of a short length", echo=True)
async def length_125(peer: Peer) -> None:
    await _echo(peer, BINARY, b"*" * 125)


@MESSAGES.rule("RFC 6455 §5.2", "126 and 127 bytes, the first of 16 bits", echo=True)
async def length_126(peer: Peer) -> None:
    await _echo(peer, BINARY, b"*" * 126, b"*" * 127)


@MESSAGES.rule("RFC 6455 §5.2", "65535 bytes, the last of 16 bits", echo=True)
async def length_65535(peer: Peer) -> None:
    await _echo(peer, BINARY, b"*" * 65535)


@MESSAGES.rule("RFC 6455 §5.2", "65536 bytes, the first of 64 bits", echo=True)
async def length_65536(peer: Peer) -> None:
    await _echo(peer, BINARY, b"*" * 65536)


@MESSAGES.rule("RFC 6455 §5.2", "a frame that comes byte by byte is the same frame", echo=True)
async def byte_by_byte(peer: Peer) -> None:
    await peer.open()
    for byte in frame(TEXT, _WORDS):
        peer.send(bytes([byte]))
        await asyncio.sleep(0.0005)
    await peer.echoed(TEXT, _WORDS)


@MESSAGES.rule("RFC 6455 §5.4", "a hundred messages at once come back in order", echo=True)
async def hundred(peer: Peer) -> None:
    await peer.open()
    peer.send(*(frame(TEXT, b"%d" % number) for number in range(100)))
    for number in range(100):
        await peer.echoed(TEXT, b"%d" % number)


@MESSAGES.rule("RFC 6455 §5.4", "fragments, empty ones too, are one message", echo=True)
async def fragments(peer: Peer) -> None:
    await peer.open()
    parts = (b"", b"one ", b"", b"two ", b"three", b"")
    peer.send(*_cut(TEXT, *parts))
    await peer.echoed(TEXT, b"".join(parts))


@MESSAGES.rule("RFC 6455 §5.6", "a character may be cut between two fragments", echo=True)
async def cut_character(peer: Peer) -> None:
    await peer.open()
    peer.send(*_cut(TEXT, *(bytes([byte]) for byte in _WORDS)))
    await peer.echoed(TEXT, _WORDS)


def _cut(opcode: int, *parts: bytes) -> list[bytes]:
    last = len(parts) - 1
    return [frame(CONTINUATION if i else opcode, part, fin=i == last) for i, part in enumerate(parts)]


@CONTROL.rule("RFC 6455 §5.5.2", "a Ping is answered with what it had")
async def ping(peer: Peer) -> None:
    await peer.open()
    for payload in (b"firefly", b"", bytes(range(125))):
        peer.send(frame(PING, payload))
        await peer.pong(payload)


@CONTROL.rule("RFC 6455 §5.5.2", "of several Pings at once the last is answered, the others may be")
async def pings(peer: Peer) -> None:
    await peer.open()
    peer.send(*(frame(PING, b"%d" % number) for number in range(10)))
    last = -1
    while last != 9:
        try:
            found = await peer.frame()
        except TimeoutError:
            fail("the last Ping was not answered")
        if found is None or found.opcode == CLOSE:
            fail("the server closed")
        if found.opcode == PONG:
            if not found.payload.isdigit() or int(found.payload) <= last:
                fail(f"a Pong has {shown(found.payload)} after one with {last}")
            last = int(found.payload)


@CONTROL.rule("RFC 6455 §5.4", "a Ping between two fragments is answered before the message ends")
async def ping_between_fragments(peer: Peer) -> None:
    await peer.open()
    peer.send(frame(TEXT, b"one ", fin=False), frame(PING, b"between"))
    await peer.pong(b"between")
    peer.send(frame(CONTINUATION, b"two"))
    await peer.alive()


@CONTROL.rule("RFC 6455 §5.4", "a message with a Ping in its middle is whole", echo=True)
async def message_around_a_ping(peer: Peer) -> None:
    await peer.open()
    peer.send(frame(TEXT, b"one ", fin=False), frame(PING, b"between"), frame(CONTINUATION, b"two"))
    await peer.echoed(TEXT, b"one two")


@CONTROL.rule("RFC 6455 §5.5.3", "a Pong that nobody asked for is let pass")
async def lonely_pong(peer: Peer) -> None:
    await peer.open()
    peer.send(frame(PONG, b"unasked"))
    await peer.alive()


async def _close(peer: Peer, payload: bytes) -> bytes:
    await peer.open()
    peer.send(frame(CLOSE, payload))
    return (await peer.closed()).payload


@CLOSING.rule("RFC 6455 §5.5.1", "a Close with 1000 is answered with the same code")
async def close_1000(peer: Peer) -> None:
    answer = await _close(peer, b"\x03\xe8")
    if answer[:2] != b"\x03\xe8":
        text = "without a code" if len(answer) < 2 else f"with {int.from_bytes(answer[:2])}"
        warn(f"answered {text}, which is allowed; most echo the code")


@CLOSING.rule("RFC 6455 §5.5.1", "a Close without a code is answered")
async def close_without_code(peer: Peer) -> None:
    await _close(peer, b"")


@CLOSING.rule("RFC 6455 §7.4.2", "3000 and 4999 are codes, and a reason is text")
async def close_of_applications(peer: Peer) -> None:
    for code in (3000, 4999):
        async with type(peer)(peer.target) as other:
            answer = await _close(other, code.to_bytes(2) + _WORDS)
            if answer[:2] == b"\x03\xea":
                fail(f"{code} was answered as a violation, with 1002")


@CLOSING.rule("RFC 6455 §7.1.1", "behind the Closes the server ends TCP")
async def end_of_tcp(peer: Peer) -> None:
    await _close(peer, b"\x03\xe8")
    await peer.ended()


@CLOSING.rule("RFC 6455 §5.5.1", "what comes behind a Close is ignored")
async def behind_close(peer: Peer) -> None:
    await peer.open()
    peer.send(close_frame(1000), frame(PING, b"late"))
    try:
        while (found := await peer.frame()) is not None:
            if found.opcode == PONG:
                fail("a Ping behind the Close was answered")
    except TimeoutError:
        fail("the server left TCP open")


@CLOSING.rule("RFC 6455 §5.4", "a Close between two fragments is answered")
async def close_between_fragments(peer: Peer) -> None:
    await peer.open()
    peer.send(frame(TEXT, b"unfinished", fin=False), close_frame(1000))
    await peer.closed()
