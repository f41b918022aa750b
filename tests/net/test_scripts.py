"""Plain scripts, in processes of their own: how a program stays alive, and the ways it ends.

Each script uses `small_server` for something that is open. What a signal hits is known from a line the script prints.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from script import BEGIN, Start, both_signals, scripts, signal_until_the_end

# CPython 3.12.0 to 3.12.2 start no thread behind the last line (python/cpython#113964).
NO_LATE_THREADS = (3, 12) <= sys.version_info[:3] < (3, 12, 3)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture
def start() -> Iterator[Start]:
    with scripts(BEGIN) as start:
        yield start


# --- behind the last line


def test_a_script_stays_alive_behind_its_last_line_until_all_is_closed(start: Start) -> None:
    script = start("""
        async def live():
            server = await listen()
            await behind_the_last_line()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"still here")
            say((await reader.readexactly(10)).decode())
            writer.close()
            await server.close_gracefully()
        submit(live)
        say("last line")
    """)
    assert script.end() == (0, ["last line", "still here", "closing"], "")


def test_a_script_that_opened_nothing_ends_at_once(start: Start) -> None:
    assert start("submit(lambda: say('ran')).result()").end() == (0, ["ran"], "")


def test_a_script_that_closed_everything_ends_at_its_last_line(start: Start) -> None:
    script = start("""
        server = submit(listen).result()
        submit(server.close_gracefully).result()
        say("last line")
    """)
    assert script.end() == (0, ["closing", "last line"], "")


def test_a_script_waits_for_what_it_has_begun_and_not_awaited(start: Start) -> None:
    script = start("""
        async def slow():
            await behind_the_last_line()
            server = await listen()
            await server.close_gracefully()
        submit(slow)
    """)
    assert script.end() == (0, ["closing"], "")


@both_signals
def test_a_signal_ends_a_script_behind_its_last_line_without_a_traceback(start: Start, number: int) -> None:
    script = start("submit(listen).result(); submit(say_ready)")
    script.until("ready")
    script.signal(number)
    assert script.end() == (0, ["ready", "closing"], "")


@both_signals
def test_a_second_signal_aborts(start: Start, number: int) -> None:
    script = start("submit(listen_stubbornly).result(); submit(say_ready)")
    script.until("ready")
    script.signal(number)
    script.until("asked")
    script.signal(number)
    assert script.end() == (0, ["ready", "asked", "aborting"], "")


def test_a_third_signal_ends_a_script_whose_loop_is_stuck(start: Start) -> None:
    script = start("""
        def stick():
            say("stuck")
            time.sleep(1000)
        async def later():
            await behind_the_last_line()
            stick()
        submit(listen).result()
        submit(later)
    """)
    script.until("stuck")
    assert signal_until_the_end(script, signal.SIGINT) >= 3
    code, said, errors = script.end()
    assert (code, said) == (0, ["stuck"])
    assert "Traceback" not in errors


def test_callbacks_behind_the_last_line_may_use_threads_and_look_up_names(start: Start) -> None:
    script = start("""
        async def live():
            await behind_the_last_line()
            loop = asyncio.get_running_loop()
            say(await asyncio.to_thread(lambda: "to_thread"))
            say(await loop.run_in_executor(None, lambda: "default executor"))
            say(bool(await loop.getaddrinfo("localhost", 80)) and "getaddrinfo")
        submit(live)
    """)
    assert script.end() == (0, ["to_thread", "default executor", "getaddrinfo"], "")


def test_callbacks_behind_the_last_line_may_start_threads_executors_and_processes(start: Start) -> None:
    script = start("""
        used = concurrent.futures.ThreadPoolExecutor(1)
        used.submit(int).result()
        def new_thread():
            thread = threading.Thread(target=say, args=("new thread",))
            thread.start()
            thread.join()
        def new_executor():
            with concurrent.futures.ThreadPoolExecutor(1) as executor:
                say(executor.submit(lambda: "new executor").result())
        async def process():
            done = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('process', flush=True)")
            await done.wait()
        async def live():
            await behind_the_last_line()
            say(used.submit(lambda: "used executor").result())
            for attempt in (new_thread, new_executor):
                try:
                    attempt()
                except RuntimeError as error:
                    say(error)
            await process()
        submit(live)
    """)
    code, said, errors = script.end()
    assert (code, errors) == (0, "")
    if NO_LATE_THREADS:
        refused = "can't create new thread at interpreter shutdown"
        assert said == ["used executor", refused, refused, "process"]
    else:
        assert said == ["used executor", "new thread", "new executor", "process"]


def test_nothing_can_begin_when_the_script_is_over(start: Start) -> None:
    script = start("""
        import atexit
        def late():
            try:
                submit(listen)
            except RuntimeError as error:
                say(error)
        atexit.register(late)
        submit(int).result()
    """)
    code, said, errors = script.end()
    assert (code, errors) == (0, "")
    assert said == ["the script has ended: begin before its last line, in a callback, or inside run()"]


# --- before the last line


def test_an_uncaught_exception_closes_everything_and_exits_1(start: Start) -> None:
    script = start("submit(listen).result(); raise LookupError('lost')")
    code, said, errors = script.end()
    assert (code, said) == (1, ["closing"])
    assert errors.startswith("Traceback")
    assert errors.endswith("LookupError: lost\n")


def test_an_uncaught_exception_is_seen_behind_a_replaced_excepthook(start: Start) -> None:
    script = start("submit(listen).result(); sys.excepthook = lambda *facts: None; raise LookupError")
    assert script.end() == (1, ["closing"], "")


def test_sys_exit_closes_everything_and_keeps_its_code(start: Start) -> None:
    assert start("submit(listen).result(); sys.exit(3)").end() == (3, ["closing"], "")


def test_a_script_run_by_another_script_is_judged_by_its_own_last_line(start: Start, tmp_path: Path) -> None:
    inner = tmp_path / "inner.py"
    inner.write_text(BEGIN + "server = submit(listen).result(); submit(say_ready)\n")
    script = start(f"import runpy; runpy.run_path({str(inner)!r}, run_name='__main__'); sys.exit(0)")
    script.until("ready")
    script.signal(signal.SIGTERM)
    assert script.end() == (0, ["ready", "closing"], "")


def test_ctrl_c_breaks_off_a_wait_for_a_handle(start: Start) -> None:
    script = start("""
        server = submit(listen).result()
        submit(say, "ready")
        submit(server.wait_closed).result()
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    code, said, errors = script.end()
    assert (code, said) == (-signal.SIGINT, ["ready", "closing"])
    assert errors.endswith("KeyboardInterrupt\n")


