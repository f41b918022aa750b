"""What a route's selectors choose for one request, at once or after a while; knows no connection and no socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from .settled import is_awaitable, settled

if TYPE_CHECKING:
    from .extensions.base import ExtensionOffer
    from .http.request import Request

__all__ = ["AnyExtensionSelector", "AnySubProtocolSelector", "Selection", "Undecided"]

_Chosen: TypeAlias = "Iterable[ExtensionOffer | str] | None"
AnyExtensionSelector: TypeAlias = "Callable[[tuple[ExtensionOffer, ...], Request], _Chosen | Awaitable[_Chosen]]"
"""As `firefly_ws.handshake.ExtensionSelector`, or async."""

AnySubProtocolSelector: TypeAlias = "Callable[[tuple[str, ...], Request], str | Awaitable[str | None] | None]"
"""As `firefly_ws.handshake.SubProtocolSelector`, or async."""


class Undecided(Exception):
    """A selector has returned something to wait for: `Selection.wait` does."""


class Selection:
    """The answers to one request. Each selector is asked once, however often the handshake asks."""

    __slots__ = ("_choices", "_waiting")

    def __init__(self) -> None:
        self._choices: dict[str, Any] = {}
        self._waiting: tuple[str, Any] | None = None

    def of(self, name: str, selector: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """*selector* as the handshake asks it; that raises `Undecided` where its answer has to be waited for."""
        if selector is None:
            return None

        def ask(offered: tuple[Any, ...], request: Request) -> Any:
            if name not in self._choices:
                choice = selector(offered, request)
                if is_awaitable(choice):
                    self._waiting = name, choice
                    raise Undecided
                self._choices[name] = choice
            return self._choices[name]

        return ask

    async def wait(self) -> None:
        """Until the one that was not decided is; raises what it does."""
        if self._waiting is not None:
            name, choice = self._waiting
            self._waiting = None
            self._choices[name] = await settled(choice)
