"""fragment: data frames above a length are sent in fragments (RFC 6455 §5.4); knows no connection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .base import AgreedExtension, ExtensionCodec
from .grammar import Params

if TYPE_CHECKING:
    from firefly_ws._core.frames import Frame

__all__ = ["Fragment"]

NAME = "fragment"
_LENGTH = "maxLength"
_number = re.compile(r"[1-9][0-9]{0,17}").fullmatch


class Fragment:
    """Split what is sent: no data frame has more than ``max_length`` bytes (``None``: no bound of our own).

    ``maxLength`` is agreed on by both ends and holds for both: the smaller of what the two
    were given. Control frames are never split (RFC 6455 §5.5). Each fragment costs its head
    on the wire and a frame at the peer, so a bound of a few bytes is for tests.

    Raises `TypeError` or `ValueError` naming the value and what is allowed.
    """

    __slots__ = ("max_length",)

    def __init__(self, max_length: int | None = None) -> None:
        if max_length is not None:
            if isinstance(max_length, bool) or not isinstance(max_length, int):
                raise TypeError(f"max_length={max_length!r} must be an int, at least 1, or None")
            if not _number(str(max_length)):
                raise ValueError(f"max_length={max_length!r} must be 1 byte or more, below 10**18, or None: no bound")
        self.max_length = max_length

    @property
    def name(self) -> str:
        """Its token."""
        return NAME

    @classmethod
    def of_params(cls, params: Params) -> Fragment:
        """From the parameters of a text such as ``fragment;maxLength=20``."""
        return cls(_read(params))

    def offers(self) -> tuple[Params, ...]:
        """One offer, with our bound."""
        return (_params(self.max_length),)

    def answer(self, params: Params) -> AgreedFragment | None:
        """A server's answer, with the smaller bound; ``None`` for parameters that nobody knows."""
        try:
            asked = _read(params)
        except ValueError:
            return None
        return AgreedFragment(min((bound for bound in (asked, self.max_length) if bound is not None), default=None))

    def confirm(self, params: Params) -> AgreedFragment:
        """A client's reading of the answer. Raises `ValueError` where our bound was dropped or raised."""
        got = _read(params)
        if self.max_length is not None and (got is None or got > self.max_length):
            what = "dropped" if got is None else f"raised to {got}"
            raise ValueError(f"{NAME}: the server {what} {_LENGTH}={self.max_length}")
        return AgreedFragment(got)

    def __repr__(self) -> str:
        return f"Fragment({self.max_length})"


class AgreedFragment(AgreedExtension):
    """The bound agreed on, in bytes, or ``None``."""

    __slots__ = ("max_length",)

    per_frame = False
    cuts_frames = True

    def __init__(self, max_length: int | None) -> None:
        super().__init__(NAME, _params(max_length))
        self.max_length = max_length

    def codec(self, is_client: bool, threshold: int | None) -> ExtensionCodec | None:
        """One for all connections: it remembers nothing."""
        return None if self.max_length is None else _Splitter(self.max_length)


class _Splitter:
    """Outgoing frames to fragments; what comes in is put together as any fragments are."""

    __slots__ = ("max_length",)

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def encode(self, frame: Frame) -> list[Frame]:
        """Opcode and reserved bits on the first, FIN on the last (RFC 6455 §5.4)."""
        # Imported here: the handshake must be usable, and tested, without the compiled core.
        from firefly_ws._core.frames import ContinuationFrame

        payload, step = frame.payload, self.max_length
        if len(payload) <= step:
            return [frame]
        made = [frame.replace(payload=payload[:step], fin=False)]
        last = len(payload) - step
        made += [
            ContinuationFrame(payload[at : at + step], fin=frame.fin and at >= last)
            for at in range(step, len(payload), step)
        ]
        return made

    def decode(self, frame: Frame, limit: int | None) -> tuple[Frame]:
        """As it is."""
        return (frame,)


def _params(max_length: int | None) -> Params:
    return () if max_length is None else ((_LENGTH, str(max_length)),)


def _read(params: Params) -> int | None:
    """maxLength, if it is there. Raises `ValueError` for anything else."""
    length = None
    for key, value in params:
        if key != _LENGTH or length is not None:
            raise ValueError(f"{NAME}: parameter {key!r} is unknown or given twice; known: {_LENGTH}=bytes")
        if value is None or not _number(value):
            raise ValueError(f"{NAME}: {_LENGTH}={value} must be a number of bytes, at least 1")
        length = int(value)
    return length
