"""Who agrees to which extensions, both roles (RFC 6455 §9.1); pure functions that know no extension by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from .base import Agreed, AgreedExtension, Extension
from .grammar import Item, format_items, parse_items

__all__ = ["ExtensionSelector", "client_offer", "client_verify", "server_answer", "server_select"]

ExtensionSelector = Callable[[tuple[Item, ...]], "Iterable[Item | str] | None"]
"""Is given the offers in order, returns those to negotiate, in its own order; ``None`` leaves it to the library."""

_NONE = Agreed((), b"")

_LONGEST_KEPT = 256
"""Longer offers are answered and not remembered: no client fills the memory."""


def server_answer(extensions: tuple[Extension, ...], offer: str) -> Agreed:
    """Answer an offer (the header's value): the client's order is its preference, and becomes the chain's.

    Raises `MalformedExtensions` for a malformed one. Clients of one kind offer the same text:
    a remembered answer costs 0.2 µs instead of 9.
    """
    if len(offer) <= _LONGEST_KEPT:
        return _remembered(extensions, offer)
    return _negotiate(extensions, parse_items(offer))


def server_select(extensions: tuple[Extension, ...], offer: str, select: ExtensionSelector) -> Agreed:
    """The same with ``select`` choosing among the offers and ordering them."""
    offers = parse_items(offer)
    chosen = select(tuple(offers))
    if chosen is None:
        return _negotiate(extensions, offers)
    if isinstance(chosen, str):
        raise TypeError(f"on_extension_select returned {chosen!r}: it must return a list of offers or names, or None")
    picked: list[Item] = []
    for choice in chosen:
        matching = [item for item in offers if choice in (item, item.name)]
        if not matching:
            raise ValueError(f"on_extension_select chose {choice!s}, which was not offered")
        picked += matching
    return _negotiate(extensions, picked)


def _negotiate(extensions: tuple[Extension, ...], offers: list[Item]) -> Agreed:
    configured = {extension.name: extension for extension in extensions}
    agreed: list[AgreedExtension] = []
    rsv = 0
    for item in offers:
        extension = configured.get(item.name)
        if extension is None:
            continue
        answer = extension.answer(item.params)
        # Two extensions cannot both own a reserved bit: the earlier, preferred one keeps it (RFC 7692 §5.1).
        if answer is None or rsv & answer.rsv:
            continue
        agreed.append(answer)
        rsv |= answer.rsv
        # An extension is agreed on once; its further offers were alternatives.
        del configured[item.name]
    if not agreed:
        return _NONE
    value = format_items((answer.name, answer.params) for answer in agreed)
    return Agreed(tuple(agreed), b"Sec-WebSocket-Extensions: %s\r\n" % value.encode("ascii"))


@lru_cache(maxsize=256)
def _remembered(extensions: tuple[Extension, ...], offer: str) -> Agreed:
    return _negotiate(extensions, parse_items(offer))


def client_offer(extensions: Sequence[Extension]) -> str:
    """The value of a client's Sec-WebSocket-Extensions; empty to send none."""
    return format_items((extension.name, params) for extension in extensions for params in extension.offers())


def client_verify(extensions: Sequence[Extension], answer: str) -> tuple[AgreedExtension, ...]:
    """Check a server's answer against what was offered.

    Raises `ValueError` for one that was not offered, came twice, has parameters that
    the offer does not allow, or claims a reserved bit another one has: RFC 6455 §4.1
    has the client fail the connection then.
    """
    configured = {extension.name: extension for extension in extensions}
    agreed: list[AgreedExtension] = []
    names: set[str] = set()
    rsv = 0
    for item in parse_items(answer):
        extension = configured.get(item.name)
        if extension is None:
            raise ValueError(f"the server chose the extension {item.name!r}, which was not offered")
        if item.name in names:
            raise ValueError(f"the server chose the extension {item.name!r} twice")
        names.add(item.name)
        confirmed = extension.confirm(item.params)
        if rsv & confirmed.rsv:
            raise ValueError(f"the server chose {item.name!r} beside another extension with the same reserved bit")
        rsv |= confirmed.rsv
        agreed.append(confirmed)
    return tuple(agreed)
