"""The text of Sec-WebSocket-Extensions (RFC 6455 §9.1), read strictly and written; knows no extension."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "Item", "MalformedExtensions", "Params", "check_name", "check_params", "format_item", "format_items", "parse_items",
]  # fmt: skip

Params: TypeAlias = "tuple[tuple[str, str | None], ...]"
"""Parameters in order; ``None`` is one without a value, which is not one with an empty value."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_OWS = r"[ \t]*"
_name = re.compile(rf"{_OWS}({_TOKEN}){_OWS}").match
# Possessive throughout: a hostile header is refused in one pass, never by backtracking.
_param = re.compile(
    rf';{_OWS}({_TOKEN}){_OWS}(?:={_OWS}(?:({_TOKEN})|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e])*+)"){_OWS})?+'
).match
_escape = re.compile(r"\\(.)").sub
_token = re.compile(_TOKEN).fullmatch
_empty = re.compile(r"[ \t,]*").match


class MalformedExtensions(ValueError):
    """The text is no extension list."""


class Item(NamedTuple):
    """One extension of a list: its name and its parameters."""

    name: str
    params: Params = ()

    def __str__(self) -> str:
        return format_item(self.name, self.params)


def parse_items(value: str) -> list[Item]:
    """The extensions of a header's (joined) value, in order.

    Raises `MalformedExtensions` that says where. Empty elements are passed
    over as in every list (RFC 9110 §5.6.1.2), a list of nothing else is malformed.
    """
    items: list[Item] = []
    at = _skip_empty(value, 0)
    while at < len(value):
        found = _name(value, at)
        if found is None:
            raise _malformed(value, at, "an extension's name")
        name = found[1]
        at = found.end()
        params: list[tuple[str, str | None]] = []
        while at < len(value) and value[at] == ";":
            found = _param(value, at)
            if found is None:
                raise _malformed(value, at, "a parameter")
            content = found[2]
            if found[3] is not None:
                content = _escape(r"\1", found[3])
                # RFC 6455 §9.1: what is quoted must be a token once unquoted.
                if not _token(content):
                    raise _malformed(value, found.start(3), "a token within the quotes")
            params.append((found[1], content))
            at = found.end()
        items.append(Item(name, tuple(params)))
        if at < len(value):
            if value[at] != ",":
                raise _malformed(value, at, "',' or ';'")
            at = _skip_empty(value, at)
    if not items:
        raise _malformed(value, 0, "an extension's name")
    return items


def _skip_empty(value: str, at: int) -> int:
    found = _empty(value, at)
    return found.end() if found else at


def _malformed(value: str, at: int, expected: str) -> MalformedExtensions:
    return MalformedExtensions(f"malformed extension list {value[:200]!r}: expected {expected} at position {at}")


def check_name(what: str, name: object) -> None:
    """``TypeError`` or ``ValueError``, beginning with *what*, for a *name* that is no token (RFC 6455 §9.1)."""
    if not isinstance(name, str):
        raise TypeError(f"{what}={name!r} must be a str")
    if not _token(name):
        raise ValueError(f"{what}={name!r} must be a token (RFC 9110 §5.6.2): letters, digits, !#$%&'*+-.^_`|~")


def check_params(what: str, params: Iterable[Any]) -> Params:
    """*params* as pairs of a name and a value, which are all that can be sent; else an error as of `check_name`."""
    checked: list[tuple[str, str | None]] = []
    try:
        if isinstance(params, str | Mapping):
            raise TypeError
        for key, value in params:
            checked.append((key, value))
    except (TypeError, ValueError):
        raise TypeError(
            f"{what}={params!r} must be pairs of a name and a value, or None: (('maxLength', '20'), ('flag', None))"
        ) from None
    for key, value in checked:
        check_name(f"{what}: a name", key)
        if value is not None:
            check_name(f"{what}: the value of {key}", value)
    return tuple(checked)


def format_item(name: str, params: Params = ()) -> str:
    """One extension as sent; values are tokens and never need quotes."""
    return "; ".join([name, *(key if value is None else f"{key}={value}" for key, value in params)])


def format_items(items: Iterable[tuple[str, Params]]) -> str:
    """A whole header value."""
    return ", ".join(format_item(name, params) for name, params in items)
