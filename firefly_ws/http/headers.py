"""Header fields: case-insensitive look-up, wire order, and the check of what a user adds; no field's meaning."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar, overload

__all__ = ["HeaderSource", "Headers", "header_line", "header_pairs", "is_token", "shown", "split_list"]

HeaderSource: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
"""How a user gives header fields: a mapping, or pairs where a name may come twice."""

_T = TypeVar("_T")
_OWS = " \t"

is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
"""RFC 9110 §5.6.2; a match or ``None``."""
_is_secret = re.compile(r"authorization|cookie", re.IGNORECASE).search
_forbidden_in_value = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


class Headers(Mapping[str, str]):
    """The fields of one head: immutable, names in any case, latin-1 as HTTP has it.

    ``[]`` and ``get`` join a field that came several times with ", " (RFC 9110 §5.2);
    ``get_all`` gives the lines apart, ``items()`` all of them in order and as spelled.
    Kept as the bytes that came until first asked: an idle connection holds one
    ``bytes`` object, no table.
    """

    __slots__ = ("_head", "_index", "_pairs", "_repeated", "_start")

    _head: bytes
    _start: int
    _pairs: list[tuple[bytes, bytes]] | None
    _index: dict[str, str] | None
    _repeated: dict[str, list[str]]

    def __init__(self, fields: HeaderSource | Iterable[tuple[bytes, bytes]] = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        self._head = b""
        self._start = 0
        self._pairs = [(_encoded(name), _encoded(value)) for name, value in pairs]
        self._index = None
        self._repeated = _NONE_REPEATED

    @classmethod
    def of_head(cls, head: bytes, start: int, lines: list[str] | None = None) -> Headers:
        """The field lines of a checked ``head`` from ``start`` to the empty line that ends it.

        ``lines`` are those fields, decoded, where the caller has them already.
        """
        self = cls.__new__(cls)
        self._head = head
        self._start = start
        self._pairs = None
        self._index = None
        self._repeated = _NONE_REPEATED
        if lines is not None:
            self._tabulate(lines)
        return self

    def fields(self) -> dict[str, str]:
        """The look-up table itself: lower-case name to (joined) value, spaces around it not yet stripped.

        For whoever reads many fields of every handshake. Not to be changed.
        """
        index = self._index
        if index is not None:
            return index
        if self._pairs is not None:
            return self._tabulate([(name + b":" + value).decode("latin-1") for name, value in self._pairs])
        return self._tabulate(self._lines())

    def _tabulate(self, lines: list[str]) -> dict[str, str]:
        index = {}
        for line in lines:
            name, _, value = line.partition(":")
            index[name.lower()] = value
        if len(index) != len(lines):
            index = self._join(lines)
        self._index = index
        return index

    def _lines(self) -> list[str]:
        block = self._head[self._start : -4]
        return block.decode("latin-1").split("\r\n") if block else []

    def _raw_lines(self) -> list[bytes]:
        block = self._head[self._start : -4]
        return block.split(b"\r\n") if block else []

    def _join(self, lines: list[str]) -> dict[str, str]:
        values: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            values.setdefault(name.lower(), []).append(value.strip(_OWS))
        self._repeated = {name: found for name, found in values.items() if len(found) > 1}
        return {name: ", ".join(found) for name, found in values.items()}

    def is_repeated(self, name: str) -> bool:
        """Whether ``name`` (in lower case) came on more than one line."""
        self.fields()
        return name in self._repeated

    def release(self) -> None:
        """Drop the table; the next look-up makes it again from the bytes."""
        if self._pairs is None:
            self._index = None
            self._repeated = _NONE_REPEATED

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """All pairs as they came, in order."""
        if self._pairs is not None:
            return list(self._pairs)
        pairs = []
        for line in self._raw_lines():
            name, _, value = line.partition(b":")
            pairs.append((name, value.strip(b" \t")))
        return pairs

    @property
    def raw_lower(self) -> list[tuple[bytes, bytes]]:
        """The same with the names in lower case."""
        if self._pairs is not None:
            return [(name.lower(), value) for name, value in self._pairs]
        pairs = []
        for line in self._raw_lines():
            name, _, value = line.partition(b":")
            pairs.append((name.lower(), value.strip(b" \t")))
        return pairs

    def __getitem__(self, name: str) -> str:
        value = self.fields().get(name.lower())
        if value is None:
            raise KeyError(name)
        return value.strip(_OWS)

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str) -> str: ...
    @overload
    def get(self, name: str, /, default: _T) -> str | _T: ...
    def get(self, name: str, /, default: object = None) -> object:
        """The value, joined where the field came several times."""
        value = self.fields().get(name.lower())
        return default if value is None else value.strip(_OWS)

    def get_all(self, name: str) -> list[str]:
        """Each line's value, in order; empty when the field did not come."""
        name = name.lower()
        value = self.fields().get(name)
        if value is None:
            return []
        repeated = self._repeated.get(name)
        return [value.strip(_OWS)] if repeated is None else list(repeated)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.fields()

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for name, _ in self.raw:
            text = name.decode("latin-1")
            if text.lower() not in seen:
                seen.add(text.lower())
                yield text

    def __len__(self) -> int:
        return len(self.fields())

    def items(self) -> ItemsView[str, str]:
        """All pairs, a repeated field once per line, in wire order and spelling."""
        return _Pairs(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            if not isinstance(other, Mapping):
                return NotImplemented
            other = Headers(other)
        return _folded(self) == _folded(other)

    __hash__ = None  # type: ignore[assignment]  # as every Mapping that compares by value

    def __repr__(self) -> str:
        pairs = ", ".join(f"({name!r}, {shown(name, value)})" for name, value in self.items())
        return f"Headers([{pairs}])"


class _Pairs(ItemsView[str, str]):
    __slots__ = ("_raw",)

    def __init__(self, headers: Headers) -> None:
        super().__init__(headers)
        self._raw = headers.raw

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, value in self._raw:
            yield name.decode("latin-1"), value.decode("latin-1")

    def __len__(self) -> int:
        return len(self._raw)


_NONE_REPEATED: dict[str, list[str]] = {}


def _folded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Comparable: names in lower case, the order of different names does not matter (RFC 9110 §5.3)."""
    return sorted(((name.lower(), value) for name, value in headers.raw), key=lambda pair: pair[0])


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def shown(name: object, value: object) -> str:
    """The ``repr`` of a field's value as errors and logs may have it: credentials and cookies are not shown."""
    return "'***'" if _is_secret(str(name)) else repr(value)


def header_pairs(headers: HeaderSource | None) -> list[tuple[str, str]]:
    """What a user gave, as pairs; `TypeError` where it is neither a mapping nor pairs of `str`."""
    if headers is None:
        return []
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise TypeError(f"headers={shown(headers, headers)} must be a mapping of str to str, or pairs of str")
    pairs = []
    for pair in headers.items() if isinstance(headers, Mapping) else headers:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"headers: {shown(pair, pair)} must be a pair (name, value)")
        pairs.append((pair[0], pair[1]))
    return pairs


def header_line(name: str, value: str) -> bytes:
    """One field as sent.

    Raises `ValueError` naming the field where its name is no token or its value could
    end the line early and begin a field of its own (RFC 9110 §5.5: CR, LF, NUL, controls).
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"header {name!r}={shown(name, value)}: name and value must be str")
    if not is_token(name):
        raise ValueError(f"header name {name!r} must be a token (RFC 9110 §5.6.2): letters, digits, !#$%&'*+-.^_`|~")
    if _forbidden_in_value(value):
        found = shown(name, value)
        raise ValueError(f"header {name}: value {found} must not contain CR, LF, NUL or other control characters")
    try:
        return f"{name}: {value.strip(_OWS)}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        found = shown(name, value)
        raise ValueError(f"header {name}: value {found} must be latin-1 text; encode it (RFC 8187)") from None


def split_list(value: str) -> list[str]:
    """The elements of a comma-separated field without quoted strings; empty ones dropped (RFC 9110 §5.6.1.2)."""
    return [element for part in value.split(",") if (element := part.strip(_OWS))]
