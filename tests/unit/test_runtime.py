"""What a loop keeps, handles and the mailbox, `run` and the background loop, all within one process.

Signals to whole programs, and scripts behind their last line, are in ``tests/net/test_scripts.py``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import logging
import signal
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from firefly_ws import per_loop, runtime
from firefly_ws._core.done import DONE
from firefly_ws.runtime import (
    Handle,
    Runtime,
    background,
    current_loop,
    new_event_loop,
    run,
    runtime_of,
    stop_background,
    submit,
)
from firefly_ws.signals import EndingSignals, ThirdSignal

LIMIT = 20  # seconds; only a failing test comes near

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="nothing")


@pytest.fixture
async def here() -> Runtime:
    return runtime_of(asyncio.get_running_loop())


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    """A test run that is itself a background job of a shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def script() -> Iterator[Callable[..., Handle[Any]]]:
    """`submit`, onto a background loop that ends with the test."""
    yield submit
    stop_background()


class Thing:
    """Something open, which notes what is done to it."""

    def __init__(self, keeper: Runtime, *, stubborn: bool = False, error: Exception | None = None) -> None:
        self.keeper = keeper
        self.stubborn = stubborn
        self.error = error
        self.did: list[str] = []
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()
        keeper.track(self)

    async def close_gracefully(self) -> None:
        self.did.append("close")
        self.asked.set()
        if self.error is not None:
            raise self.error
        if self.stubborn:
            await asyncio.Event().wait()
        self.end()

    async def wait_closed(self) -> None:
        await self.ended.wait()

    def abort(self) -> None:
        self.did.append("abort")
        self.end()

    def end(self) -> None:
        self.keeper.untrack(self)
        self.ended.set()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def in_thread(call: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
    return asyncio.wait_for(asyncio.to_thread(call), LIMIT)


# --- one runtime per loop


async def test_a_loop_has_one_runtime(here: Runtime) -> None:
    assert runtime_of(here.loop) is here
    assert current_loop() is here.loop


def test_no_loop_is_current_in_a_script() -> None:
    assert current_loop() is None


def test_a_runtime_does_not_keep_its_loop_alive() -> None:
    loop = asyncio.new_event_loop()
    of_loop, dropped = runtime_of(loop), weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert dropped() is None
    with pytest.raises(RuntimeError, match="ended"):
        _ = of_loop.loop
    with pytest.raises(RuntimeError, match="ended"):
        of_loop.mailbox.post(print)


def test_what_a_closed_loop_still_tracked_does_not_keep_it_alive() -> None:
    async def leave_open() -> None:
        Thing(runtime_of(asyncio.get_running_loop())).loop = asyncio.get_running_loop()  # type: ignore[attr-defined]

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_open())
    loop.close()
    dropped = weakref.ref(loop)
    del loop
    other = asyncio.new_event_loop()
    runtime_of(other)
    other.close()
    gc.collect()
    assert dropped() is None


# --- what is open


async def test_tracked_things_are_told_oldest_first_until_untracked(here: Runtime) -> None:
    first, second = Thing(here), Thing(here)
    assert list(here.tracked) == [first, second]
    assert not here.is_idle
    here.untrack(first)
    here.untrack(first)
    assert list(here.tracked) == [second]
    here.untrack(second)
    assert here.is_idle


async def test_a_held_task_is_not_collected(here: Runtime) -> None:
    waiting = asyncio.Event()

    async def held() -> str:
        await waiting.wait()
        return "finished"

    task = weakref.ref(here.hold(asyncio.create_task(held())))
    await asyncio.sleep(0)
    gc.collect()
    alive = task()
    assert alive is not None
    assert not here.is_idle
    waiting.set()
    assert await alive == "finished"
    await here.wait_idle()


async def test_holding_what_is_done_changes_nothing(here: Runtime) -> None:
    done: asyncio.Future[None] = here.loop.create_future()
    done.set_result(None)
    assert here.hold(done) is done
    here.begin_listen(done)
    assert here.is_idle
    await here.listens_settled()


async def test_idle_is_waited_for_until_the_last_thing_has_ended(here: Runtime) -> None:
    first, second = Thing(here), Thing(here)
    idle = asyncio.create_task(here.wait_idle())
    first.end()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not idle.done()
    second.end()
    await asyncio.wait_for(idle, LIMIT)


async def test_what_begins_as_the_last_thing_ends_keeps_the_loop_busy(here: Runtime) -> None:
    first = Thing(here)
    idle = asyncio.create_task(here.wait_idle())
    await asyncio.sleep(0)
    first.end()
    second = Thing(here)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not idle.done()
    second.end()
    await asyncio.wait_for(idle, LIMIT)


