"""One call of an ASGI application, run to its end; what that end means, those who inherit know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from .events import Application, Event, Scope

__all__ = ["Call"]


class Call:
    """`run` calls the application with the scope, ``receive`` and ``send``."""

    __slots__ = ("_app", "_scope")

    _log = logging.getLogger("firefly_ws")

    def __init__(self, app: Application, scope: Scope) -> None:
        self._app = app
        self._scope = scope

    @property
    def _name(self) -> str:
        """The application and what it was asked for, for the log."""
        raise NotImplementedError

    async def run(self) -> None:
        """Run the application."""
        try:
            result = await self._app(self._scope, self.receive, self.send)
            if result is not None:
                self._log.error("%s returned %r; an ASGI application returns None", self._name, result)
        except asyncio.CancelledError:
            self._cancelled()
            raise
        except Exception as error:
            rest = self._ended(error)
        else:
            rest = self._ended(None)
        if rest is not None:
            await rest

    def _cancelled(self) -> None:
        raise NotImplementedError

    def _ended(self, error: Exception | None) -> Awaitable[None] | None:
        """It raised, or (None) returned; what is still to be done for it is awaited."""
        raise NotImplementedError

    async def receive(self) -> Event:
        """The next event for the application."""
        raise NotImplementedError

    async def send(self, event: Event) -> None:
        """Take an event of the application."""
        raise NotImplementedError
