"""Plain callbacks: which one is called, with what, and what becomes of the value it returns."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator
from typing import Any

import pytest
from judge import CLOSE, PONG, TEXT, frame
from peers import KEY, Peer, binary, close, eventually, ping, pong, text

from firefly_ws import DONE, BinaryFrame, CloseFrame, CloseReason, PingFrame, PongFrame, TextFrame


async def test_a_plain_callback_is_called_straight_without_a_task(net: Any) -> None:
    tasks = []
    peer = await net.serve(net.route().on_text(lambda data, conn: tasks.append(asyncio.current_task())))
    peer.write(text("a"), text("b"))
    await eventually(lambda: len(tasks) == 2)
    assert tasks == [None, None]


async def test_on_text_and_on_binary_take_their_type_and_on_message_what_is_left(net: Any) -> None:
    got: list[object] = []
    route = net.route().on_text(lambda data, conn: got.append(data)).on_message(lambda one, conn: got.append(one))
    peer = await net.serve(route)
    peer.write(text("a"), binary(b"b"))
    await eventually(lambda: len(got) == 2)
    assert got == ["a", BinaryFrame(b"b")]


async def test_on_message_gets_text_where_only_on_binary_is_set(plain: Any) -> None:
    got: list[object] = []
    route = plain.route().on_binary(lambda data, conn: got.append(data)).on_message(lambda one, conn: got.append(one))
    peer = await plain.serve(route)
    peer.write(text("a"), binary(b"b"), text(""), binary())
    await eventually(lambda: len(got) == 4)
    assert got == [TextFrame("a"), b"b", TextFrame(""), b""]


async def test_a_message_of_a_type_that_no_callback_takes_is_dropped_and_the_next_one_comes(plain: Any) -> None:
    got: list[object] = []
    peer = await plain.serve(plain.route().on_text(lambda data, conn: got.append(data)))
    peer.write(binary(b"x"), text("a"), binary(b"y"), text("b"))
    await eventually(lambda: len(got) == 2)
    assert got == ["a", "b"]


async def test_on_message_gets_whole_messages_and_on_frame_every_frame_as_on_the_wire(net: Any) -> None:  # F3, S7
    messages: list[object] = []
    frames: list[object] = []
    route = (
        net.route().on_message(lambda one, conn: messages.append(one)).on_frame(lambda one, conn: frames.append(one))
    )
    peer = await net.serve(route)
    peer.write(text("ab", fin=False), ping(b"p"), frame(0, b"cd", mask=KEY), pong(b"q"), close(3000, "bye"))
    await peer.rest()
    assert messages == [TextFrame("abcd")]
    assert frames[0] == TextFrame("ab", fin=False)
    assert [type(one).__name__ for one in frames] == [
        "TextFrame",
        "PingFrame",
        "ContinuationFrame",
        "PongFrame",
        "CloseFrame",
    ]
    assert frames[1:2] + frames[3:] == [PingFrame(b"p"), PongFrame(b"q"), CloseFrame(3000, "bye")]


async def test_a_frame_that_arrives_in_pieces_is_shown_to_on_frame_once_and_whole(plain: Any) -> None:  # S7
    frames: list[Any] = []
    peer = await plain.serve(plain.route().on_frame(lambda one, conn: frames.append(one)).discard())
    whole = binary(bytes(200_000))
    for start in range(0, len(whole), 50_000):
        peer.write(whole[start : start + 50_000])
        await asyncio.sleep(0.01)
    await eventually(lambda: frames)
    assert frames == [BinaryFrame(bytes(200_000))]


async def test_on_ping_and_on_pong_get_the_payload_and_the_ping_is_answered_all_the_same(net: Any) -> None:  # C5
    got: list[object] = []
    route = net.route().discard().on_ping(lambda data, conn: got.append(("ping", data)))
    peer = await net.serve(route.on_pong(lambda data, conn: got.append(("pong", data))))
    peer.write(ping(b"1"), pong(b"2"))
    assert await peer.frame() == (PONG, b"1")
    await eventually(lambda: len(got) == 2)
    assert got == [("ping", b"1"), ("pong", b"2")]


async def test_the_clients_callbacks_are_the_same_as_the_servers(net: Any) -> None:  # F4
    got: list[object] = []
    server = await net.raw_server()
    connection = await net.connect(
        server,
        lambda b: (
            b.on_accept(lambda conn: got.append("accept"))
            .on_text(lambda data, conn: got.append(data))
            .on_ping(lambda data, conn: got.append(data))
            .on_close(lambda conn, reason: got.append(reason))
        ),
    )
    peer = await server.peer()
    peer.write(text("a", None), ping(b"p", None), close(1001, "over", None))
    assert await peer.frame() == (PONG, b"p")
    assert (await peer.frame()).opcode == CLOSE
    await peer.end()
    assert await connection.wait_closed() == CloseReason(1001, "over")
    await eventually(lambda: len(got) == 4)
    assert got == ["accept", "a", b"p", CloseReason(1001, "over")]


class Odd:
    """Something that can be awaited, and is neither a coroutine nor a future."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future

    def __await__(self) -> Generator[Any, None, None]:
        return self.future.__await__()


def _coroutine(future: asyncio.Future[None]) -> object:
    async def wait() -> None:
        await future

    return wait()


def _concurrent(future: asyncio.Future[None]) -> object:
    thread: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.add_done_callback(lambda _: thread.set_result(None))
    return thread


async def _until(future: asyncio.Future[None]) -> None:
    await future