# --- listen before connect


async def test_a_connect_waits_for_the_listens_begun_before_it_and_for_no_later_one(here: Runtime) -> None:
    earlier, failing, later = (here.loop.create_future() for _ in range(3))
    here.begin_listen(earlier)
    here.begin_listen(failing)
    connect = asyncio.create_task(here.listens_settled())
    await asyncio.sleep(0)
    here.begin_listen(later)
    earlier.set_result(None)
    await asyncio.sleep(0)
    assert not connect.done()
    failing.set_exception(OSError("in use"))
    await asyncio.wait_for(connect, LIMIT)
    assert not here.is_idle
    later.set_result(None)
    assert isinstance(failing.exception(), OSError)
    await asyncio.wait_for(here.wait_idle(), LIMIT)


async def test_a_connect_without_a_listen_does_not_suspend(here: Runtime) -> None:
    with pytest.raises(StopIteration):
        here.listens_settled().send(None)


# --- errors


async def test_a_reported_error_is_logged_at_error_with_its_traceback(here: Runtime, caplog: Any) -> None:
    try:
        raise OSError(98, "Address already in use")
    except OSError as error:
        here.report(error, "listening on port 80")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("firefly_ws", logging.ERROR)
    assert record.getMessage() == "listening on port 80 failed: OSError: [Errno 98] Address already in use"
    assert record.exc_info[2] is not None


async def test_only_a_fatal_error_ends_the_run(here: Runtime) -> None:
    fatal: list[BaseException] = []
    here.on_fatal = fatal.append
    error = OSError("in use")
    here.report(LookupError("of a callback"), "on_message")
    here.report(error, "listening", fatal=True)
    assert fatal == [error]


# --- the mailbox


class CountingLoop(asyncio.SelectorEventLoop):
    wakes = 0

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        self.wakes += 1
        return super().call_soon_threadsafe(*args, **options)


def test_calls_from_another_thread_wake_the_loop_once_and_keep_their_order() -> None:
    loop = CountingLoop()
    mailbox = runtime_of(loop).mailbox
    seen: list[int] = []

    def post() -> None:
        for number in range(1000):
            mailbox.post(seen.append, number)

    thread = threading.Thread(target=post)
    thread.start()
    thread.join()
    assert loop.wakes == 1
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == list(range(1000))
    mailbox.post(seen.append, 1000)
    assert loop.wakes == 2
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert seen[-1] == 1000
    with pytest.raises(RuntimeError, match="closed"):
        mailbox.post(print)


async def test_many_threads_lose_no_call(here: Runtime) -> None:
    seen: list[tuple[int, int]] = []
    done = asyncio.Event()

    def post(thread: int) -> None:
        for number in range(500):
            here.mailbox.post(seen.append, (thread, number))

    async def all_ended() -> None:
        await asyncio.gather(*(in_thread(functools.partial(post, thread)) for thread in range(8)))
        here.mailbox.post(done.set)

    await all_ended()
    await asyncio.wait_for(done.wait(), LIMIT)
    for thread in range(8):
        assert [number for one, number in seen if one == thread] == list(range(500))
    assert len(seen) == 8 * 500


async def test_a_call_that_raises_is_reported_and_does_not_stop_the_next(here: Runtime, caplog: Any) -> None:
    def fail() -> None:
        raise LookupError("lost")

    seen: list[str] = []
    here.mailbox.post(fail)
    here.mailbox.post(seen.append, "next")
    await asyncio.sleep(0)
    assert seen == ["next"]
    assert messages(caplog)[0].endswith("failed: LookupError: lost")


def test_a_call_that_leaves_the_loop_does_not_take_the_next_with_it() -> None:
    loop = new_event_loop()
    mailbox = runtime_of(loop).mailbox
    seen: list[str] = []

    def leave() -> None:
        raise SystemExit

    mailbox.post(leave)
    mailbox.post(seen.append, "next")
    with pytest.raises(SystemExit):
        loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert seen == ["next"]


async def test_a_call_that_posts_another_lets_the_loop_turn_between(here: Runtime) -> None:
    seen: list[str] = []
    here.mailbox.post(lambda: here.mailbox.post(seen.append, "second"))
    here.loop.call_soon(seen.append, "first")
    for _ in range(3):
        await asyncio.sleep(0)
    assert seen == ["first", "second"]


async def test_a_posted_call_runs_in_the_context_it_was_posted_from(here: Runtime) -> None:
    seen: list[str] = []

    def post(said: str) -> None:
        word.set(said)
        here.mailbox.post(lambda: seen.append(word.get()))

    await in_thread(lambda: post("one"))
    await in_thread(lambda: post("two"))
    await asyncio.sleep(0)
    assert seen == ["one", "two"]


