"""How a connection ends: the closing handshake from both sides, its codes, its time limits, and its short cuts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from judge import CLOSE, PONG, TEXT, frame
from peers import KEY, Frame, close, eventually, ping, pong, text

from firefly_ws import CloseCode, CloseFrame, CloseReason, ConnectionClosedError, ConnectionClosedOK, ConnectionState


async def opened(net: Any, route: Any) -> tuple[Any, Any]:
    """A server's connection and its peer."""
    server = await net.listen(route)
    peer = await net.peer(server)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def test_close_sends_close_waits_for_the_peers_and_resolves_to_its_reason(net: Any) -> None:  # F5, S4
    connection, peer = await opened(net, net.route().discard())
    ending = connection.close(3000, "why")
    assert connection.state is ConnectionState.CLOSING
    assert connection.close_sent == CloseReason(3000, "why")
    assert connection.close_received is None
    assert connection.close_reason is None
    assert await peer.frame() == Frame(CLOSE, b"\x0b\xb8why")
    assert await peer.silent(), "TCP stays until the peer's Close has come"
    peer.write(close(3001, "mine"))
    assert await peer.frame() is None
    assert await ending == CloseReason(3001, "mine")
    assert connection.close_received == connection.close_reason == CloseReason(3001, "mine")
    assert connection.close_sent == CloseReason(3000, "why")
    assert connection.state is ConnectionState.CLOSED


async def test_close_is_idempotent_and_everybody_gets_the_same_reason(net: Any) -> None:  # F5, S4
    connection, peer = await opened(net, net.route().discard())
    waits = [connection.close(), connection.close(1001, "again"), connection.close_async(), connection.wait_closed()]
    assert (await peer.closed()).code == 1000
    assert {await wait for wait in waits} == {CloseReason(1000, "")}
    assert await connection.close() == CloseReason(1000, "")
    assert await connection.wait_closed() == CloseReason(1000, "")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1014, 3000, 3999, 4000, 4999])
async def test_a_received_code_is_echoed(plain: Any, code: int) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    peer.write(close(code, "because"))
    assert await peer.frame() == Frame(CLOSE, code.to_bytes(2, "big") + b"because")
    assert await peer.frame() is None
    assert await connection.wait_closed() == CloseReason(code, "because")
    assert connection.close_sent == connection.close_received == CloseReason(code, "because")


async def test_an_empty_close_is_1005_and_answered_with_an_empty_one(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    peer.write(close(None))
    assert await peer.frame() == Frame(CLOSE, b"")
    assert await peer.frame() is None
    assert await connection.wait_closed() == CloseReason(1005, "")
    assert connection.close_received == CloseReason(1005, "")


@pytest.mark.parametrize("how", ["eof", "reset"])
async def test_no_close_from_the_peer_is_1006(net: Any, how: str) -> None:
    connection, peer = await opened(net, net.route().discard())
    if how == "eof" and not net.secure:
        peer.writer.write_eof()
    else:
        peer.abort()
    reason = await connection.wait_closed()
    assert reason.code == CloseCode.ABNORMAL_CLOSURE
    assert reason.message
    assert connection.close_received is None


async def test_no_answer_to_our_close_is_1006_behind_close_timeout(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard().close_timeout(0.1))
    begin = asyncio.get_running_loop().time()
    assert (await connection.close(3000)).code == 1006
    assert 0.08 < asyncio.get_running_loop().time() - begin < 1
    assert connection.close_sent == CloseReason(3000, "")
    assert connection.close_received is None
    peer.abort()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, 65536])
async def test_a_code_that_may_not_be_sent_raises_at_once_and_changes_nothing(plain: Any, code: int) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    for call in (connection.close, connection.drop):
        with pytest.raises(ValueError, match=f"{code}"):
            call(code)
        # The words of one of the two would be lost.
        with pytest.raises(TypeError, match=r"takes a code and a reason, or a CloseReason of both"):
            call(CloseReason(3000, "one"), "other")
    assert connection.is_open
    peer.write(ping(b"p"))
    assert await peer.frame() == Frame(PONG, b"p")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1010, 1014, 3000, 4999, CloseCode.GOING_AWAY])
