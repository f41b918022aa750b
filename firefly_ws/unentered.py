"""What a builder says to ``async with`` where its last call is missing; knows that call's words, and no builder."""

from __future__ import annotations

from typing import ClassVar, NoReturn

__all__ = ["Unentered"]


class Unentered:
    """A builder that holds nothing open yet, so that there is nothing to enter."""

    __slots__ = ()

    #: What can be entered, as one writes it.
    _entered_as: ClassVar[str]

    async def __aenter__(self) -> NoReturn:
        raise TypeError(f"async with: {type(self).__name__} holds nothing open yet; write {self._entered_as}")

    async def __aexit__(self, *error: object) -> None:
        """Never comes: there is no way in. Python asks for it before it enters."""
