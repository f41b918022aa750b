"""Limits on what a peer may send: the code it gets, and an error that says which limit, its value, and its option."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from judge import BINARY, CONT, KEY, TEXT, frame
from peers import binary, eventually, text

from firefly_ws import FrameTooBig, InvalidPayload, MessageTooBig, ProtocolError

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


def deflated(data: bytes) -> bytes:
    """A compressed payload."""
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Case:
    """What one limit makes of a stream."""

    def __init__(
        self,
        configure: Callable[[Any], Any],
        stream: bytes,
        kind: type[Exception],
        option: str,
        limit: int,
        headers: str = "",
    ) -> None:
        self.configure, self.stream, self.kind = configure, stream, kind
        self.option, self.limit, self.headers = option, limit, headers


CASES = {
    "a whole message": Case(lambda r: r.max_message_size(100), text("x" * 101), MessageTooBig, "max_message_size", 100),
    "a text message": Case(
        lambda r: r.max_text_message_size(100), text("x" * 101), MessageTooBig, "max_text_message_size", 100
    ),
    "a binary message": Case(
        lambda r: r.max_binary_message_size(100).max_text_message_size(1000),
        binary(bytes(101)),
        MessageTooBig,
        "max_binary_message_size",
        100,
    ),
    "a declared length, before its bytes have come": Case(
        lambda r: r.max_message_size(1000),
        frame(BINARY, b"", mask=KEY, declared=2**40, length_form=64),
        MessageTooBig,
        "max_message_size",
        1000,
    ),
    "the sum of fragments": Case(
        lambda r: r.max_message_size(100),
        text("x" * 60, fin=False) + frame(CONT, b"x" * 60, mask=KEY, fin=False),
        MessageTooBig,
        "max_message_size",
        100,
    ),
    "a frame": Case(lambda r: r.max_frame_size(100), binary(bytes(101)), FrameTooBig, "max_frame_size", 100),
    "what comes out of inflating": Case(
        lambda r: r.max_message_size(10_000),
        frame(TEXT, deflated(b"x" * 10_001), mask=KEY, rsv=4),
        MessageTooBig,
        "max_message_size",
        10_000,
        DEFLATE,
    ),
    "the default": Case(
        lambda r: r,
        frame(BINARY, b"", mask=KEY, declared=1024 * 1024 + 1, length_form=64),
        MessageTooBig,
        "max_message_size",
        1024 * 1024,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_limit_ends_with_1009_and_says_which_its_value_what_came_and_its_option(  # F9
    net: Any, name: str
) -> None:
    case = CASES[name]
    told: list[Any] = []
    got: list[object] = []
    route = case.configure(net.route()).on_message(lambda one, conn: got.append(one))
    peer = await net.serve(route.on_error(lambda conn, error: told.append(error)), headers=case.headers)
    peer.write(text("before"), case.stream)
    closing = await peer.closed()
    assert closing.code == 1009
    assert case.option in closing.reason
    await eventually(lambda: told)
    (error,) = told
    assert type(error) is case.kind
    assert (error.limit, error.option) == (case.limit, case.option)
    assert error.size > error.limit
    assert f"{case.option}={case.limit}" in str(error)
    assert f".{case.option}(" in str(error)
    assert len(got) == 1


async def test_what_just_fits_is_delivered(net: Any) -> None:
    got: list[int] = []
    route = net.route().max_message_size(100).max_frame_size(60).on_message(lambda one, conn: got.append(len(one)))
    peer = await net.serve(route, headers=DEFLATE)
    peer.write(
        text("x" * 60),
        text("x" * 50, fin=False),
        frame(CONT, b"x" * 50, mask=KEY),
        frame(TEXT, deflated(b"x" * 100), mask=KEY, rsv=4),
        binary(),
    )
    await eventually(lambda: got == [60, 100, 100, 0])


async def test_too_many_fragments_end_with_1009_and_name_their_limit(plain: Any) -> None:  # F9
    told: list[Any] = []
    peer = await plain.serve(plain.route().max_fragments(3).discard().on_error(lambda conn, error: told.append(error)))
    peer.write(text("a", fin=False), *[frame(CONT, b"b", mask=KEY, fin=False)] * 3)
    assert (await peer.closed()).code == 1009
    await eventually(lambda: told)
    assert isinstance(told[0], ProtocolError)
    assert "max_fragments=3" in str(told[0])


async def test_none_switches_a_limit_off(plain: Any) -> None:  # F9
    got: list[int] = []
    route = plain.route().max_message_size(None).max_fragments(None).on_binary(lambda data, conn: got.append(len(data)))
    peer = await plain.serve(route)
    peer.write(binary(bytes(3 * 1024 * 1024)))
    await eventually(lambda: got == [3 * 1024 * 1024])


@pytest.mark.parametrize(
    ("stream", "code", "kind"),
    {
        "reserved opcode": (frame(3, b"", mask=KEY), 1002, ProtocolError),
        "reserved bit": (frame(TEXT, b"", mask=KEY, rsv=2), 1002, ProtocolError),
        "unmasked": (frame(TEXT, b"a"), 1002, ProtocolError),
        "continuation of nothing": (frame(CONT, b"", mask=KEY), 1002, ProtocolError),
        "fragmented ping": (frame(9, b"", mask=KEY, fin=False), 1002, ProtocolError),
        "long ping": (frame(9, bytes(126), mask=KEY), 1002, ProtocolError),
        "close code": (frame(8, b"\x03\xed", mask=KEY), 1002, ProtocolError),
        "half a close code": (frame(8, b"\x03", mask=KEY), 1002, ProtocolError),
        "length not minimal": (frame(TEXT, b"a", mask=KEY, length_form=16), 1002, ProtocolError),
        "bad utf-8": (text(b"\xff"), 1007, InvalidPayload),
        "bad utf-8 in an unfinished frame": (frame(TEXT, b"a\xff", mask=KEY, declared=60), 1007, InvalidPayload),
        "bad utf-8 in an unfinished message": (text(b"\xc0", fin=False), 1007, InvalidPayload),
        "bad utf-8 in a reason": (frame(8, b"\x03\xe8\xff", mask=KEY), 1007, InvalidPayload),
        "corrupt deflate": (frame(TEXT, b"\xff\xff\xff", mask=KEY, rsv=4), 1007, InvalidPayload),
    }.values(),
    ids=lambda one: None,
)
async def test_the_peers_fault_gives_a_close_with_its_code_and_then_the_end_of_tcp(
    plain: Any, stream: bytes, code: int, kind: type[Exception]
) -> None:
    told: list[Any] = []
    route = plain.route().discard().on_error(lambda conn, error: told.append(error))
    peer = await plain.serve(route, headers=DEFLATE)
    peer.write(stream)
    assert (await peer.closed()).code == code
    await eventually(lambda: told)
    assert type(told[0]) is kind


async def test_a_server_that_masks_is_told_1002_by_the_client(net: Any) -> None:
    server = await net.raw_server()
    connection = await net.connect(server, lambda b: b.discard())
    peer = await server.peer()
    peer.write(text("a"))
    assert (await peer.frame()).code == 1002
    await peer.end()
    assert (await connection.wait_closed()).code == 1006
    assert isinstance(connection.error, ProtocolError)
