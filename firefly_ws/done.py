"""`DONE`: an awaitable that has already finished, bound to no loop (Firefly's ``Result.DONE``)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, final

__all__ = ["DONE", "Done"]


@final
class Done:
    """The type of `DONE`: finished with ``None``, reusable, awaited without suspending."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return _nothing()

    def done(self) -> bool:
        """Always true."""
        return True

    def cancelled(self) -> bool:
        """Never: there was nothing to cancel."""
        return False

    def result(self, timeout: float | None = None) -> None:
        """``None``, at once."""
        return None

    def exception(self, timeout: float | None = None) -> None:
        """``None``: it succeeded."""
        return None

    def add_done_callback(self, callback: Callable[[Done], object], *, context: Any = None) -> None:
        """Call ``callback(DONE)`` now."""
        if context is None:
            callback(self)
        else:
            context.run(callback, self)

    def remove_done_callback(self, callback: Callable[[Done], object]) -> int:
        """Zero: none waits."""
        return 0

    def cancel(self, msg: object = None) -> bool:
        """False: it has finished."""
        return False

    def __repr__(self) -> str:
        return "DONE"

    def __reduce__(self) -> str:
        return "DONE"


def _nothing() -> Generator[Any, None, None]:
    return
    yield


DONE: Final = Done()
