"""`run`, in processes of its own: how a program that is all in one loop ends.

Each script uses `small_server` for something that is open. What a signal hits is known from a line the script prints.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from script import BEGIN, Start, both_signals, scripts, signal_until_the_end

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture
def start() -> Iterator[Start]:
    with scripts(BEGIN) as start:
        yield start


def test_run_returns_the_result_when_all_is_closed(start: Start) -> None:
    script = start("""
        def main():
            async def close_later():
                server = await listen()
                await server.close_gracefully()
            runtime = runtime_of(asyncio.get_running_loop())
            runtime.hold(asyncio.create_task(close_later()))
            say("main returns")
            return 42
        say(run(main))
    """)
    assert script.end() == (0, ["main returns", "closing", "42"], "")


@both_signals
def test_a_signal_ends_a_run_whose_main_waits_for_its_server(start: Start, number: int) -> None:
    script = start("""
        async def main():
            server = await listen()
            say("ready")
            await server.wait_closed()
            return "main's result"
        say(run(main))
        say(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    """)
    script.until("ready")
    script.signal(number)
    assert script.end() == (0, ["ready", "closing", "main's result", "True", "True"], "")


@both_signals
def test_a_signal_cancels_a_main_that_goes_on_after_the_closing(start: Start, number: int) -> None:
    script = start("""
        async def main():
            server = await listen()
            say("ready")
            try:
                await asyncio.Event().wait()
            finally:
                say("cancelled")
        say(run(main))
    """)
    script.until("ready")
    script.signal(number)
    assert script.end() == (0, ["ready", "closing", "cancelled", "None"], "")


def test_a_signal_ends_a_run_whose_main_has_returned(start: Start) -> None:
    script = start("""
        async def main():
            await listen()
            asyncio.get_running_loop().call_later(0.05, say, "ready")
            return 42
        say(run(main))
    """)
    script.until("ready")
    script.signal(signal.SIGTERM)
    assert script.end() == (0, ["ready", "closing", "42"], "")


def test_a_second_signal_aborts_a_run(start: Start) -> None:
    script = start("""
        async def main():
            await listen_stubbornly()
            say("ready")
        say(run(main))
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    script.until("asked")
    script.signal(signal.SIGINT)
    assert script.end() == (0, ["ready", "asked", "aborting", "None"], "")


def test_a_second_signal_leaves_a_main_that_ignores_its_cancellation(start: Start) -> None:
    script = start("""
        async def main():
            say("ready")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("ignored")
                await asyncio.Event().wait()
        say(run(main))
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    script.until("ignored")
    script.signal(signal.SIGINT)
    assert script.end() == (0, ["ready", "ignored", "None"], "")


def test_a_third_signal_leaves_a_run_whose_loop_is_stuck(start: Start) -> None:
    script = start("""

        async def main():
            await listen()
            say("ready")
            while True:
                time.sleep(0.01)
        try:
            run(main)
        except KeyboardInterrupt:
            say("left")
    """)
    script.until("ready")
    assert signal_until_the_end(script, signal.SIGINT) >= 3
    assert script.end() == (0, ["ready", "aborting", "left"], "")


def test_sys_exit_in_a_run_closes_everything(start: Start) -> None:
    script = start("""
        async def main():
            await listen()
            sys.exit(3)
        run(main)
    """)
    assert script.end() == (3, ["closing"], "")


@pytest.mark.slow
def test_sys_exit_in_any_callback_of_a_connection_ends_the_run(start: Start) -> None:
    # uvloop took it for an error of the transport, and who awaited connect_async waited for ever.
    script = start("""
        from firefly_ws import http_server, ws
        def leave(*_):
            sys.exit(3)
        def with_open(builder):
            return builder.on_open(leave).connect()
        def with_close(builder):
            return builder.on_close(leave).connect_async(lambda connection: connection.close())
        def with_text(builder):
            return builder.on_text(leave).connect_async(lambda connection: asyncio.sleep(30))
        def with_callback(builder):
            return builder.connect_async(leave)
        def with_callback_again(builder):
            return builder.reconnect().connect_async(leave)
        for begin in (with_open, with_close, with_text, with_callback, with_callback_again):
            async def main():
                server = http_server().websocket("/").on_open(lambda connection: connection.send("hello"))
                server = await server.listen("127.0.0.1", 0)
                await begin(ws("127.0.0.1", server.port, "/"))
                await asyncio.sleep(30)
            try:
                run(main)
            except SystemExit as error:
                say(begin.__name__, error.code)
    """)
    names = ("with_open", "with_close", "with_text", "with_callback", "with_callback_again")
    assert script.end() == (0, [f"{name} 3" for name in names], "")


def test_a_run_keeps_the_programs_own_handler(start: Start) -> None:
    script = start("""
        server = None
        def own(number, frame):
            say("own")
            asyncio.get_running_loop().call_soon_threadsafe(server._end)
        signal.signal(signal.SIGINT, own)
        async def main():
            global server
            server = await listen()
            say("ready")
            await server.wait_closed()
        run(main)
        say(signal.getsignal(signal.SIGINT) is own)
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    assert script.end() == (0, ["ready", "own", "True"], "")


def test_a_run_in_debug_mode_and_without_uvloop(start: Start) -> None:
    script = start(
        """
        sys.modules["uvloop"] = None
        async def main():
            loop = asyncio.get_running_loop()
            loop.slow_callback_duration = 60  # a slow machine is nothing to warn of
            server = await listen()
            await server.close_gracefully()
            return type(loop).__module__.split(".")[0], loop.get_debug()
        say(*run(main))
        say(submit(main).result()[0])
        """,
        PYTHONASYNCIODEBUG="1",
    )
    assert script.end() == (0, ["closing", "asyncio True", "closing", "asyncio"], "")


@both_signals
def test_signals_end_scripts_and_runs_on_asyncios_loop(start: Start, number: int) -> None:
    script = start("""
        sys.modules["uvloop"] = None
        async def main():
            server = await listen()
            say("first")
            await server.wait_closed()
        run(main)
        submit(listen).result()
        submit(say_ready)
    """)
    script.until("first")
    script.signal(number)
    script.until("ready")
    script.signal(number)
    assert script.end() == (0, ["first", "closing", "ready", "closing"], "")


def test_without_logging_set_up_stderr_has_exceptions_and_limits_and_the_warnings_can_be_had_out(start: Start) -> None:
    for level in ("", "logging.getLogger('firefly_ws').setLevel(logging.ERROR)"):
        script = start(f"""
            import logging
            from firefly_ws import http_client, http_server
            {level}

            def on_text(text, connection):
                raise ValueError("mine")

            async def main():
                app = http_server().max_message_size(10).websocket("/").on_text(on_text)
                async with app.listen("127.0.0.1", 0) as server:
                    for text in ("x", "x" * 11):
                        async with http_client().ws("127.0.0.1", server.port, "/").discard().connect() as connection:
                            connection.send(text)
                            await connection.wait_closed()

            run(main)
            say(logging.getLogger("firefly_ws").handlers)
        """)
        code, said, errors = script.end()
        assert (code, said) == (0, ["[]"]), errors
        assert "Traceback" in errors
        assert "ValueError: mine" in errors
        assert (".max_message_size(bytes)" in errors) == (not level), errors
