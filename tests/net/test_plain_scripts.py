"""Whole programs with the real library: plain scripts without a loop, and `run`; their ends, their errors, signals."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator

import pytest
from script import Script, Start, scripts
from support import TEXT, close_frame, frame, raw_client, soon, upgrade

BEGIN = """
import asyncio, os, signal, sys, threading, time
from firefly_ws import *
from firefly_ws.runtime import submit
from small_server import behind_the_last_line
signal.signal(signal.SIGINT, signal.default_int_handler)
def say(*words):
    print(*words, flush=True)
def echo_server():
    return http_server().websocket("/").on_message(lambda frame, connection: connection.send(frame))
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
both_signals = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


@pytest.fixture
def start() -> Iterator[Start]:
    with scripts(BEGIN) as start:
        yield start


@pytest.fixture
def taken() -> Iterator[int]:
    """A port in use."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


# --- scripts


def test_listen_blocks_until_bound_and_connect_gives_a_handle(start: Start) -> None:  # F2
    script = start("""
        server = echo_server().listen("127.0.0.1", 0)
        say(server.is_listening, server.port > 0, server.addresses == (("127.0.0.1", server.port),))
        say(server.stats()["opened"])
        got = []
        client = http_client().websocket(f"ws://127.0.0.1:{server.port}/").on_text(lambda text, c: got.append(text))
        connection = client.connect().result(5)
        connection.threadsafe.send("hello").result(5)
        connection.threadsafe.ping().result(5)
        say(got, connection.is_open, len(server.connections))
        say(connection.threadsafe.close(4001, "bye").result(5))
        server.close().result(5)
        say(server.is_listening)
    """)
    assert script.end() == (
        0,
        [
            "True True True",
            "0",
            "['hello'] True 1",
            "4001: bye",
            "False",
        ],
        "",
    )


def test_listen_raises_the_bind_error(start: Start, taken: int) -> None:
    script = start(f"""
        try:
            echo_server().listen("127.0.0.1", {taken})
        except WebSocketConnectionException as error:
            say(error)
    """)
    assert script.end() == (0, [f"cannot listen on 127.0.0.1:{taken}: Address already in use"], "")


def test_a_bind_error_nobody_catches_ends_the_script_with_its_traceback(start: Start, taken: int) -> None:
    code, said, errors = start(f'echo_server().listen("127.0.0.1", {taken}); say("never")').end()
    assert (code, said) == (1, [])
    assert errors.count("Traceback") == 2  # the error and its cause
    assert errors.rstrip().endswith(f"cannot listen on 127.0.0.1:{taken}: Address already in use")


def test_connect_raises_from_result_and_is_logged_where_nobody_asks(start: Start, taken: int) -> None:
    code, said, errors = start("""
        with __import__("socket").socket() as sock:
            sock.bind(("127.0.0.1", 0))
            url = f"ws://127.0.0.1:{sock.getsockname()[1]}/"
        try:
            http_client().websocket(url).connect().result(5)
        except WebSocketConnectionException as error:
            say("asked", url in str(error), error.errno == 111)
        http_client().websocket(url).connect_async(lambda connection: None)
    """).end()
    assert (code, said) == (0, ["asked True True"])
    assert errors.count("connecting to ws://127.0.0.1:") == 1
    assert "Connection refused" in errors


def test_connect_async_calls_back_and_its_handle_ends_with_the_callback(start: Start) -> None:
    script = start("""
        server = echo_server().listen("127.0.0.1", 0)
        async def talk(connection):
            say(asyncio.current_task() is not None, threading.current_thread() is threading.main_thread())
            await asyncio.sleep(0.05)
            say("talked")
            await connection.close()
        handle = http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard().connect_async(talk)
        say(handle.done())
        connection = handle.result(5)
        say("result", connection.close_reason)
        handle.add_done_callback(lambda _: server.close())
    """)
    code, said, errors = script.end()
    assert (code, errors) == (0, "")
    assert sorted(said[:2]) == ["False", "True False"]
    assert said[2:] == ["talked", "result 1000 (NORMAL)"]


def test_a_connection_that_opens_as_its_handle_is_cancelled_is_closed(start: Start) -> None:
    # Nobody had it, and it held the script for ever.
    code, said, errors = start("""
        from concurrent.futures import Future
        from firefly_ws import client_builder
        opened, begun, closed = client_builder.open_once, threading.Event(), threading.Event()
        async def open_once(target):
            connection = await opened(target)
            begun.wait(5)
            Future.cancel(handle)  # as from a thread whose word for the loop is still on its way
            return connection
        client_builder.open_once = open_once
        server = http_server().websocket("/").on_close(lambda connection, reason: (say(reason), closed.set()))
        server = server.listen("127.0.0.1", 0)
        handle = http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard().connect()
        begun.set()
        say(closed.wait(5), handle.cancelled())
        server.close()
    """).end()
    assert (code, said, errors) == (0, ["1000 (NORMAL)", "True True"], "")


def test_sys_exit_in_the_callback_of_connect_async_closes_everything(start: Start) -> None:
    code, said, errors = start("""
        server = http_server().websocket("/").on_close(lambda connection, reason: say(reason)).listen("127.0.0.1", 0)
        handle = http_client().websocket(f"ws://127.0.0.1:{server.port}/").connect_async(lambda connection: sys.exit(3))
        try:
            handle.result(20)
        except BaseException as error:
            say(type(error).__name__)
        server.wait_closed()
        say("last line")
    """).end()
    assert (code, sorted(said), errors) == (0, ["1000 (NORMAL)", "CancelledError", "last line"], "")


def test_a_script_ends_by_itself_when_all_is_closed(start: Start) -> None:
    script = start("""
        async def talk(connection):
            await asyncio.sleep(0.1)
            say("talked behind the last line")
            await connection.close()
        server = echo_server().listen("127.0.0.1", 0)
        client = http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard().connect_async(talk)
        client.add_done_callback(lambda _: server.close())
        say("last line")
    """)
    assert script.end() == (0, ["last line", "talked behind the last line"], "")


def test_an_open_connection_holds_the_script_and_to_thread_works_then(start: Start) -> None:
    script = start("""
        server = echo_server().listen("127.0.0.1", 0)
        async def talk(connection):
            await asyncio.sleep(0.1)
            say(await asyncio.to_thread(lambda: "in a thread"))
            loop = asyncio.get_running_loop()
            await loop.getaddrinfo("localhost", 80)
            await server._target.close()
        http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard().connect_async(talk)
    """)
    assert script.end() == (0, ["in a thread"], "")


def test_an_uncaught_exception_closes_everything_and_exits_1(start: Start) -> None:
    code, said, errors = start("""
        server = echo_server().listen("127.0.0.1", 0)
        client = http_client().websocket(f"ws://127.0.0.1:{server.port}/").on_close(lambda c, reason: say(reason.code))
        client.discard().connect().result(5)
        raise KeyError("mine")
    """).end()
    assert (code, said) == (1, ["1001"])
    assert errors.count("Traceback") == 1
    assert "KeyError: 'mine'" in errors


def test_an_error_in_a_callback_is_logged_and_the_script_goes_on(start: Start) -> None:
    code, said, errors = start("""
        def bad(text, connection):
            raise KeyError("mine")
        server = http_server().websocket("/").on_text(bad).listen("127.0.0.1", 0)
        async def talk(connection):
            connection.send("x")
            say((await connection.wait_closed()).code)
            server.close()
        http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard().connect_async(talk)
    """).end()
    assert (code, said) == (0, ["1011"])
    assert errors.count("Traceback") == 1
    assert "KeyError: 'mine'" in errors


def test_calls_inside_a_loop_of_the_scripts_own_belong_to_that_loop(start: Start) -> None:
    script = start("""
        async def main():
            async with echo_server().listen("127.0.0.1", 0) as server:
                got = asyncio.Queue()
                client = http_client().websocket(f"ws://127.0.0.1:{server.port}/")
                async with client.on_text(lambda text, c: got.put_nowait(text)).connect() as connection:
                    connection.send("on asyncio's own loop")
                    say(await got.get())
        asyncio.run(main())
    """)
    assert script.end() == (0, ["on asyncio's own loop"], "")


# --- signals


async def closed_with(script: Script, number: int, clients: int = 3) -> tuple[int, list[str], str]:
    """Connect some clients to the server whose port *script* says, send the signal, and answer the 1001 they get."""
    line = await asyncio.to_thread(next_line, script, "port ")
    port = int(line.removeprefix("port "))
    opened = [raw_client(port) for _ in range(clients)]
    peers = [await one.__aenter__() for one in opened]
    try:
        for peer in peers:
            peer.send(upgrade())
            assert (await peer.head()).status == 101
        script.signal(number)
        for peer in peers:
            assert await peer.frame() == (0x88, b"\x03\xe9")
            peer.send(b"\x88\x82\0\0\0\0\x03\xe9")
            assert await peer.rest() == b""
        return await soon(asyncio.to_thread(script.end))  # type: ignore[no-any-return]
    finally:
        for one in opened:
            await one.__aexit__(None, None, None)


def next_line(script: Script, begin: str) -> str:
    assert script.process.stdout is not None
    for line in script.process.stdout:
        script.said.append(line.rstrip("\n"))
        if line.startswith(begin):
            return script.said[-1]
    raise AssertionError(f"ended without saying {begin!r}: {script.end()}")


@both_signals
async def test_a_signal_ends_a_script_and_its_clients_get_1001(start: Start, number: int) -> None:
    script = start("""
        server = http_server().websocket("/").on_close(lambda c, reason: say(reason)).listen("127.0.0.1", 0)
        async def tell():
            await behind_the_last_line()
            say("port", server.port)
        submit(tell)
    """)
    code, said, errors = await closed_with(script, number)
    assert (code, said[1:], errors) == (0, ["1001 (GOING_AWAY)"] * 3, "")


@both_signals
async def test_a_signal_ends_a_run_and_its_clients_get_1001(start: Start, number: int) -> None:
    script = start("""
        async def main():
            server = await echo_server().listen("127.0.0.1", 0)
            say("port", server.port)
            await server.wait_closed()
            return "main has seen the end"
        say(run(main))
        say("behind run")
    """)
    code, said, errors = await closed_with(script, number)
    assert (code, said[1:], errors) == (0, ["main has seen the end", "behind run"], "")


async def test_a_signal_gives_callbacks_the_rest_of_the_grace(start: Start) -> None:
    script = start("""
        from firefly_ws import per_loop
        per_loop.CALLBACK_GRACE = 0.02
        async def save(text, connection):
            await asyncio.sleep(0.1)
            say("saved")
        async def main():
            server = await http_server().websocket("/").on_text(save).closing(1012).listen("127.0.0.1", 0)
            say("port", server.port)
        run(main)
    """)
    line = await asyncio.to_thread(next_line, script, "port ")
    async with raw_client(int(line.removeprefix("port "))) as peer:
        peer.send(upgrade(), frame(TEXT, "this"))
        assert (await peer.head()).status == 101
        script.signal(signal.SIGTERM)
        assert await peer.frame() == (0x88, b"\x03\xf4")
        peer.send(close_frame(1012))
        code, said, errors = await soon(asyncio.to_thread(script.end))
    assert (code, said[1:]) == (0, ["saved"])
    assert errors == "callbacks are still running; they have the rest of the server's grace to end\n"


async def test_a_signal_in_the_moment_behind_the_last_line_is_no_exception(start: Start) -> None:
    script = start("""
        http_server().websocket("/").listen("127.0.0.1", 0)
        threading._register_atexit(lambda: os.kill(os.getpid(), signal.SIGTERM))
        threading._register_atexit(say, "over")
    """)
    assert await asyncio.to_thread(script.end) == (0, ["over"], "")


async def test_a_signal_while_the_main_thread_waits_for_a_handle(start: Start) -> None:
    script = start("""
        server = echo_server().listen("127.0.0.1", 0)
        say("port", server.port)
        server.wait_closed().result()
    """)
    code, _, errors = await closed_with(script, signal.SIGTERM)
    assert (code, errors) == (143, "")


def test_a_signal_reaches_a_client_that_waits_for_its_server(start: Start) -> None:
    script = start("""
        server = http_server().websocket("/").on_close(lambda c, reason: say("server", reason)).listen("127.0.0.1", 0)
        client = http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard()
        async def tell(connection):
            await behind_the_last_line()
            say("open")
        client.on_accept(tell).on_close(lambda c, reason: say("client", reason)).connect()
    """)
    script.until("open")
    script.signal(signal.SIGINT)
    code, said, errors = script.end()
    assert (code, sorted(said[1:]), errors) == (0, ["client 1001 (GOING_AWAY)", "server 1001 (GOING_AWAY)"], "")


# --- run


def test_run_returns_mains_result_once_all_has_closed(start: Start) -> None:
    script = start("""
        async def main():
            server = await echo_server().listen("127.0.0.1", 0)
            async def talk(connection):
                await asyncio.sleep(0.05)
                say("talked")
                await connection.close()
                await server.close()
            http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard().connect_async(talk)
            return 17
        say(run(main))
    """)
    assert script.end() == (0, ["talked", "17"], "")


def test_run_takes_a_plain_function_of_builder_calls(start: Start) -> None:
    script = start("""
        def main():
            server = echo_server().listen("127.0.0.1", PORT)
            async def talk(connection):
                say("talked")
                await connection.close()
                await server.close()
            http_client().websocket(f"ws://127.0.0.1:{PORT}/").discard().connect_async(talk)
        with __import__("socket").socket() as sock:
            sock.bind(("127.0.0.1", 0))
            PORT = sock.getsockname()[1]
        say(run(main))
    """)
    assert script.end() == (0, ["talked", "None"], "")


def test_run_raises_what_main_raises_once_all_has_closed_with_1001(start: Start) -> None:
    script = start("""
        async def main():
            server = await echo_server().listen("127.0.0.1", 0)
            client = http_client().websocket(f"ws://127.0.0.1:{server.port}/").discard()
            await client.on_close(lambda c, reason: say(reason)).connect()
            raise KeyError("mine")
        try:
            run(main)
        except KeyError as error:
            say(repr(error))
    """)
    assert script.end() == (0, ["1001 (GOING_AWAY)", "KeyError('mine')"], "")


def test_a_bind_error_nobody_awaits_ends_the_run(start: Start, taken: int) -> None:
    code, said, errors = start(f"""
        async def main():
            other = await echo_server().listen("127.0.0.1", 0)
            echo_server().listen("127.0.0.1", {taken})
            await other.wait_closed()
            say("the other one has closed")
        try:
            run(main)
        except WebSocketConnectionException as error:
            say(error)
    """).end()
    assert code == 0
    assert said == ["the other one has closed", f"cannot listen on 127.0.0.1:{taken}: Address already in use"]
    assert errors.count(f"listening on 127.0.0.1:{taken} failed") == 1


def test_a_bind_error_that_is_caught_does_not_end_the_run(start: Start, taken: int) -> None:
    script = start(f"""
        async def main():
            try:
                await echo_server().listen("127.0.0.1", {taken})
            except OSError as error:
                return error.errno
        say(run(main) == __import__("errno").EADDRINUSE)
    """)
    assert script.end() == (0, ["True"], "")


def test_a_signal_that_closes_what_main_is_receiving_from_ends_a_run_without_an_error(start: Start) -> None:
    script = start("""
        async def main():
            server = await echo_server().listen("127.0.0.1", 0)
            async with http_client().ws("127.0.0.1", server.port).connect() as connection:
                say("ready")
                await connection.receive()
        say(run(main))
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    assert script.end() == (0, ["ready", "None"], "")


def test_a_signal_does_not_hide_another_error_of_main(start: Start) -> None:
    script = start("""
        async def main():
            server = await echo_server().listen("127.0.0.1", 0)
            say("ready")
            await server.wait_closed()
            raise ValueError("mine")
        run(main)
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    code, said, errors = script.end()
    assert (code, said) == (1, ["ready"])
    assert errors.rstrip().endswith("ValueError: mine")


def test_a_loop_that_is_left_with_a_connection_open_says_nothing_at_the_end_of_the_interpreter(start: Start) -> None:
    script = start("""
        async def main():
            server = await echo_server().listen("127.0.0.1", 0)
            await http_client().ws("127.0.0.1", server.port).connect()
        asyncio.run(main())
    """)
    code, _, errors = script.end()
    assert code == 0
    assert "excepthook" not in errors