def test_a_script_that_catches_keyboard_interrupt_goes_on_and_then_ends(start: Start) -> None:
    script = start("""
        server = submit(listen).result()
        submit(say, "ready")
        try:
            submit(server.wait_closed).result()
        except KeyboardInterrupt:
            say("caught")
        say("last line")
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    assert script.end() == (0, ["ready", "caught", "last line", "closing"], "")


def test_a_script_that_begins_something_after_ctrl_c_is_held_again(start: Start) -> None:
    script = start("""
        server = submit(listen).result()
        submit(say, "first")
        try:
            submit(server.wait_closed).result()
        except KeyboardInterrupt:
            submit(say_ready)
    """)
    script.until("first")
    script.signal(signal.SIGINT)
    script.until("ready")
    script.signal(signal.SIGINT)
    assert script.end() == (0, ["first", "ready", "closing"], "")


def test_terminate_before_the_last_line_closes_everything_and_exits_143(start: Start) -> None:
    script = start("""
        server = submit(listen).result()
        try:
            submit(say, "ready")
            submit(server.wait_closed).result()
        finally:
            say("finally")
    """)
    script.until("ready")
    script.signal(signal.SIGTERM)
    assert script.end() == (128 + signal.SIGTERM, ["ready", "finally", "closing"], "")


def test_the_programs_own_handlers_are_kept(start: Start) -> None:
    script = start("""
        server = None
        def own(number, frame):
            say("own", signal.Signals(number).name)
            submit(server.close_gracefully)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, own)
        server = submit(listen).result()
        submit(say_ready)
    """)
    script.until("ready")
    script.signal(signal.SIGTERM)
    assert script.end() == (0, ["ready", "own SIGTERM", "closing"], "")


def test_a_handler_of_the_programs_own_that_raises_ends_the_script_gracefully(start: Start) -> None:
    script = start("""
        def own(number, frame):
            raise SystemExit(5)
        signal.signal(signal.SIGINT, own)
        submit(listen).result()
        submit(say_ready)
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    assert script.end() == (0, ["ready", "closing"], "")


