"""deflate-frame as negotiated (draft-tyoshino-hybi-websocket-perframe-deflate-06 §4), both roles and both names.

The forerunner of permessage-deflate: each frame is compressed for itself. Compresses nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .base import AgreedExtension, ExtensionCodec
from .grammar import Params
from .permessage_deflate import LEAST_BITS, MAX_BITS, NEVER, WINDOW_BITS, check_compress_if, check_number

__all__ = ["DeflateFrame"]

NAMES: Final = ("deflate-frame", "x-webkit-deflate-frame")
"""The second is what WebKit called it."""
_RSV1 = 4
_BITS = "max_window_bits"
_NO_TAKEOVER = "no_context_takeover"


class DeflateFrame:
    """Compression of single frames, for peers that know no permessage-deflate.

    With ``context_takeover`` (the default) the window lives on from frame to frame, and a
    connection keeps what `PerMessageDeflate` keeps with it. ``max_window_bits`` (9 to 15)
    and ``no_context_takeover``, once agreed on, hold for both directions; a server that
    leaves them out of its answer still keeps to those it was offered. The other options
    are those of `PerMessageDeflate`. ``name`` may be ``x-webkit-deflate-frame``.

    Raises `TypeError` or `ValueError` naming the parameter, the value and what is allowed.
    """

    __slots__ = ("compress_if", "context_takeover", "level", "max_window_bits", "mem_level", "name", "threshold")

    def __init__(
        self,
        *,
        context_takeover: bool = True,
        level: int = 1,
        mem_level: int = 8,
        max_window_bits: int = MAX_BITS,
        threshold: int | None = None,
        compress_if: Callable[[Any], object] | None = None,
        name: str = NAMES[0],
    ) -> None:
        if not isinstance(context_takeover, bool):
            raise TypeError(f"context_takeover={context_takeover!r} must be True or False")
        check_number("level", level, 1, 9)
        check_number("mem_level", mem_level, 1, 9)
        check_number(_BITS, max_window_bits, LEAST_BITS, MAX_BITS)
        if threshold is not None:
            check_number("threshold", threshold, 0, None)
        check_compress_if(compress_if)
        if name not in NAMES:
            raise ValueError(f"name={name!r} must be one of {', '.join(NAMES)}")
        self.context_takeover = context_takeover
        self.level = level
        self.mem_level = mem_level
        self.max_window_bits = max_window_bits
        self.threshold = threshold
        self.compress_if = compress_if
        self.name: str = name

    @classmethod
    def of_params(cls, name: str, params: Params) -> DeflateFrame:
        """From the parameters of a text such as ``deflate-frame; max_window_bits=10; no_context_takeover``."""
        bits, restarts = _read(name, params)
        return cls(max_window_bits=bits or MAX_BITS, context_takeover=not restarts, name=name)

    def offers(self) -> tuple[Params, ...]:
        """One offer: what the server's frames must keep to."""
        return (_params(self.max_window_bits, not self.context_takeover),)

    def answer(self, params: Params) -> AgreedDeflateFrame | None:
        """A server's answer; ``None`` for parameters that are unknown, repeated or out of range."""
        try:
            asked, restarts = _read(self.name, params)
        except ValueError:
            return None
        bits = min(self.max_window_bits, asked or MAX_BITS)
        if bits < LEAST_BITS:
            return None  # zlib has no window of 8 bits
        takeover = self.context_takeover and not restarts
        return AgreedDeflateFrame(_params(bits, not takeover), self, (bits, takeover), (bits, takeover))

    def confirm(self, params: Params) -> AgreedDeflateFrame:
        """A client's reading of the answer: its parameters bound our frames, our offer's the server's."""
        bits, restarts = _read(self.name, params)
        ours = (min(self.max_window_bits, bits or MAX_BITS), self.context_takeover and not restarts)
        return AgreedDeflateFrame(params, self, ours, (self.max_window_bits, self.context_takeover))

    def __repr__(self) -> str:
        return f"DeflateFrame({', '.join(f'{name}={getattr(self, name)!r}' for name in sorted(self.__slots__))})"


class AgreedDeflateFrame(AgreedExtension):
    """What both ends agreed on: for each direction the window's bits, and whether it lives on."""

    __slots__ = ("configured", "received", "sent")

    def __init__(
        self, params: Params, configured: DeflateFrame, sent: tuple[int, bool], received: tuple[int, bool]
    ) -> None:
        super().__init__(configured.name, params, _RSV1)
        self.configured = configured
        self.sent = sent
        self.received = received

    def codec(self, is_client: bool, threshold: int | None) -> ExtensionCodec:
        """The codec of one connection; the core's `FrameDeflate`."""
        # Imported here: the handshake must be usable, and tested, without the compiled core.
        from firefly_ws._core.deflate import FrameDeflate

        own = self.configured
        if own.threshold is not None:
            threshold = own.threshold
        bits, takeover = self.sent
        if bits < LEAST_BITS:
            # A server may bound us to 8 bits, and we may leave every frame uncompressed.
            bits, threshold = LEAST_BITS, NEVER
        return FrameDeflate(
            bits, self.received[0], takeover, self.received[1], own.level, own.mem_level, threshold or 0,
            own.compress_if,
        )  # fmt: skip


def _params(bits: int, restarts: bool) -> Params:
    params: list[tuple[str, str | None]] = []
    if bits < MAX_BITS:
        params.append((_BITS, str(bits)))
    if restarts:
        params.append((_NO_TAKEOVER, None))
    return tuple(params)


def _read(name: str, params: Params) -> tuple[int | None, bool]:
    """The window's bits, if they are there, and whether the context ends with each frame; or `ValueError`."""
    bits, restarts = None, False
    for key, value in params:
        if key == _BITS and bits is None:
            if value is None or value not in WINDOW_BITS:
                raise ValueError(f"{name}: {key}={value} must be a number from 8 to 15")
            bits = WINDOW_BITS[value]
        elif key == _NO_TAKEOVER and not restarts and value is None:
            restarts = True
        else:
            text = key if value is None else f"{key}={value}"
            raise ValueError(
                f"{name}: parameter {text!r} is unknown or given twice; known: {_BITS}=8..15, {_NO_TAKEOVER}"
            )
    return bits, restarts
