"""Whether a server is well, for whoever balances load or restarts it; knows of the server whether it takes on work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from .callables import check_callable
from .http.answers import prefers
from .http.request import Request
from .http.response import Response
from .settled import settled

__all__ = ["Health", "Patient", "check_table"]

_log = logging.getLogger("firefly_ws")

_FAILED, _LATE, _OK = "failed", "timeout", "ok"


class Patient(Protocol):
    """Whose health it is."""

    @property
    def is_draining(self) -> bool:
        """It takes nothing new on."""


def check_table(checks: object) -> dict[str, Callable[[], Any]]:
    """*checks* by name; raises ``TypeError`` and ``ValueError`` for what is no set of callables with names."""
    if isinstance(checks, Mapping):
        pairs = list(checks.items())
    elif isinstance(checks, Iterable) and not isinstance(checks, (str, bytes)):
        pairs = [(getattr(one, "__name__", None), one) for one in checks]
    else:
        raise TypeError(f"checks={checks!r} must be a mapping of names to callables, or callables that have names")
    table: dict[str, Callable[[], Any]] = {}
    for name, check in pairs:
        check_callable(f"checks: {check!r}", check)
        if not isinstance(name, str) or not name:
            raise TypeError(f"checks: {check!r} has no name; give a mapping, {{'database': …}}")
        if name in table:
            raise ValueError(f"checks: two are called {name!r}; give a mapping, {{'database': …}}")
        table[name] = check
    return table


class Health:
    """Answers at one path."""

    def __init__(self, checks: Mapping[str, Callable[[], Any]], timeout: float | None) -> None:
        self._checks = checks
        self._timeout = timeout
        self._failing: set[str] = set()  # which the log knows of

    def __call__(self, server: Patient, request: Request) -> Any:
        """A `Response`, or a coroutine of one where checks have to be awaited."""
        if server.is_draining:
            return _answer(request, "draining", {})
        found: dict[str, str] = {}
        waiting: dict[str, Any] = {}
        for name, check in self._checks.items():
            found[name] = _OK  # they are told in their order
            try:
                value = check()
            except Exception as error:
                found[name] = self._heard(name, _FAILED, error)
                continue
            if hasattr(value, "__await__") or (hasattr(value, "add_done_callback") and hasattr(value, "result")):
                waiting[name] = value
            else:
                found[name] = self._judged(name, value)
        return self._later(request, found, waiting) if waiting else _verdict(request, found)

    async def _later(self, request: Request, found: dict[str, str], waiting: dict[str, Any]) -> Response:
        """All of them at once, so that the answer takes as long as the slowest."""
        results = await asyncio.gather(*(self._awaited(name, value) for name, value in waiting.items()))
        return _verdict(request, found | dict(zip(waiting, results, strict=True)))

    async def _awaited(self, name: str, value: Any) -> str:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                result = await settled(value)
        except Exception as error:
            return self._heard(name, _LATE if limit.expired() else _FAILED, error)
        return self._judged(name, result)

    def _judged(self, name: str, value: object) -> str:
        """What a check returned: ``False`` is a failure, anything else is not."""
        return self._heard(name, _FAILED if value is False else _OK)

    def _heard(self, name: str, result: str, error: Exception | None = None) -> str:
        """Say in the log what has changed: probes come every few seconds."""
        if result == _OK:
            if name in self._failing:
                self._failing.discard(name)
                _log.info("the health check %r succeeds again", name)
        elif name not in self._failing:
            self._failing.add(name)
            if result == _LATE:
                _log.error("the health check %r did not end within timeout=%s s", name, self._timeout)
            elif error is None:
                _log.error("the health check %r failed: it returned False", name)
            else:
                _log.error("the health check %r failed", name, exc_info=error)
        return result


def _verdict(request: Request, found: dict[str, str]) -> Response:
    failing = any(result != _OK for result in found.values())
    return _answer(request, "failing" if failing else "ok", found)


def _answer(request: Request, status: str, checks: dict[str, str]) -> Response:
    """JSON, or lines of text where they are asked for; the peer is told names, never what an exception says."""
    code = 200 if status == "ok" else 503
    headers = [("Cache-Control", "no-store")]
    if prefers(request, "application/json", "text/plain") == "text/plain":
        lines = [status, *(f"{name}: {result}" for name, result in checks.items())]
        return Response.text(code, "\n".join(lines), headers)
    return Response(code, {"status": status, **({"checks": checks} if checks else {})}, headers)