def test_an_ignored_signal_stays_ignored(start: Start) -> None:
    script = start("""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        submit(listen).result()
        submit(say_ready)
    """)
    script.until("ready")
    script.signal(signal.SIGINT)
    script.signal(signal.SIGTERM)
    assert script.end() == (0, ["ready", "closing"], "")


def test_sys_exit_in_a_callback_closes_everything(start: Start) -> None:
    script = start("""
        server = submit(listen).result()
        background().loop.call_soon_threadsafe(sys.exit)
        submit(server.wait_closed).result()
        say("last line")
    """)
    assert script.end() == (0, ["closing", "last line"], "")


def test_an_interactive_interpreter_is_not_held(start: Start) -> None:
    code, said, errors = start("server = submit(listen).result(); say('last line')", "-i").end()
    assert (code, said) == (0, ["last line", "closing"])
    assert "Traceback" not in errors


def test_a_prompt_may_open_things_and_is_not_held(start: Start) -> None:
    code, said, errors = start("", "-i", stdin="server = submit(listen).result()\nsay('typed')\n").end()
    assert (code, said) == (0, ["typed", "closing"])
    assert "Traceback" not in errors


def test_an_error_nobody_asks_for_is_logged_when_it_happens(start: Start) -> None:
    script = start("""
        def fail():
            raise LookupError("lost")
        handle = submit(fail, what="the failing call")
        submit(int).result()
        say("went on")
        try:
            handle.result()
        except LookupError:
            say("raised all the same")
    """)
    code, said, errors = script.end()
    assert (code, said) == (0, ["went on", "raised all the same"])
    assert errors.startswith("the failing call failed: LookupError: lost\nTraceback")


# --- fork


def test_a_forked_child_ends_by_itself_and_may_open_things_of_its_own(start: Start) -> None:
    script = start(
        """
        server = submit(listen).result()
        never = submit(server.wait_closed)
        pid = os.fork()
        if pid == 0:
            try:
                never.result()
            except RuntimeError as error:
                say(error)
            say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
            own = submit(listen).result()
            submit(own.close_gracefully).result()
            say("child")
        else:
            os.waitpid(pid, 0)
            say("parent")
            submit(server.close_gracefully).result()
        """,
        # 3.12 warns of every fork with threads.
        "-W",
        "ignore::DeprecationWarning",
    )
    assert script.end() == (
        0,
        [
            "this event loop runs in the parent process; a forked child has to start its own",
            "True",
            "closing",
            "child",
            "parent",
            "closing",
        ],
        "",
    )


def test_a_multiprocessing_child_of_a_script_ends(start: Start) -> None:
    script = start(
        """
        import multiprocessing
        server = submit(listen).result()
        child = multiprocessing.get_context("fork").Process(target=say, args=("child",))
        child.start()
        child.join()
        say(child.exitcode)
        submit(server.close_gracefully).result()
        """,
        "-W",
        "ignore::DeprecationWarning",
    )
    assert script.end() == (0, ["child", "0", "closing"], "")
