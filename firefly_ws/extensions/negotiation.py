"""Who agrees to which extensions, both roles (RFC 6455 §9.1); pure functions that know no extension by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from .base import Agreed, AgreedExtension, Extension
from .grammar import Item, Params, check_params, format_items, parse_items

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
        try:
            return _remembered(extensions, offer)
        except TypeError:
            if _is_hashable(extensions):
                raise
            # A user's own, a dataclass for example: asked each time.
    return _negotiate(extensions, parse_items(offer))


def _is_hashable(extensions: tuple[Extension, ...]) -> bool:
    try:
        hash(extensions)
    except TypeError:
        return False
    return True


def server_select(extensions: tuple[Extension, ...], offer: str, select: ExtensionSelector) -> Agreed:
    """The same with ``select`` choosing among the offers and ordering them.

    Raises `ValueError` for a choice that was not offered, and for two that exclude each other.
    """
    offers = parse_items(offer)
    chosen = select(tuple(offers))
    if chosen is None:
        return _negotiate(extensions, offers)
    if isinstance(chosen, str | Item) or not isinstance(chosen, Iterable):
        raise TypeError(f"on_extension_select returned {chosen!r}: it must return a list of offers or names, or None")
    picked: list[Item] = []
    for choice in chosen:
        matching = [item for item in offers if choice in (item, item.name)]
        if not matching:
            raise ValueError(f"on_extension_select chose {choice!s}, which was not offered")
        picked += matching
    return _negotiate(extensions, picked, chosen=True)


def _negotiate(extensions: tuple[Extension, ...], offers: list[Item], *, chosen: bool = False) -> Agreed:
    configured = {extension.name: extension for extension in extensions}
    agreed: list[AgreedExtension] = []
    for item in offers:
        extension = configured.get(item.name)
        if extension is None:
            continue
        answer = extension.answer(item.params)
        if answer is None:
            continue
        _check_made(extension, "answer", answer)
        # Of two that exclude each other the earlier, preferred one stays (RFC 7692 §5.1).
        clash = why_not(agreed, answer)
        if clash is not None:
            if chosen:
                raise ValueError(f"on_extension_select chose extensions that exclude each other: {clash}")
            continue
        agreed.append(answer)
        # An extension is agreed on once; its further offers were alternatives.
        del configured[item.name]
    if not agreed:
        return _NONE
    value = format_items((answer.name, answer.params) for answer in agreed)
    return Agreed(tuple(agreed), b"Sec-WebSocket-Extensions: %s\r\n" % value.encode("ascii"))


def why_not(before: Iterable[AgreedExtension], extension: AgreedExtension) -> str | None:
    """Why *extension* cannot follow those *before* in a chain: a sentence that names both, or ``None``."""
    for other in before:
        common = other.rsv & extension.rsv
        if common:
            bits = " and ".join(f"RSV{4 - bit.bit_length()}" for bit in (4, 2, 1) if bit & common)
            return f"{other.name!r} and {extension.name!r} both claim {bits}, which can mean one thing only"
        if extension.cuts_frames and other.per_frame:
            return (
                f"{extension.name!r} cuts frames that {other.name!r} must get back whole; "
                f"{extension.name!r} goes before {other.name!r}"
            )
    return None


def _check_made(extension: Extension, method: str, made: object) -> None:
    if not isinstance(made, AgreedExtension):
        _dropped(made)
        raise TypeError(
            f"{method}() of the extension {extension.name!r} returned {made!r}; it must return an AgreedExtension"
        )
    if not hasattr(made, "rsv"):
        raise TypeError(
            f"{method}() of the extension {extension.name!r} returned a {type(made).__name__} without a name: "
            "its __init__ must call super().__init__(name, params, rsv)"
        )
    if made.name != extension.name:
        raise ValueError(f"{method}() of the extension {extension.name!r} returned one named {made.name!r}")


def _dropped(made: object) -> None:
    """A coroutine that nobody awaits would complain of that as well."""
    if inspect.iscoroutine(made):
        made.close()


def _offers(extension: Extension) -> list[Params]:
    """What a client offers of *extension*; ``TypeError`` or ``ValueError`` for what is no list of parameters."""
    what = f"offers() of the extension {extension.name!r}"
    offers: object = extension.offers()
    if isinstance(offers, str | Mapping) or not isinstance(offers, Iterable):
        _dropped(offers)
        raise TypeError(f"{what} returned {offers!r}; it must return a list of tuples of parameters, as [()]")
    return [check_params(f"{what}: an offer", params) for params in offers]


@lru_cache(maxsize=256)
def _remembered(extensions: tuple[Extension, ...], offer: str) -> Agreed:
    return _negotiate(extensions, parse_items(offer))


def client_offer(extensions: Sequence[Extension]) -> str:
    """The value of a client's Sec-WebSocket-Extensions; empty to send none.

    Raises `ValueError` for an order that no server can agree to. Two that claim one reserved bit
    are alternatives, of which a server picks one.
    """
    before: list[AgreedExtension] = []
    for extension in extensions if len(extensions) > 1 else ():
        # What our own server would answer: it tells what the extension does with frames.
        answer = next((made for params in _offers(extension) if (made := extension.answer(params)) is not None), None)
        if answer is None:
            continue
        _check_made(extension, "answer", answer)
        for other in before:
            clash = None if other.rsv & answer.rsv else why_not((other,), answer)
            if clash is not None:
                raise ValueError(f"extensions in an order that cannot work: {clash}")
        before.append(answer)
    return format_items((extension.name, params) for extension in extensions for params in _offers(extension))


def client_verify(extensions: Sequence[Extension], answer: str) -> tuple[AgreedExtension, ...]:
    """Check a server's answer against what was offered.

    Raises `ValueError` for one that was not offered, came twice, has parameters that
    the offer does not allow, or excludes another one: RFC 6455 §4.1 has the client fail
    the connection then.
    """
    configured = {extension.name: extension for extension in extensions}
    agreed: list[AgreedExtension] = []
    names: set[str] = set()
    for item in parse_items(answer):
        extension = configured.get(item.name)
        if extension is None or not _offers(extension):
            raise ValueError(f"the server chose the extension {item.name!r}, which was not offered")
        if item.name in names:
            raise ValueError(f"the server chose the extension {item.name!r} twice")
        names.add(item.name)
        confirmed = extension.confirm(item.params)
        _check_made(extension, "confirm", confirmed)
        clash = why_not(agreed, confirmed)
        if clash is not None:
            raise ValueError(f"the server chose extensions that exclude each other: {clash}")
        agreed.append(confirmed)
    return tuple(agreed)
