"""Async callbacks: started at once, with a current task from the first line, one message at a time."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import anyio
import anyio.lowlevel
import httpx
from judge import CLOSE, PONG
from peers import LIMIT, close, eventually, ping, text
from support import logged

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_a_callback_that_never_suspends_has_ended_before_the_next_message_of_the_batch(net: Any) -> None:
    got: list[object] = []

    async def on_text(data: str, conn: Any) -> None:
        got.append(data)
        await asyncio.gather()  # nothing to wait for
        got.append(asyncio.current_task() is not None)

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    await eventually(lambda: len(got) == 4)
    assert got == ["a", True, "b", True]


async def test_the_current_task_is_the_same_before_and_behind_the_first_suspension(net: Any) -> None:
    seen: list[Any] = []

    async def on_text(data: str, conn: Any) -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        await asyncio.sleep(0.001)
        seen.append(asyncio.current_task())

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    await eventually(lambda: len(seen) == 6)
    assert seen[0] is seen[1] is seen[2]
    assert seen[3] is seen[4] is seen[5]
    assert isinstance(seen[0], asyncio.Task)
    assert seen[0] is not seen[3]


async def test_a_pending_callback_is_among_all_tasks_and_an_idle_connection_adds_none(plain: Any) -> None:
    before = asyncio.all_tasks()
    gate = asyncio.Event()

    async def on_text(data: str, conn: Any) -> None:
        if data == "wait":
            await gate.wait()

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("a"), ping())
    await peer.frame()
    assert asyncio.all_tasks() == before
    peer.write(text("wait"), ping())
    await peer.frame()
    (task,) = asyncio.all_tasks() - before
    assert "on_text" in repr(task)
    gate.set()
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_asyncio_timeout_on_line_one_ends_a_wait(net: Any) -> None:
    async def on_text(data: str, conn: Any) -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            conn.send("timeout")

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    assert await peer.texts(2) == ["timeout", "timeout"]


async def test_wait_for_on_line_one_ends_a_wait(plain: Any) -> None:
    async def on_text(data: str, conn: Any) -> None:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except TimeoutError:
            conn.send("timeout")

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("a"))
    assert await peer.texts(1) == ["timeout"]


async def test_a_task_group_on_line_one_runs_its_tasks_and_gathers_their_errors(net: Any) -> None:
    async def one(conn: Any, data: str) -> None:
        await asyncio.sleep(0.001)
        if data == "bad":
            raise KeyError(data)
        conn.send(data)

    async def on_text(data: str, conn: Any) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(one(conn, data))
                group.create_task(one(conn, "also"))
        except ExceptionGroup as failed:
            conn.send(repr(failed.exceptions))

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), text("bad"))
    assert sorted(await peer.texts(2)) == ["a", "also"]
    assert (await peer.texts(1)) in (["also"], ["(KeyError('bad'),)"])


async def test_a_child_that_fails_cancels_a_callback_that_waits_in_its_task_group(plain: Any) -> None:
    async def fail() -> None:
        raise KeyError("child")

    async def on_text(data: str, conn: Any) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()
        except ExceptionGroup as failed:
            conn.send(repr(failed.exceptions))

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    assert await peer.texts(2) == ["(KeyError('child'),)"] * 2


async def test_anyio_works_on_line_one(net: Any) -> None:
    async def one(conn: Any, data: str) -> None:
        await anyio.lowlevel.checkpoint()
        conn.send(data)

    async def on_text(data: str, conn: Any) -> None:
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(one, conn, data)
        await anyio.to_thread.run_sync(lambda: None)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(1)
        conn.send("end")

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    assert await peer.texts(4) == ["a", "end", "b", "end"]


async def test_an_anyio_task_group_on_line_one_without_a_suspension_before_it(plain: Any) -> None:
    async def on_text(data: str, conn: Any) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.lowlevel.checkpoint)
        conn.send(data)

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    assert await peer.texts(2) == ["a", "b"]


async def test_httpx_works_on_line_one(plain: Any) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()
        await writer.wait_closed()

    async def on_text(data: str, conn: Any) -> None:
        async with httpx.AsyncClient(timeout=LIMIT, trust_env=False) as client:
            conn.send((await client.get(data)).text)

    http_server = await asyncio.start_server(http, "127.0.0.1", 0)
    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text(f"http://127.0.0.1:{http_server.sockets[0].getsockname()[1]}/"))
    assert await peer.texts(1) == ["hello"]
    http_server.close()


async def test_context_variables_hold_across_suspensions_and_do_not_leak_into_the_next_callback(net: Any) -> None:
    seen: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        seen.append(variable.get())
        variable.set(data)
        if data != "quick":
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
        seen.append(variable.get())

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(text("a"), text("quick"), text("b"), text("quick"), text("c"))
    await eventually(lambda: len(seen) == 10)
    assert seen == ["unset", "a", "unset", "quick", "unset", "b", "unset", "quick", "unset", "c"]


async def test_callbacks_see_the_context_variables_of_whoever_began_to_listen_or_to_connect(net: Any) -> None:
    seen: list[str] = []

    async def on_accept(conn: Any) -> None:
        seen.append(variable.get())
        await asyncio.sleep(0)
        seen.append(variable.get())

    token = variable.set("server")
    server = await net.listen(net.route().on_accept(on_accept))
    variable.set("client")
    await net.connect(server, lambda b: b.on_accept(on_accept))
    variable.reset(token)
    await eventually(lambda: len(seen) == 4)
    assert sorted(seen) == ["client", "client", "server", "server"]


async def test_a_name_given_to_the_current_task_does_not_stay_for_the_next_callback(plain: Any) -> None:
    names: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())
        task.set_name("mine")

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("a"), text("b"))
    await eventually(lambda: len(names) == 2)
    assert "mine" not in names


async def test_a_done_callback_on_the_current_task_is_called_when_the_callback_has_ended(plain: Any) -> None:
    ended: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: ended.append(data))
        if data == "slow":
            await asyncio.sleep(0.001)

    peer = await plain.serve(plain.route().on_text(on_text))
    peer.write(text("quick"), text("slow"))
    await eventually(lambda: len(ended) == 2)
    assert ended == ["quick", "slow"]


async def test_control_frames_are_answered_while_a_callback_is_pending(net: Any) -> None:
    gate = asyncio.Event()
    pings: list[bytes] = []

    async def on_text(data: str, conn: Any) -> None:
        await gate.wait()
        conn.send(data)

    peer = await net.serve(net.route().on_text(on_text).on_ping(lambda data, conn: pings.append(data)))
    peer.write(text("a"), ping(b"1"), text("b"), ping(b"2"))
    assert await peer.frame() == (PONG, b"1")
    assert await peer.frame() == (PONG, b"2")
    assert pings == [b"1", b"2"]
    peer.write(ping(b"3"))
    assert await peer.frame() == (PONG, b"3")
    gate.set()
    assert await peer.texts(2) == ["a", "b"]


async def test_other_connections_go_on_while_one_has_a_pending_callback(net: Any) -> None:
    gate = asyncio.Event()

    async def on_text(data: str, conn: Any) -> None:
        if data == "wait":
            await gate.wait()
        conn.send(data)

    server = await net.listen(net.route().on_text(on_text))
    one, other = await net.peer(server), await net.peer(server)
    one.write(text("wait"))
    other.write(text("a"))
    assert await other.texts(1) == ["a"]
    gate.set()
    assert await one.texts(1) == ["wait"]


async def test_callbacks_of_many_connections_interleave_each_in_its_own_order(plain: Any) -> None:
    async def on_text(data: str, conn: Any) -> None:
        await asyncio.sleep(0)
        variable.set(data)
        await asyncio.sleep(0.001 if data.endswith("0") else 0)
        conn.send(variable.get())

    server = await plain.listen(plain.route().on_text(on_text))
    peers = [await plain.peer(server) for _ in range(10)]
    for name, peer in enumerate(peers):
        peer.write(*[text(f"{name}.{number}") for number in range(20)])
    for name, peer in enumerate(peers):
        assert await peer.texts(20) == [f"{name}.{number}" for number in range(20)]


async def test_every_callback_may_be_async(net: Any) -> None:  # F3, F4
    got: list[object] = []

    def noting(name: str) -> Any:
        async def callback(*arguments: Any) -> None:
            await asyncio.sleep(0)
            got.append(name)

        return callback

    route = net.route()
    for name in ("on_accept", "on_text", "on_binary", "on_frame", "on_ping", "on_pong", "on_error", "on_close"):
        getattr(route, name)(noting(name))
    peer = await net.serve(route)
    peer.write(text("a"), ping(b"p"), close())
    assert [one.opcode for one in await peer.rest()] == [PONG, CLOSE]
    await eventually(lambda: "on_close" in got)
    assert got[-1] == "on_close"
    assert sorted(got) == sorted(["on_accept", "on_text", "on_ping", *["on_frame"] * 3, "on_close"])  # type: ignore[type-var]


async def test_an_object_with_an_async_call_may_be_a_callback(plain: Any) -> None:
    class Callback:
        async def __call__(self, data: str, conn: Any) -> None:
            await asyncio.sleep(0)
            conn.send(data)

    peer = await plain.serve(plain.route().on_text(Callback()))
    peer.write(text("a"))
    assert await peer.texts(1) == ["a"]


async def test_a_task_group_that_met_the_end_of_its_connection_is_no_error(net: Any) -> None:
    ended: list[str] = []

    async def handler(conn: Any) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                async for _ in conn:
                    raise AssertionError
        finally:
            ended.append("")

    with logged() as records:
        peer = await net.serve(net.route().handler(handler).on_error(lambda conn, error: ended.append(repr(error))))
        peer.writer.transport.abort()
        await eventually(lambda: ended)
        await asyncio.sleep(0.01)
    assert not [record for record in records if record.exc_info]
    assert not [one for one in ended if "Group" in one]
