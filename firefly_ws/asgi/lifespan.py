"""The lifespan of an ASGI application, by its specification 2.0: startup, shutdown, state; knows no server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .events import Application, Event, kind_of

__all__ = ["Lifespan", "LifespanFailed"]

_log = logging.getLogger("firefly_ws")


class LifespanFailed(Exception):
    """The application said that it could not start, and why."""


class Lifespan:
    """Runs the lifespan scope in one task, from `startup` to `shutdown`."""

    def __init__(self, app: Application, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._started: asyncio.Future[None] | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._is_kept = False  # the application takes part

    @property
    def state(self) -> dict[str, Any] | None:
        """What it left for the scopes of requests; ``None`` where it has no lifespan."""
        return self._state if self._is_kept else None

    @property
    def _has_started(self) -> bool:
        return self._started is not None and self._started.done() and self._started.exception() is None

    async def startup(self, patience: float | None) -> None:
        """Returns once it has started. Raises `LifespanFailed` where it says that it could not, or says nothing.

        An application that raises before it says anything has no lifespan. One that has said nothing within *patience*
        seconds is cancelled.
        """
        self._started = self._loop.create_future()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = self._loop.create_task(self._run(), name="firefly_ws ASGI lifespan")
        try:
            async with asyncio.timeout(patience):
                await self._started
        except TimeoutError:
            await self._cancel()
            raise LifespanFailed(
                f"it has not answered lifespan.startup within startup_timeout={patience} s; "
                ".asgi(app, startup_timeout=seconds) gives it longer"
            ) from None
        except BaseException:
            await self._cancel()
            raise

    async def shutdown(self, grace: float | None) -> None:
        """Returns once it has ended; what takes longer than *grace* seconds is cancelled."""
        task = self._task
        if task is None:
            return
        if self._is_kept and not task.done():
            self._stopped = self._loop.create_future()
            self._events.put_nowait({"type": "lifespan.shutdown"})
            _, late = await asyncio.wait({self._stopped, task}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            if len(late) == 2:
                _log.warning("the ASGI application did not shut down within grace=%s s and was cancelled", grace)
            elif self._stopped in late:
                self._stopped.cancel()
            elif self._stopped.exception() is not None:
                _log.error("the shutdown of the ASGI application failed: %s", self._stopped.exception())
        await self._cancel()

    def abort(self) -> None:
        """End now."""
        if self._task is not None:
            self._task.cancel()

    async def _cancel(self) -> None:
        """The task's end, asked for: behind shutdown.complete it has a moment for its own."""
        task = self._task
        self._task = None
        if task is not None:
            if not task.done() and self._stopped is not None and self._stopped.done():
                await asyncio.wait({task}, timeout=1)
            task.cancel()
            # Not for ever for one that does not let itself be cancelled.
            await asyncio.wait({task}, timeout=1)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._events.get, self._send)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if self._is_kept and self._has_started:
                _log.error("the lifespan of the ASGI application raised", exc_info=error)
            elif self._started is not None and not self._started.done():
                _log.info("the ASGI application has no lifespan: it raised %r", error)
        finally:
            started = self._started
            if started is not None and not started.done():
                started.set_result(None)

    async def _send(self, event: Event) -> None:
        kind = kind_of(event)
        phase, _, what = kind.removeprefix("lifespan.").partition(".")
        waiting = {"startup": self._started, "shutdown": self._stopped}.get(phase)
        if waiting is None or waiting.done() or what not in ("complete", "failed"):
            raise RuntimeError(f"send({kind!r}): not expected now in the lifespan scope")
        self._is_kept = True
        if what == "complete":
            waiting.set_result(None)
        else:
            waiting.set_exception(LifespanFailed(event.get("message") or "it gave no reason"))
