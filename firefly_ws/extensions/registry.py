"""Extensions by name: one row each; the only file that knows all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from firefly_ws.callables import check_callable

from .base import Extension
from .deflate_frame import DeflateFrame
from .fragment import Fragment
from .grammar import Params, check_name, parse_items
from .identity import Identity
from .permessage_deflate import PerMessageDeflate

__all__ = ["known_extensions", "resolve"]

_BY_NAME: Final[dict[str, Callable[[Params], Extension]]] = {
    "permessage-deflate": PerMessageDeflate.of_params,
    "deflate-frame": partial(DeflateFrame.of_params, "deflate-frame"),
    "x-webkit-deflate-frame": partial(DeflateFrame.of_params, "x-webkit-deflate-frame"),
    "fragment": Fragment.of_params,
    "identity": Identity.of_params,
}


def known_extensions() -> tuple[str, ...]:
    """The names `resolve` takes."""
    return tuple(_BY_NAME)


def resolve(spec: str | Extension) -> Extension:
    """The extension a user means: an object, or a name as ``permessage-deflate``, with or without parameters.

    Raises `ValueError` for a name nobody knows, listing the known ones, for a malformed text, and for an object
    whose name is no token; `TypeError` for one whose methods cannot be called as they will be.
    """
    if isinstance(spec, str):
        items = parse_items(spec)
        if len(items) != 1:
            raise ValueError(f"extension {spec!r} names {len(items)} extensions; give each as an element of the list")
        make = _BY_NAME.get(items[0].name)
        if make is None:
            raise ValueError(f"extension {items[0].name!r} is unknown; known: {', '.join(_BY_NAME)}")
        return make(items[0].params)
    if isinstance(spec, type) or not isinstance(spec, Extension):
        raise TypeError(f"extension {spec!r} must be a name, or an object with name, offers, answer and confirm")
    check_name(f"extension {spec!r}: name", spec.name)
    # Answers are needed at once; offers may be generated.
    check_callable(f"extension {spec!r}: offers", spec.offers, plain=True, yields=True)
    for method in ("answer", "confirm"):
        check_callable(f"extension {spec!r}: {method}", getattr(spec, method), "params", plain=True)
    return spec
