"""Connections and servers from other threads: refused with a hint, but for the threadsafe proxies."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from peers import eventually, pong

from firefly_ws import CloseReason, ConnectionClosed, TextFrame


async def opened(net: Any, route: Any) -> tuple[Any, Any]:
    """A server's connection and its peer."""
    server = await net.listen(route)
    peer = await net.peer(server)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


CALLS = {
    "send": lambda conn: conn.send("a"),
    "send bytes": lambda conn: conn.send(b"a"),
    "send_text": lambda conn: conn.send_text("a"),
    "send_data": lambda conn: conn.send_data(b"a"),
    "send_frame": lambda conn: conn.send_frame(TextFrame("a")),
    "ping": lambda conn: conn.ping(),
    "pong": lambda conn: conn.pong(),
    "flush": lambda conn: conn.flush(),
    "close": lambda conn: conn.close(),
    "terminate": lambda conn: conn.terminate(),
    "drop": lambda conn: conn.drop(),
    "pause_reading": lambda conn: conn.pause_reading(),
    "resume_reading": lambda conn: conn.resume_reading(),
    "wait_closed": lambda conn: conn.wait_closed(),
    "Server.close": lambda conn: conn.server.close(),
    "Server.drain": lambda conn: conn.server.drain(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_from_another_thread_raises_and_names_threadsafe(plain: Any, call: Any) -> None:
    connection, _ = await opened(plain, plain.route().discard())
    with pytest.raises(RuntimeError, match="threadsafe"):
        await asyncio.to_thread(call, connection)
    assert connection.is_open
    assert connection.server.is_listening


async def test_it_raises_behind_the_end_too(plain: Any) -> None:
    connection, _ = await opened(plain, plain.route().discard())
    connection.terminate()
    await connection.wait_closed()
    with pytest.raises(RuntimeError, match="threadsafe"):
        await asyncio.to_thread(connection.send, "a")


async def test_threadsafe_sends_keep_their_order_and_give_handles(net: Any) -> None:
    connection, peer = await opened(net, net.route().discard())

    def work() -> list[object]:
        safe = connection.threadsafe
        handles = [safe.send(str(number)) for number in range(500)]
        return [handle.result(5) for handle in handles]

    results = asyncio.ensure_future(asyncio.to_thread(work))
    assert await peer.texts(500) == [str(number) for number in range(500)]
    assert await results == [None] * 500


async def test_many_threads_lose_nothing(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())

    def work(name: int) -> None:
        for number in range(100):
            connection.threadsafe.send(f"{name}.{number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(5)]
    for thread in threads:
        thread.start()
    got = await peer.texts(500)
    for thread in threads:
        thread.join()
    for name in range(5):
        assert [one for one in got if one.startswith(f"{name}.")] == [f"{name}.{number}" for number in range(100)]


async def test_threadsafe_calls_give_what_the_calls_give_and_raise_what_they_raise(plain: Any) -> None:
    connection, peer = await opened(plain, plain.route().discard())

    def work() -> tuple[float, CloseReason]:
        safe = connection.threadsafe
        trip = safe.ping(b"p").result(5)
        with pytest.raises(TypeError):
            safe.send(7).result(5)
        with pytest.raises(ValueError, match="1005"):
            safe.close(1005).result(5)
        reason = safe.close(3000, "thread").result(5)
        with pytest.raises(ConnectionClosed):
            safe.send("late").result(5)
        return trip, reason

    results = asyncio.ensure_future(asyncio.to_thread(work))
    assert (await peer.frame()).payload == b"p"
    peer.write(pong(b"p"))
    assert (await peer.closed()).code == 3000
    trip, reason = await results
    assert trip > 0
    assert reason == CloseReason(3000, "thread")


async def test_settings_are_set_from_another_thread_and_a_wrong_value_raises_there(plain: Any) -> None:  # S1
    connection, peer = await opened(plain, plain.route().discard())

    def work() -> None:
        safe = connection.threadsafe
        for name, value in (("ping_interval", 0.01), ("ping_timeout", 5), ("read_timeout", 60), ("write_timeout", None),
                            ("max_frame_size", 10), ("max_message_size", 20)):  # fmt: skip
            setattr(safe, name, value)
            with pytest.raises(TypeError, match=f"{name}='1' must be a"):
                setattr(safe, name, "1")
        safe.ping().result(5)
        assert [safe.ping_interval, safe.write_timeout, safe.max_message_size] == [0.01, None, 20]
        for name in ("idle_timeout", "ping_intervall", "latency"):
            with pytest.raises(AttributeError):
                setattr(safe, name, 5)

    done = asyncio.ensure_future(asyncio.to_thread(work))
    while not done.done():
        peer.write(pong((await peer.frame()).payload))
        await asyncio.sleep(0)
    await done
    policy = connection.policy
    assert (policy.read_timeout, policy.max_frame_size, policy.write_timeout) == (60, 10, None)


async def test_a_server_is_closed_from_another_thread_through_threadsafe(plain: Any) -> None:
    server = await plain.listen(plain.route().discard())
    peer = await plain.peer(server)
    ending = asyncio.ensure_future(asyncio.to_thread(lambda: server.threadsafe.close(1012).result(5)))
    assert (await peer.closed()).code == 1012
    await ending
    assert not server.is_listening
