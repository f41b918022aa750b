"""`run`, the background loop and signals, all within one process.

Signals to whole programs are in ``tests/net/test_run_scripts.py``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from loops import LIMIT, Thing, messages

from firefly_ws import runtime
from firefly_ws.runtime import (
    Handle,
    Runtime,
    background,
    current_loop,
    run,
    runtime_of,
    stop_background,
    submit,
)
from firefly_ws.signals import EndingSignals, ThirdSignal

# --- the background loop

pytestmark = pytest.mark.usefixtures("default_signals")


def test_the_background_loop_is_one_uvloop_in_a_daemon_thread() -> None:
    uvloop = pytest.importorskip("uvloop")
    try:
        first = background()
        assert background() is first
        assert isinstance(first.loop, uvloop.Loop)
        assert first.thread.daemon
        assert submit(threading.current_thread).result(LIMIT) is first.thread
    finally:
        stop_background()
    assert not first.thread.is_alive()
    assert first.loop.is_closed()


def test_stopping_the_background_loop_closes_what_is_open_and_lets_another_begin() -> None:
    async def open_one() -> Thing:
        return Thing(runtime_of(asyncio.get_running_loop()))

    before = background()
    thing = submit(open_one).result(LIMIT)
    stop_background()
    stop_background()
    assert thing.did == ["close"]
    assert background() is not before
    stop_background()


def test_the_background_loop_cannot_wait_for_its_own_end(script: Callable[..., Handle[Any]]) -> None:
    with pytest.raises(RuntimeError, match="waits for the loop"):
        script(stop_background).result(LIMIT)


def test_terminating_a_script_is_an_exit_only_while_there_is_a_background_loop() -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    background()
    try:
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 128 + signal.SIGTERM
    finally:
        stop_background()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# --- run


def test_run_returns_what_main_returns() -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return "result"

    async def later() -> str:
        return "awaited"

    assert run(main) == "result"
    assert run(lambda: "plain") == "plain"
    assert run(lambda: later()) == "awaited"


def test_run_is_on_uvloop_and_calls_a_plain_main_inside_the_loop() -> None:
    uvloop = pytest.importorskip("uvloop")

    def main() -> tuple[bool, bool]:
        return isinstance(current_loop(), uvloop.Loop), asyncio.current_task() is not None

    assert run(main) == (True, True)


def test_run_takes_asyncios_debug_mode() -> None:
    def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert run(main, debug=True) is True
    assert run(main, debug=False) is False


def test_run_refuses_what_is_no_function() -> None:
    async def main() -> None:
        raise AssertionError

    with pytest.raises(TypeError, match=r"run\(main\) and not run\(main\(\)\)"):
        run(main())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="main=3"):
        run(3)  # type: ignore[call-overload]


async def test_run_inside_a_running_loop_raises() -> None:
    with pytest.raises(RuntimeError, match="one is running in this thread already"):
        run(print)


def test_run_works_outside_the_main_thread() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert executor.submit(run, lambda: "result").result(LIMIT) == "result"


def test_an_exception_of_main_closes_everything_and_propagates() -> None:
    things: list[Thing] = []

    async def main() -> None:
        things.append(Thing(runtime_of(asyncio.get_running_loop())))
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        run(main)
    assert things[0].did == ["close"]


def test_run_returns_when_what_main_began_has_closed() -> None:
    things: list[Thing] = []

    async def main() -> str:
        thing = Thing(runtime_of(asyncio.get_running_loop()))
        things.append(thing)
        asyncio.get_running_loop().call_later(0.02, thing.end)
        return "result"

    assert run(main) == "result"
    assert things[0].did == []


def fail_to_listen(error: Exception) -> None:
    """As a server does whose bind error nobody awaits."""
    keeper = runtime_of(asyncio.get_running_loop())

    async def bind() -> None:
        await asyncio.sleep(0)
        raise error

    def bound(task: asyncio.Future[None]) -> None:
        failed = task.exception()
        assert failed is not None
        keeper.report(failed, "listening", fatal=True)

    task = asyncio.create_task(bind())
    keeper.begin_listen(task)
    task.add_done_callback(bound)


def test_a_bind_error_left_unawaited_is_raised_when_main_has_returned(caplog: Any) -> None:
    error = OSError("in use")
    things: list[Thing] = []

    def main() -> None:
        things.append(Thing(runtime_of(asyncio.get_running_loop())))
        fail_to_listen(error)

    with pytest.raises(OSError, match="in use") as raised:
        run(main)
    assert raised.value is error
    assert things[0].did == ["close"]
    assert messages(caplog) == ["listening failed: OSError: in use"]


def test_a_bind_error_left_unawaited_cancels_main() -> None:
    said: list[str] = []

    async def main() -> None:
        fail_to_listen(OSError("in use"))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append("cancelled")
            raise

    with pytest.raises(OSError, match="in use"):
        run(main)
    assert said == ["cancelled"]


def test_an_error_of_a_callback_is_reported_and_does_not_end_the_run(caplog: Any) -> None:
    async def main() -> str:
        runtime_of(asyncio.get_running_loop()).report(LookupError("lost"), "on_message")
        await asyncio.sleep(0)
        return "result"

    assert run(main) == "result"
    assert messages(caplog) == ["on_message failed: LookupError: lost"]


def test_a_main_that_cancels_itself_raises_cancelled_error() -> None:
    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(main)


def test_sys_exit_in_main_and_in_a_callback_closes_everything() -> None:
    things: list[Thing] = []

    def leave(code: int) -> None:
        raise SystemExit(code)

    async def in_main() -> None:
        things.append(Thing(runtime_of(asyncio.get_running_loop())))
        leave(3)

    async def in_callback() -> None:
        things.append(Thing(runtime_of(asyncio.get_running_loop())))
        asyncio.get_running_loop().call_soon(leave, 4)

    for code, main in ((3, in_main), (4, in_callback)):
        with pytest.raises(SystemExit) as left:
            run(main)
        assert left.value.code == code
        assert things.pop().did == ["close"]


def test_a_signal_in_a_run_gives_main_time_to_return_its_result() -> None:
    async def main() -> str:
        thing = Thing(runtime_of(asyncio.get_running_loop()))
        signal.raise_signal(signal.SIGTERM)
        await thing.wait_closed()
        return "result"

    assert run(main) == "result"


def test_an_exception_of_main_on_its_way_out_is_raised() -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("in the cleanup")

    with pytest.raises(LookupError, match="in the cleanup"):
        run(main)


def test_what_other_threads_ask_of_a_run_that_has_ended_raises() -> None:
    keepers: list[Runtime] = []
    run(lambda: keepers.append(runtime_of(asyncio.get_running_loop())))
    with pytest.raises(RuntimeError, match="has ended"):
        keepers[0].submit(int)


def test_runtime_exports_what_it_says() -> None:
    assert all(hasattr(runtime, name) for name in runtime.__all__)


# --- signals


def test_the_first_signals_are_calls_and_the_third_gets_out() -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with EndingSignals(lambda: said.append("ask"), lambda: said.append("abort")):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(ThirdSignal):
            signal.raise_signal(signal.SIGINT)
    assert said == ["ask", "abort"]
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_handlers_of_the_programs_own_are_neither_replaced_nor_restored_over() -> None:
    def own(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGINT, own)
    try:
        with EndingSignals(print, print):
            assert signal.getsignal(signal.SIGINT) is own
            signal.signal(signal.SIGTERM, own)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_no_handler_is_touched_outside_the_main_thread() -> None:
    before = signal.getsignal(signal.SIGINT)

    def enter() -> None:
        with EndingSignals(print, print):
            assert signal.getsignal(signal.SIGINT) is before

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(enter).result(LIMIT)
