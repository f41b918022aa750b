"""What a loop keeps, the mailbox, and its end."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import threading
import weakref
from typing import Any

import pytest
from loops import LIMIT, Thing, in_thread, messages, word

from firefly_ws import per_loop
from firefly_ws.runtime import (
    Runtime,
    current_loop,
    new_event_loop,
    runtime_of,
)

# --- one runtime per loop

pytestmark = pytest.mark.usefixtures("default_signals")


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


async def test_a_connect_does_not_wait_for_the_listen_it_is_a_part_of(here: Runtime) -> None:
    other = here.loop.create_future()

    async def listen() -> None:
        here.inside_listen()
        connect = asyncio.create_task(here.listens_settled())  # begun in a task of the startup, as a connect is
        await asyncio.sleep(0)
        assert not connect.done()
        other.set_result(None)
        await asyncio.wait_for(connect, LIMIT)

    listening = asyncio.create_task(listen())
    here.begin_listen(listening)
    here.begin_listen(other)
    await asyncio.wait_for(asyncio.gather(listening, here.listens_settled()), LIMIT)


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
