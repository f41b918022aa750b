"""Many small cases in one test: each runs, and each that fails is named. Knows nothing of what is tested.

A test costs pytest a few milliseconds before its first line; `parametrize` is for cases that have fixtures of their own
or take long, `for_each` for the hundreds that are one call and one comparison.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

__all__ = ["for_each"]

FAILURES = (Exception, pytest.fail.Exception)


class _Cases:
    """What `parametrize` takes, and what has failed of it."""

    def __init__(self, names: str | tuple[str, ...], values: Iterable[Any]) -> None:
        self.names = (names,) if isinstance(names, str) else names
        self.values = [(value,) if isinstance(names, str) else tuple(value) for value in values]
        assert self.values, f"there is no case of {names}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.names, values, strict=True)) for values in self.values)

    def note(self, error: BaseException, case: dict[str, Any]) -> BaseException:
        error.add_note("in the case " + ", ".join(f"{name}={value!r}" for name, value in case.items()))
        return error

    def fail(self, failed: list[BaseException]) -> None:
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise BaseExceptionGroup(f"{len(failed)} of {len(self.values)} cases fail", failed)


def for_each(names: str | tuple[str, ...], values: Iterable[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `pytest.mark.parametrize`, in one test: the cases share its fixtures, and a skip would skip them all."""
    cases = _Cases(names, values)

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(test):

            @functools.wraps(test)
            async def runs(**fixtures: Any) -> None:
                failed = []
                for case in cases:
                    try:
                        await test(**fixtures, **case)
                    except FAILURES as error:
                        failed.append(cases.note(error, case))
                cases.fail(failed)

        else:

            @functools.wraps(test)
            def runs(**fixtures: Any) -> None:
                failed = []
                for case in cases:
                    try:
                        test(**fixtures, **case)
                    except FAILURES as error:
                        failed.append(cases.note(error, case))
                cases.fail(failed)

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in cases.names]
        runs.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return runs

    return decorate