async def test_every_other_code_may_be_sent(plain: Any, code: int) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    connection.close(CloseReason(code, "words"))
    assert await peer.closed() == Frame(CLOSE, int(code).to_bytes(2, "big") + b"words")


async def test_a_reason_has_at_most_123_bytes_of_utf8(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    with pytest.raises(ValueError, match="124"):
        connection.close(1000, "ä" * 62)
    with pytest.raises(TypeError):
        connection.close("1000")
    with pytest.raises(TypeError):
        connection.close(1000, b"bytes")
    assert connection.is_open
    connection.close(1000, "ä" * 61 + "a")
    assert (await peer.closed()).reason == "ä" * 61 + "a"


async def test_the_server_ends_tcp_first_and_the_client_waits_for_it(net: Any) -> None:
    server = await net.raw_server()
    connection = await net.connect(server, lambda b: b.discard())
    peer = await server.peer()
    ending = connection.close()
    assert (await peer.frame()).opcode == CLOSE
    peer.write(close(1000, "", None))
    assert await peer.silent(), "the client waits for the server to end TCP"
    assert not connection.is_closed
    await peer.end()
    assert await ending == CloseReason(1000, "")


async def test_a_client_does_not_wait_longer_than_close_timeout_for_the_server_to_end_tcp(net: Any) -> None:
    server = await net.raw_server()
    connection = await net.connect(server, lambda b: b.discard().close_timeout(0.1))
    peer = await server.peer()
    peer.write(close(1001, "", None))
    assert (await peer.frame()).code == 1001
    assert await connection.wait_closed() == CloseReason(1001, "")


async def test_both_ends_of_the_library_close_each_other_cleanly_from_either_side(net: Any) -> None:
    server = await net.listen(net.route().discard())
    for side in ("client", "server", "both"):
        client = await net.connect(server, lambda b: b.discard())
        await eventually(lambda: any(one.is_open for one in server.connections))
        (connection,) = (one for one in server.connections if one.is_open)
        if side in ("client", "both"):
            client.close(3000, "client")
        if side in ("server", "both"):
            connection.close(3001, "server")
        reasons = await client.wait_closed(), await connection.wait_closed()
        assert (
            reasons
            == {
                "client": (CloseReason(3000, "client"), CloseReason(3000, "client")),
                "server": (CloseReason(3001, "server"), CloseReason(3001, "server")),
                "both": (CloseReason(3001, "server"), CloseReason(3000, "client")),
            }[side]
        )


async def test_behind_our_close_data_is_counted_and_discarded_and_pings_are_not_answered(net: Any) -> None:
    got: list[str] = []
    connection, peer = await opened(net, net.route().on_text(lambda data, conn: got.append(data)))
    connection.close()
    peer.write(*[text("x" * 100)] * 50, ping(b"p"), pong(b"q"))
    assert (await peer.frame()).opcode == CLOSE
    await asyncio.sleep(0.02)
    assert connection.stats["bytes_discarded"] == 5000
    peer.write(close())
    assert await peer.frame() is None
    assert await connection.wait_closed() == CloseReason(1000, "")
    assert got == []


async def test_once_close_is_sent_reading_is_never_paused(net: Any) -> None:
    connection, peer = await opened(net, net.route().on_text(lambda data, conn: conn.pause_reading()))
    peer.write(text("a"))
    await asyncio.sleep(0.02)
    ending = connection.close()
    connection.pause_reading()
    peer.write(*[text("x" * 60_000, bytes(4))] * 40, close(3000))
    assert (await ending).code == 3000


async def test_what_comes_behind_the_peers_close_is_ignored(net: Any) -> None:
    got: list[str] = []
    connection, peer = await opened(net, net.route().on_text(lambda data, conn: got.append(data)))
    peer.write(text("a"), close(3000), text("b"), frame(3, b"", mask=KEY), close(3001))
    assert [one.code for one in await peer.rest()] == [3000]
    assert (await connection.wait_closed()).code == 3000
    assert got == ["a"]


async def test_a_violation_behind_our_close_ends_tcp_without_a_second_close(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    connection.close(3000)
    peer.write(frame(3, b"", mask=KEY))
    assert [one.code for one in await peer.rest()] == [3000]
    assert (await connection.wait_closed()).code == 1006


async def test_a_send_behind_close_raises_and_says_how_the_connection_ended(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    connection.close(1000, "bye")
    for call in (connection.send, connection.send_text, connection.ping, connection.pong):
        with pytest.raises(ConnectionClosedOK, match="bye"):
            call("late")
    await peer.closed()
    await connection.wait_closed()
    with pytest.raises(ConnectionClosedOK) as caught:
        connection.send_data(b"late")
    assert caught.value.code == 1000
    assert caught.value.sent == caught.value.received == CloseReason(1000, "bye")


async def test_a_send_behind_an_end_without_a_close_raises_the_error(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    peer.abort()
    await connection.wait_closed()
    with pytest.raises(ConnectionClosedError) as caught:
        connection.send("late")
    assert caught.value.code == 1006


async def test_terminate_ends_tcp_at_once_with_1006(net: Any) -> None:  # S4
    connection, peer = await opened(net, net.route().discard())
    connection.terminate()
    connection.terminate()
    assert await peer.rest() == []
    reason = await connection.wait_closed()
    assert reason.code == 1006
    assert "terminated" in reason.message
    connection.terminate()


async def test_drop_sends_close_and_ends_tcp_without_waiting(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    connection.send("last")
    connection.drop(CloseReason(1008, "go away"))
    assert await peer.rest() == [Frame(TEXT, b"last"), Frame(CLOSE, b"\x03\xf0go away")]
    assert (await connection.wait_closed()).code == 1006
    assert connection.close_sent == CloseReason(1008, "go away")


async def test_drop_behind_close_sends_no_second_close(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())
    connection.close(3000)
    connection.drop(3001)
    assert [one.code for one in await peer.rest()] == [3000]
    await connection.wait_closed()


@pytest.mark.parametrize("where", ["on_text", "on_accept", "on_ping"])
async def test_awaiting_close_in_a_callback_does_not_wait_for_that_callback(net: Any, where: str) -> None:
    reasons: list[object] = []

    async def callback(*arguments: Any) -> None:
        conn = arguments[-1]
        reasons.append(await conn.close(3000))
        reasons.append("end")

    route = net.route().on_close(lambda conn, reason: reasons.append("on_close"))
    if where != "on_text":
        route.discard()
    peer = await net.serve(getattr(route, where)(callback))
    if where == "on_text":
        peer.write(text("a"), text("b"))
    elif where == "on_ping":
        peer.write(ping())
    frames = await peer.rest_until_close()
    assert frames[-1].code == 3000
    await eventually(lambda: len(reasons) == 3)
    assert [one for one in reasons if one != "on_close"] == [CloseReason(3000, ""), "end"]
    # on_close waits for message callbacks, and for no others.
    assert where != "on_text" or reasons[-1] == "on_close"


async def test_close_in_on_close_and_on_error_is_harmless(net: Any) -> None:
    async def again(conn: Any, reason: object) -> None:
        seen.append(await conn.close())

    seen: list[object] = []
    _, peer = await opened(net, net.route().discard().on_close(again).on_error(again))
    peer.write(frame(3, b"", mask=KEY))
    assert (await peer.closed()).code == 1002
    await eventually(lambda: len(seen) == 2)
    assert seen[0] == seen[1]


async def test_sending_a_close_frame_closes_and_it_waits_for_nothing_queued_before_it(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())
    connection.send("a")
    connection.send_frame(CloseFrame(3000, "frame"))
    assert await peer.rest_until_close() == [Frame(TEXT, b"a"), Frame(CLOSE, b"\x0b\xb8frame")]
    assert (await connection.wait_closed()).code == 3000


async def test_times_and_counts_of_a_connection_that_has_ended(plain: Any) -> None:  # F10
    connection, peer = await opened(plain, plain.route().on_text(lambda data, conn: conn.send(data)))
    assert connection.close_time is None
    peer.write(text("a"))
    await peer.frame()
    peer.write(close())
    await peer.rest()
    await connection.wait_closed()
    assert connection.open_time <= connection.last_read <= connection.close_time
    assert connection.open_time <= connection.last_write <= connection.close_time
    assert connection.bytes_read == len(text("a") + close())
    assert connection.bytes_written == 3 + 4
