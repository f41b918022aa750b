"""The end of a server: every connection closed, callbacks given their grace, and whoever called not waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from peers import eventually, text
from support import logged

from firefly_ws import CloseReason


async def test_server_close_closes_every_connection_with_1001_and_stops_accepting(net: Any) -> None:
    server = await net.listen(net.route().discard())
    peers = [await net.peer(server) for _ in range(3)]
    ending = server.close()
    for peer in peers:
        assert (await peer.closed()).code == 1001
    await ending
    assert not server.connections
    assert not server.is_listening
    with pytest.raises(ConnectionRefusedError):
        await net.peer(server)


async def test_server_close_may_say_another_code_and_reason(plain: Any) -> None:
    server = await plain.listen(plain.route().discard())
    peer = await plain.peer(server)
    ending = server.close(CloseReason(1012, "restart"))
    assert (await peer.closed()).payload == b"\x03\xf4restart"
    await ending
    with pytest.raises(ValueError, match="1005"):
        server.close(1005)
    with pytest.raises(ValueError, match="grace"):
        server.close(grace=-1)


async def test_server_close_does_not_wait_for_the_callback_that_called_it(net: Any) -> None:
    got: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        await conn.server.close()
        got.append("closed")
        await asyncio.sleep(0.02)
        got.append("end")

    server = await net.listen(net.route().on_text(on_text).on_close(lambda conn, reason: got.append("on_close")))
    peer = await net.peer(server)
    peer.write(text("a"))
    assert (await peer.closed()).code == 1001
    await server.wait_closed()
    await eventually(lambda: len(got) == 3)
    assert got == ["closed", "end", "on_close"]


async def test_the_callback_that_called_goes_on_also_where_grace_had_to_end_it(net: Any) -> None:
    got: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        await conn.server.close(grace=0.1)
        got.append("closed")

    server = await net.listen(net.route().on_text(on_text))
    silent, peer = await net.peer(server), await net.peer(server)
    peer.write(text("a"))
    await peer.closed()
    await eventually(lambda: got == ["closed"])
    assert (await silent.rest())[-1].code == 1001


async def test_a_peer_that_does_not_answer_is_aborted_when_grace_ends(net: Any) -> None:
    server = await net.listen(net.route().discard())
    await net.peer(server)
    (connection,) = server.connections
    begin = asyncio.get_running_loop().time()
    await server.close(grace=0.1)
    assert 0.08 < asyncio.get_running_loop().time() - begin < 1
    assert connection.close_reason.code == 1006


@pytest.mark.parametrize("where", ["on_accept", "on_text"])
async def test_callbacks_still_running_when_grace_ends_are_cancelled_and_not_before(net: Any, where: str) -> None:
    got: list[str] = []
    begin = 0.0
    loop = asyncio.get_running_loop()

    async def callback(*arguments: Any) -> None:
        got.append("begin")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            got.append("cancelled")
            assert loop.time() - begin > 0.08
            raise

    route = getattr(net.route(), where)(callback).on_close(lambda conn, reason: got.append("on_close"))
    server = await net.listen(route)
    peer = await net.peer(server)
    peer.write(text("a"))
    await eventually(lambda: got)
    begin = loop.time()
    ending = server.close(grace=0.1)
    await peer.closed()
    await ending
    assert loop.time() - begin < 0.08, "the connections have ended: nobody waits for callbacks"
    await eventually(lambda: "cancelled" in got and "on_close" in got, 1)
    assert got == (["begin", "on_close", "cancelled"] if where == "on_accept" else ["begin", "cancelled", "on_close"])


async def test_callbacks_of_connections_that_ended_before_are_cancelled_when_grace_ends(plain: Any) -> None:
    got: list[str] = []

    async def on_accept(conn: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            got.append("cancelled")

    server = await plain.listen(plain.route().on_accept(on_accept).on_close(lambda conn, reason: got.append("close")))
    peer = await plain.peer(server)
    await peer.end()
    await eventually(lambda: got == ["close"])
    await server.close(grace=0.05)
    await eventually(lambda: got == ["close", "cancelled"], 1)


async def test_callbacks_may_end_within_the_grace(plain: Any) -> None:
    got: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        await asyncio.sleep(0.05)
        got.append(data)

    server = await plain.listen(plain.route().on_text(on_text))
    peer = await plain.peer(server)
    peer.write(text("a"))
    await asyncio.sleep(0.01)
    ending = server.close(grace=1)
    await peer.closed()
    await ending
    await eventually(lambda: got == ["a"])


async def test_closing_a_server_twice_gives_one_end(plain: Any) -> None:
    server = await plain.listen(plain.route().discard())
    peer = await plain.peer(server)
    one, other = server.close(), server.close(1012)
    assert (await peer.closed()).code == 1001
    await one
    await other
    await server.wait_closed()
    await server.close()


async def test_a_close_that_fails_is_logged_and_ends_all_the_same(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that raised from within left the caller of close() waiting for ever, and said nothing."""
    server = await plain.listen(plain.route().discard())
    peer = await plain.peer(server)

    def broken(*_: Any) -> Any:
        raise AttributeError("a transport that has forgotten what it is")

    monkeypatch.setattr(server._http, "shut", broken)
    with logged() as records:
        await asyncio.wait_for(server.close(), 5)
    assert [record.getMessage()[:15] for record in records] == ["closing <Server"]
    assert server.is_over
    assert await peer.rest() == []
