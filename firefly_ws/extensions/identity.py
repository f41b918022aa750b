"""identity: an extension that changes nothing, for trying a negotiation out; knows no frame."""

from __future__ import annotations

from .base import AgreedExtension
from .grammar import Params

__all__ = ["Identity"]

NAME = "identity"


class Identity:
    """Is agreed on, and leaves every frame as it is; has no parameters."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its token."""
        return NAME

    @classmethod
    def of_params(cls, params: Params) -> Identity:
        """From the parameters of a text; there are none."""
        _check(params)
        return cls()

    def offers(self) -> tuple[Params, ...]:
        """One offer."""
        return ((),)

    def answer(self, params: Params) -> AgreedIdentity | None:
        """A server's answer; parameters that nobody knows are declined (RFC 6455 §9.1)."""
        return None if params else AgreedIdentity(NAME)

    def confirm(self, params: Params) -> AgreedIdentity:
        """A client's reading of the answer."""
        _check(params)
        return AgreedIdentity(NAME)

    def __repr__(self) -> str:
        return "Identity()"


class AgreedIdentity(AgreedExtension):
    """Agreed on, and nothing more."""

    __slots__ = ()

    per_frame = False

    def codec(self, is_client: bool, threshold: int | None) -> None:
        """None: it costs a connection nothing."""


def _check(params: Params) -> None:
    if params:
        raise ValueError(f"{NAME}: unknown parameter {params[0][0]!r}; it has none")