# --- handles


def test_a_handle_gives_what_the_call_returns_awaited_if_it_can_be(script: Callable[..., Handle[Any]]) -> None:
    async def coroutine(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def future() -> int:
        made = asyncio.get_running_loop().create_future()
        made.set_result(3)
        return await asyncio.shield(made)

    assert script(lambda: 1).result(LIMIT) == 1
    assert script(coroutine, 2).result(LIMIT) == 2
    assert script(lambda: asyncio.ensure_future(future())).result(LIMIT) == 3
    assert script(lambda: DONE).result(LIMIT) is None
    handle = script(lambda: 4)
    assert (handle.exception(LIMIT), handle.done(), handle.result(), handle.result(0)) == (None, True, 4, 4)


def test_a_handle_raises_the_calls_error(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    release = threading.Event()

    async def fail() -> None:
        await asyncio.to_thread(release.wait, LIMIT)
        raise LookupError("lost")

    handle = script(fail)
    threading.Timer(0.05, release.set).start()
    with pytest.raises(LookupError, match="lost"):
        handle.result(LIMIT)
    assert isinstance(handle.exception(), LookupError)
    # Somebody was waiting for it.
    assert messages(caplog) == []


def test_an_error_nobody_waits_for_is_logged_as_it_happens(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    def fail() -> None:
        raise LookupError("lost")

    handle = script(fail, what="the failing call")
    script(int).result(LIMIT)
    assert messages(caplog) == ["the failing call failed: LookupError: lost"]
    with pytest.raises(LookupError):
        handle.result()
    assert len(messages(caplog)) == 1


def test_an_error_that_comes_after_the_wait_was_given_up_is_logged(
    script: Callable[..., Handle[Any]], caplog: Any
) -> None:
    release = threading.Event()

    async def fail() -> None:
        await asyncio.to_thread(release.wait, LIMIT)
        raise LookupError("lost")

    handle = script(fail)
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    release.set()
    concurrent.futures.wait([handle], LIMIT)
    script(int).result(LIMIT)
    assert len(messages(caplog)) == 1


def test_an_error_is_not_logged_for_a_handle_with_a_callback(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    release, told = threading.Event(), threading.Event()
    seen: list[BaseException | None] = []

    async def fail() -> None:
        await asyncio.to_thread(release.wait, LIMIT)
        raise LookupError("lost")

    def tell(handle: concurrent.futures.Future[Any]) -> None:
        seen.append(handle.exception())
        told.set()

    script(fail).add_done_callback(tell)
    release.set()
    assert told.wait(LIMIT)
    assert isinstance(seen[0], LookupError)
    assert messages(caplog) == []


def test_a_calls_own_timeout_error_is_not_taken_for_the_waits(script: Callable[..., Handle[Any]]) -> None:
    error = TimeoutError("of the call")

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise error

    with pytest.raises(TimeoutError) as raised:
        script(fail).result(LIMIT)
    assert raised.value is error


def test_a_wait_is_longer_than_its_slices(script: Callable[..., Handle[Any]]) -> None:
    assert script(asyncio.sleep, 0.5, "slept").result() == "slept"


def test_sys_exit_in_a_call_is_the_callers_and_leaves_the_loop_running(script: Callable[..., Handle[Any]]) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        script(leave).result(LIMIT)
    assert script(lambda: "runs").result(LIMIT) == "runs"


def test_cancelling_a_handle_cancels_the_call(script: Callable[..., Handle[Any]]) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def call() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    handle = script(call)
    assert begun.wait(LIMIT)
    assert handle.cancel()
    assert ended.wait(LIMIT)
    with pytest.raises(concurrent.futures.CancelledError):
        handle.result(LIMIT)
    finished = script(int)
    finished.result(LIMIT)
    assert not finished.cancel()


def test_a_handle_cancelled_before_its_turn_is_never_begun(script: Callable[..., Handle[Any]]) -> None:
    blocked, release, ran = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        release.wait(LIMIT)

    script(block)
    assert blocked.wait(LIMIT)
    handle = script(ran.set)
    assert handle.cancel()
    release.set()
    script(int).result(LIMIT)
    assert handle.cancelled()
    assert not ran.is_set()


def test_a_call_that_is_cancelled_elsewhere_cancels_its_handle(script: Callable[..., Handle[Any]]) -> None:
    async def call() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(concurrent.futures.CancelledError):
        script(call).result(LIMIT)


def test_an_error_after_the_cancellation_is_logged(script: Callable[..., Handle[Any]], caplog: Any) -> None:
    begun = threading.Event()

    async def call() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("in the cleanup")

    handle = script(call)
    assert begun.wait(LIMIT)
    handle.cancel()
    script(asyncio.sleep, 0.01).result(LIMIT)
    assert messages(caplog)[0].endswith("failed: LookupError: in the cleanup")


def test_waiting_on_the_loop_that_has_to_do_the_work_raises(script: Callable[..., Handle[Any]]) -> None:
    def wait() -> None:
        script(int, what="the inner call").result()

    with pytest.raises(RuntimeError, match=r"the inner call: .* await the handle instead"):
        script(wait).result(LIMIT)


def test_a_handle_may_be_awaited_on_its_own_loop(script: Callable[..., Handle[Any]]) -> None:
    async def outer() -> Any:
        return await script(lambda: "inner")

    assert script(outer).result(LIMIT) == "inner"


async def test_a_handle_may_be_awaited_on_another_loop(here: Runtime) -> None:
    try:
        assert await submit(asyncio.sleep, 0, "slept") == "slept"
    finally:
        await in_thread(stop_background)


async def test_another_thread_submits_to_a_running_loop(here: Runtime) -> None:
    async def inside() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    handle = here.submit(inside)
    assert not here.is_idle
    assert await in_thread(lambda: handle.result(LIMIT)) is here.loop
    assert await in_thread(lambda: here.submit(inside).result(LIMIT)) is here.loop
    await asyncio.wait_for(here.wait_idle(), LIMIT)


def test_a_handle_says_what_it_is(script: Callable[..., Handle[Any]]) -> None:
    handle = script(int, what="counting")
    handle.result(LIMIT)
    assert repr(handle) == "<Handle of counting: finished>"
    assert repr(script(int)).startswith("<Handle of int: ")


# --- the end of a loop


async def test_closing_everything_also_closes_what_opens_meanwhile(here: Runtime) -> None:
    class Opening(Thing):
        async def close_gracefully(self) -> None:
            self.other = Thing(here)
            await super().close_gracefully()

    first = Opening(here)
    await asyncio.wait_for(here.close_all(), LIMIT)
    assert (first.did, first.other.did) == (["close"], ["close"])
    assert here.is_idle


async def test_what_does_not_close_in_time_is_aborted(here: Runtime) -> None:
    thing = Thing(here, stubborn=True)
    await asyncio.wait_for(here.close_all(limit=0.01), LIMIT)
    assert thing.did == ["close", "abort"]
    assert here.is_idle


async def test_what_fails_to_close_is_reported_and_aborted(here: Runtime, caplog: Any) -> None:
    class Broken(Thing):
        def abort(self) -> None:
            raise LookupError("abort")

    thing, broken = Thing(here, error=LookupError("close")), Broken(here, error=LookupError("close too"))
    await asyncio.wait_for(here.close_all(), LIMIT)
    assert thing.did == ["close", "abort"]
    assert [message.rsplit(": ", 1)[1] for message in messages(caplog)] == ["close", "close too", "abort"]
    assert here.is_idle
    assert broken.did == ["close"]


async def test_aborting_everything_ends_a_graceful_closing(here: Runtime) -> None:
    thing = Thing(here, stubborn=True)
    closing = asyncio.create_task(here.close_all())
    await asyncio.wait_for(thing.asked.wait(), LIMIT)
    here.abort_all()
    await asyncio.wait_for(closing, LIMIT)
    assert thing.did == ["close", "abort"]


async def test_callbacks_may_end_after_the_closing_and_are_cancelled_when_they_do_not(
    here: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_loop, "CALLBACK_GRACE", 0.05)
    said: list[str] = []

    async def callback(seconds: float, word: str) -> None:
        try:
            await asyncio.sleep(seconds)
            said.append(word)
        except asyncio.CancelledError:
            said.append("cancelled")
            raise

    here.hold(asyncio.create_task(callback(0.01, "ended")))
    here.hold(asyncio.create_task(callback(LIMIT, "late")))
    await here.close_all()
    await asyncio.sleep(0)
    assert said == ["ended", "cancelled"]
    assert here.is_idle


def test_what_a_loop_never_came_to_fails_when_it_has_ended(caplog: Any) -> None:
    loop = new_event_loop()
    of_loop = runtime_of(loop)
    handle = of_loop.submit(int)
    loop.close()
    of_loop.bury("the loop has ended")
    with pytest.raises(RuntimeError, match="the loop has ended"):
        handle.result()
    with pytest.raises(RuntimeError, match="the loop has ended"):
        of_loop.submit(int)
    assert len(messages(caplog)) == 1


# --- the background loop


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
