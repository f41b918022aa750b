"""What an extension must be able to say during the handshake; knows no extension and no frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from .grammar import Item, Params, format_item

__all__ = ["Agreed", "AgreedExtension", "Extension", "ExtensionOffer"]

ExtensionOffer: TypeAlias = Item
"""One alternative of a client's offer: ``name`` and ``params``; its ``str`` is as on the wire."""


@runtime_checkable
class Extension(Protocol):
    """An extension as configured. The three methods are pure: same arguments, same answer."""

    @property
    def name(self) -> str:
        """The registered token."""

    def offers(self) -> Sequence[Params]:
        """A client's offers, the preferred one first."""

    def answer(self, params: Params) -> AgreedExtension | None:
        """A server's answer to one offer; ``None`` declines it, and the next one is tried."""

    def confirm(self, params: Params) -> AgreedExtension:
        """A client's reading of the answer; raises `ValueError` saying what was not offered."""


class AgreedExtension:
    """An extension both ends have agreed on: immutable, one for all connections that agree on the same."""

    __slots__ = ("name", "params", "rsv")

    def __init__(self, name: str, params: Params = (), rsv: int = 0) -> None:
        self.name = name
        self.params = params
        self.rsv = rsv
        """The reserved bits it gives a meaning: 4 is RSV1, 2 RSV2, 1 RSV3."""

    def codec(self, is_client: bool, threshold: int | None) -> Any:
        """What handles one connection's frames; ``threshold`` as in the policy."""
        raise NotImplementedError

    def __str__(self) -> str:
        return format_item(self.name, self.params)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


class Agreed(NamedTuple):
    """What a server's side of the negotiation ends with."""

    extensions: tuple[AgreedExtension, ...]
    line: bytes
    """The answer's header line; empty when none was agreed on."""
