"""Whether what was given as a callback can be called as it will be; knows signatures, and nothing of who calls."""

from __future__ import annotations

import inspect
from types import CodeType, FunctionType

__all__ = ["check_callable"]


def check_callable(what: str, callback: object, *arguments: str, plain: bool = False, yields: bool = False) -> None:
    """``TypeError``, beginning with *what*, where *callback* cannot be called with these positional *arguments*.

    The same for a coroutine function where it must be *plain*, since nobody awaits what it returns, and for a
    generator function, whose values nobody asks for, unless it *yields* rightly. A callable that does not tell
    its signature, as some that are written in C, is taken at its word.
    """
    if not callable(callback):
        raise TypeError(f"{what}: a callback must be callable, not {type(callback).__name__}")
    if plain and inspect.iscoroutinefunction(callback):
        raise TypeError(f"{what}: it must be a plain function, not an async one: its answer is needed at once")
    if not yields and (inspect.isgeneratorfunction(callback) or inspect.isasyncgenfunction(callback)):
        raise TypeError(f"{what}: a generator function does nothing when it is called; nobody would ask for its values")
    if isinstance(callback, FunctionType) and _plainly_takes(callback.__code__, len(arguments)):
        return
    try:
        # Not of what functools.wraps points to: a decorator may add an argument, or take one away.
        signature = inspect.signature(callback, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        called = ", ".join(arguments)
        raise TypeError(f"{what}: it is called with ({called}), but its parameters are {signature}: {error}") from None


def _plainly_takes(code: CodeType, number: int) -> bool:
    return code.co_argcount == number and not code.co_kwonlyargcount