AWAITABLES: dict[str, Callable[[asyncio.Future[None]], object]] = {
    "coroutine": _coroutine,
    "future": lambda future: future,
    "task": lambda future: asyncio.ensure_future(_until(future)),
    "concurrent future": _concurrent,
    "other awaitable": Odd,
}


@pytest.mark.parametrize("kind", AWAITABLES)
async def test_what_a_plain_callback_returns_is_awaited_before_the_next_message(plain: Any, kind: str) -> None:
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    got: list[str] = []

    def on_text(data: str, conn: Any) -> object:
        got.append(data)
        return AWAITABLES[kind](gate) if data == "a" else None

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    await eventually(lambda: got)
    await asyncio.sleep(0.03)
    assert got == ["a"]
    gate.set_result(None)
    await eventually(lambda: got == ["a", "b"])


@pytest.mark.parametrize("kind", AWAITABLES)
async def test_an_error_in_what_a_callback_returned_ends_the_connection_as_if_it_had_raised(
    plain: Any, kind: str, errors: Any
) -> None:
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    told: list[object] = []

    def returned() -> object:
        if kind == "concurrent future":
            thread: concurrent.futures.Future[None] = concurrent.futures.Future()
            gate.add_done_callback(lambda done: thread.set_exception(done.exception()))
            return thread
        return AWAITABLES[kind](gate)

    route = plain.route().on_text(lambda data, conn: returned()).on_error(lambda conn, error: told.append(error))
    peer = await plain.serve(route)
    peer.write(text("a"), text("b"))
    await asyncio.sleep(0.02)
    gate.set_exception(KeyError("secret"))
    assert (await peer.closed()).payload == b"\x03\xf3"
    await eventually(lambda: told)
    assert repr(told) == "[KeyError('secret')]"
    assert len(errors()) == 1


def _finished() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


VALUES: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "DONE": lambda: DONE,
    "a number": lambda: 7,
    "a list": lambda: [1],
    "an exception": lambda: ValueError("no error, a value"),
    "a class": lambda: asyncio.Future,
    "a finished future": _finished,
}


@pytest.mark.parametrize("kind", VALUES)
async def test_every_other_value_is_ignored_so_that_lambdas_work(plain: Any, kind: str, errors: Any) -> None:  # F3
    got: list[str] = []

    def on_text(data: str, conn: Any) -> object:
        got.append(data)
        return VALUES[kind]()

    route = (
        plain.route().on_accept(lambda conn: VALUES[kind]()).on_text(on_text).on_ping(lambda data, conn: VALUES[kind]())
    )
    peer = await plain.serve(route.on_close(lambda conn, reason: VALUES[kind]()))
    peer.write(text("a"), ping(), text("b"), close())
    await peer.rest()
    await eventually(lambda: got == ["a", "b"])
    assert not errors()


async def test_a_callback_may_return_what_send_ping_and_close_give(net: Any) -> None:
    async def pinged(peer: Peer) -> None:
        one = await peer.frame()
        assert one is not None
        peer.write(pong(one.payload))

    answers: dict[str, Callable[[Any], object]] = {
        "send": lambda conn: conn.send("sent"),
        "ping": lambda conn: conn.ping(b"p"),
        "close": lambda conn: conn.close(),
    }
    peer = await net.serve(net.route().on_text(lambda data, conn: answers[data](conn)))
    peer.write(text("send"), text("ping"), text("send"), text("close"), text("send"))
    assert await peer.texts(1) == ["sent"]
    await pinged(peer)
    assert await peer.texts(1) == ["sent"]
    assert [one.opcode for one in await peer.rest_until_close()] == [CLOSE]


async def test_discard_reads_messages_and_drops_them_and_answers_control_frames(net: Any) -> None:
    server = await net.listen(net.route().discard())
    peer = await net.peer(server)
    peer.write(*[text("a")] * 1000, ping(b"p"))
    assert await peer.frame() == (PONG, b"p")
    (connection,) = server.connections
    assert connection.messages_received == 1000


async def test_a_route_with_on_accept_alone_reads_and_discards(plain: Any) -> None:  # F4
    peer = await plain.serve(plain.route().on_accept(lambda conn: conn.send("hello")))
    peer.write(*[text("a")] * 1000, ping(b"p"))
    assert await peer.texts(1) == ["hello"]
    assert await peer.frame() == (PONG, b"p")


async def test_bytes_that_came_with_the_handshake_are_delivered_behind_on_accept(net: Any) -> None:
    got: list[object] = []
    route = net.route().on_accept(lambda conn: got.append("accept")).on_text(lambda data, conn: got.append(data))
    await net.serve(route, behind=text("a") + text("b")[:3])
    await eventually(lambda: len(got) == 2)
    assert got == ["accept", "a"]


async def test_frames_behind_the_servers_answer_reach_the_clients_callbacks(net: Any) -> None:
    got: list[str] = []
    server = await net.raw_server(behind=text("a", None) + text("b", None))
    await net.connect(server, lambda b: b.on_text(lambda data, conn: got.append(data)))
    await eventually(lambda: got == ["a", "b"])


async def test_one_byte_at_a_time_gives_the_same_messages(plain: Any) -> None:
    got: list[object] = []
    peer = await plain.serve(plain.route().on_message(lambda one, conn: got.append(one.payload)))
    for byte in text("ä€𝄞") + binary(bytes(300)) + ping(b"p"):
        peer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert await peer.frame() == (PONG, b"p")
    assert got == ["ä€𝄞".encode(), bytes(300)]


def test_text_frames_have_their_text_by_both_names() -> None:  # F3
    assert TextFrame("a").payload_as_utf8 == TextFrame("a").text == "a"
    assert TextFrame("a").opcode == TEXT
