"""What an extension must be able to say during the handshake, and do with frames; knows no extension by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

from .grammar import Item, Params, check_params, format_item

if TYPE_CHECKING:
    from firefly_ws._core.frames import Frame

__all__ = ["Agreed", "AgreedExtension", "Extension", "ExtensionCodec", "ExtensionOffer"]

ExtensionOffer: TypeAlias = Item
"""One alternative of a client's offer: ``name`` and ``params``; its ``str`` is as on the wire."""


@runtime_checkable
class Extension(Protocol):
    """An extension as configured (RFC 6455 §9). The three methods are pure: same arguments, same answer.

    Any object with these four will do for ``.extensions([...])``. ``params`` are pairs
    in order: ``(("maxLength", "20"), ("flag", None))`` is ``; maxLength=20; flag``.
    """

    @property
    def name(self) -> str:
        """The token both ends know it by."""

    def offers(self) -> Sequence[Params]:
        """A client's offers, the preferred one first; ``[()]`` is one without parameters, ``[]`` none at all."""

    def answer(self, params: Params) -> AgreedExtension | None:
        """A server's answer to one offer; ``None`` declines it, and the next one is tried."""

    def confirm(self, params: Params) -> AgreedExtension:
        """A client's reading of the answer; raises `ValueError` saying what was not offered."""


class ExtensionCodec(Protocol):
    """What an extension does with one connection's data frames; each connection has its own.

    Both methods get one frame and return any number, in a list or as a generator. A
    frame is text, binary or a continuation, with ``fin`` as on the wire; control frames
    (RFC 6455 §5.5) are not shown. `Frame.replace` makes a changed copy.

    What one of them raises, or returns against the rules, ends the connection with 1011
    and reaches ``on_error``; `ProtocolError` from ``decode`` blames the peer and is sent
    with its own code.
    """

    def encode(self, frame: Frame) -> Iterable[Frame]:
        """Frames to send for *frame*: whole messages, or fragments; may set the claimed reserved bits."""

    def decode(self, frame: Frame, limit: int | None) -> Iterable[Frame]:
        """What the peer's *frame* means, the claimed bits cleared.

        More than *limit* bytes (``None``: no limit) refuse the message with 1009. What can
        grow without bound, as inflating does, must stop there by itself.
        """


class AgreedExtension:
    """An extension both ends have agreed on: immutable, one for all connections that agree on the same.

    *rsv* are the reserved bits it gives a meaning (RFC 6455 §5.2): 4 is RSV1, 2 RSV2,
    1 RSV3; *params* are those of the answer, pairs of str. Raises `ValueError` or `TypeError` for others.
    """

    __slots__ = ("name", "params", "rsv")

    per_frame: ClassVar[bool] = True
    """``decode`` needs frames as ``encode`` made them: nothing may cut them on the way."""
    cuts_frames: ClassVar[bool] = False
    """Frames begin and end elsewhere behind ``encode``, or ``decode``: not behind one that is ``per_frame``."""

    def __init__(self, name: str, params: Params = (), rsv: int = 0) -> None:
        if isinstance(rsv, bool) or not isinstance(rsv, int) or not 0 <= rsv <= 7:
            raise ValueError(f"{name}: rsv={rsv!r} must be a sum of 4 (RSV1), 2 (RSV2) and 1 (RSV3)")
        self.name = name
        self.params = check_params(f"{name}: params", params)
        self.rsv = rsv

    def codec(self, is_client: bool, threshold: int | None) -> ExtensionCodec | None:
        """What handles one connection's frames, ``None`` where they stay as they are.

        ``threshold`` is the policy's ``compression_threshold`` in bytes.
        """
        raise NotImplementedError(f"{type(self).__name__} of the extension {self.name!r} must have a method codec")

    def __str__(self) -> str:
        return format_item(self.name, self.params)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


class Agreed(NamedTuple):
    """What a server's side of the negotiation ends with."""

    extensions: tuple[AgreedExtension, ...]
    line: bytes
    """The answer's header line; empty when none was agreed on."""
