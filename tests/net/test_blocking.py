"""Callbacks that block a loop: told once for each place, with the stack, and no thread is left behind."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from peers import text

from firefly_ws import HttpConfig, http_server, run
from firefly_ws.blocking import VARIABLE, watch_blocking

LOOP = "firefly_ws.loop"


def watchers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "firefly_ws blocking"]


def block_until(true: Callable[[], object]) -> None:
    """Keep the loop from its work until somebody has noticed."""
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)


def told(caplog: Any, level: int = logging.WARNING) -> list[Any]:
    return [one for one in caplog.records if one.name == LOOP and one.levelno == level]


async def test_a_callback_that_blocks_is_told_once_with_its_name_line_and_stack(plain: Any, caplog: Any) -> None:
    def first(data: str, connection: Any) -> None:
        inner(1)
        connection.send(data)

    def inner(number: int) -> None:
        block_until(lambda: len(told(caplog)) >= number)

    async def other() -> None:
        inner(2)

    route = plain.route().on_text(first)
    route.slow_callback(0.02)
    peer = await plain.serve(route)
    (watcher,) = watchers()
    peer.write(text("x"))
    assert (await peer.frame()).payload == b"x"
    await asyncio.create_task(other())
    peer.write(text("y"))
    assert (await peer.frame()).payload == b"y"
    one, two = told(caplog)
    assert one.callback.endswith("<locals>.first")
    assert two.callback.endswith("<locals>.other")
    assert one.place.startswith(f"{__file__}:")
    assert one.blocked >= 0.02
    for words in ("the event loop has been blocked for", "asyncio.to_thread", "in first", "in inner", "block_until"):
        assert words in one.getMessage()
    assert "peers.py" not in one.getMessage(), "only what the callback has called"
    await plain.end()
    assert not watcher.is_alive()


async def test_the_end_of_a_block_is_told_with_its_length(plain: Any, caplog: Any) -> None:
    release = watch_blocking(asyncio.get_running_loop(), 0.02)
    await asyncio.sleep(0)
    block_until(lambda: told(caplog))
    async with asyncio.timeout(5):
        while not told(caplog, logging.INFO):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    release()
    assert watchers() == []
    assert told(caplog, logging.INFO)[0].blocked > 0


async def test_the_shortest_time_of_several_holds_and_the_last_one_ends_the_thread() -> None:
    loop = asyncio.get_running_loop()
    long, short = watch_blocking(loop, 60), watch_blocking(loop, 30)
    assert len(watchers()) == 1
    short()
    short()
    await asyncio.sleep(0)
    assert len(watchers()) == 1
    long()
    assert watchers() == []


async def test_by_default_there_is_no_thread_and_the_environment_may_ask_for_one(
    plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plain.listen(plain.route().discard())
    assert watchers() == []
    monkeypatch.setenv(VARIABLE, "30")
    server = await plain.listen(plain.route().discard())
    assert len(watchers()) == 1
    await server.close()
    assert watchers() == []
    monkeypatch.setenv(VARIABLE, "often")
    with pytest.raises(ValueError, match="FIREFLY_WS_SLOW_CALLBACK='often' must be a number of seconds"):
        http_server().websocket("/").discard().listen("127.0.0.1", 0)


def test_run_watches_for_as_long_as_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, LOOP)

    async def main() -> None:
        await asyncio.sleep(0)
        block_until(lambda: told(caplog))

    run(main, slow_callback=0.02)
    assert told(caplog)[0].callback.endswith("<locals>.main")
    assert watchers() == []


def test_a_loop_that_is_closed_takes_its_thread_with_it() -> None:
    loop = asyncio.new_event_loop()
    watch_blocking(loop, 0.005)
    loop.run_until_complete(asyncio.sleep(0))
    (watcher,) = watchers()
    loop.close()
    watcher.join(5)
    assert not watcher.is_alive()


def test_a_bad_time_is_refused_by_the_call_that_got_it() -> None:
    for bad in (0, -1, "1", True):
        with pytest.raises((ValueError, TypeError), match="slow_callback="):
            http_server().slow_callback(bad)  # type: ignore[arg-type]
        with pytest.raises((ValueError, TypeError), match="slow_callback="):
            HttpConfig(slow_callback=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slow_callback=0"):
        run(lambda: None, slow_callback=0)
