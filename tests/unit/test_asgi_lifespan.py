"""Startup, shutdown and state of an application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firefly_ws.asgi.lifespan import Lifespan, LifespanFailed


def lifespan(app: Any) -> Lifespan:
    return Lifespan(app, asyncio.get_running_loop())


async def test_state_is_what_the_application_leaves_there(caplog: Any) -> None:
    said = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.append((await receive())["type"])
        scope["state"]["db"] = scope["type"]
        await send({"type": "lifespan.startup.complete"})
        said.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})
        await asyncio.sleep(0)
        said.append("end")

    one = lifespan(app)
    await one.startup(5)
    assert one.state == {"db": "lifespan"}
    await one.shutdown(1)
    await one.shutdown(1)
    assert said == ["lifespan.startup", "lifespan.shutdown", "end"]
    assert not caplog.records


async def test_an_application_without_lifespan_is_fine() -> None:
    async def raises(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async def returns(scope: Any, receive: Any, send: Any) -> None:
        return

    for app in (raises, returns):
        one = lifespan(app)
        await one.startup(5)
        assert one.state is None
        await one.shutdown(1)


async def test_a_startup_that_fails_says_why() -> None:
    for message in ({"message": "no database"}, {}):

        async def app(scope: Any, receive: Any, send: Any, message: Any = message) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", **message})
            raise RuntimeError("as Starlette does")

        with pytest.raises(LifespanFailed, match=message.get("message", "it gave no reason")):
            await lifespan(app).startup(5)


async def test_what_goes_wrong_at_the_end_is_logged_and_no_more(caplog: Any) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "stuck"})

    async def raises(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await receive()
        raise ValueError("boom")

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        await asyncio.Event().wait()

    for app, words in ((fails, "failed: stuck"), (raises, "lifespan of the ASGI application raised"),
                       (hangs, "within grace=0")):  # fmt: skip
        caplog.clear()
        one = lifespan(app)
        await one.startup(5)
        await one.shutdown(0 if app is hangs else 1)
        assert words in caplog.text


async def test_events_that_are_not_expected_raise_from_send() -> None:
    errors = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for kind in ("lifespan.shutdown.complete", "lifespan.startup", "http.response.start"):
            try:
                await send({"type": kind})
            except RuntimeError as error:
                errors.append(str(error))
        await send({"type": "lifespan.startup.complete"})
        with pytest.raises(RuntimeError, match="not expected now"):
            await send({"type": "lifespan.startup.complete"})

    one = lifespan(app)
    await one.startup(5)
    await one.shutdown(1)
    assert len(errors) == 3


async def test_a_cancelled_startup_leaves_nothing_behind() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    one = lifespan(app)
    starting = asyncio.create_task(one.startup(5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_startup_that_is_never_answered_ends_at_its_limit_and_names_it() -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def reads_on(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await receive()

    for app in (waits, reads_on):
        with pytest.raises(LifespanFailed, match=r"startup_timeout=0\.01 s; \.asgi\(app, startup_timeout=seconds\)"):
            await lifespan(app).startup(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_without_a_limit_a_startup_may_take_its_time() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.02)
        await send({"type": "lifespan.startup.complete"})

    one = lifespan(app)
    await one.startup(None)
    assert one.state == {}
    await one.shutdown(1)
