"""Paths to values: which route takes a request; knows nothing of what a route does."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

__all__ = ["Place", "RouteTable"]

V = TypeVar("V")

_parameter = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|:([A-Za-z_][A-Za-z0-9_]*)").fullmatch
_WILDCARD = "*"


class _Node(Generic[V]):
    """One step of the paths with parameters: by text first, then any segment, then any rest."""

    __slots__ = ("any", "children", "end", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[V]] = {}
        self.any: _Node[V] | None = None
        self.end: _Route[V] | None = None
        self.rest: _Route[V] | None = None


class _Route(Generic[V]):
    __slots__ = ("names", "path", "value")

    def __init__(self, path: str, value: V, names: list[str]) -> None:
        self.path = path
        self.value = value
        self.names = names


class Place(Generic[V]):
    """What stands at one path: a websocket route, HTTP endpoints by method, or both."""

    __slots__ = ("methods", "websocket")

    def __init__(self) -> None:
        self.websocket: V | None = None
        self.methods: dict[str, Any] = {}


class RouteTable(Generic[V]):
    """``/chat``, ``/room/{name}`` (or ``/room/:name``) and ``/files/*``, to values.

    An exact path wins over a parameter and that over a wildcard, segment by segment,
    whatever the order they were added in. Duplicates raise `ValueError`; ``/a/{x}`` and
    ``/a/:y`` match the same paths and are duplicates too.
    """

    __slots__ = ("_changing", "_root", "_shapes", "exact")

    def __init__(self) -> None:
        self.exact: dict[str, V] = {}
        self._shapes: dict[tuple[str, ...], _Route[V]] = {}
        self._root: _Node[V] | None = None
        # A plain script changes routes in its own thread while the loop's looks them up.
        self._changing = threading.Lock()

    def add(self, path: str, value: V) -> None:
        """Take ``path``. Raises `ValueError` naming it where it is malformed or already taken."""
        shape, names = _shape(path)
        taken = self._shapes.get(shape)
        if taken is not None:
            other = "" if taken.path == path else f", by {taken.path!r}"
            raise ValueError(f"path {path!r} is already registered{other}; .unregister(path) frees it")
        route = _Route(path, value, names)
        with self._changing:
            self._shapes[shape] = route
            if names:
                self._root = None
            else:
                self.exact[path] = value

    def at(self, path: str) -> V | None:
        """What is registered for *path*, spelled the same; ``ValueError`` where it is spelled otherwise."""
        taken = self._shapes.get(_shape(path)[0])
        if taken is None:
            return None
        if taken.path != path and taken.names != _shape(path)[1]:
            raise ValueError(f"path {path!r} is already registered, by {taken.path!r}; name its parameters the same")
        return taken.value

    def remove(self, path: str) -> V:
        """Free ``path`` and give its value back. Raises `KeyError` naming what is registered where it is not."""
        shape, names = _shape(path)
        with self._changing:
            route = self._shapes.pop(shape, None)
            if route is None:
                raise KeyError(f"path {path!r} is not registered; registered: {', '.join(self) or 'none'}")
            if names:
                self._root = None
            else:
                del self.exact[route.path]
        return route.value

    def match(self, path: str) -> tuple[V, dict[str, str]] | None:
        """The value for a request's raw path, and its parameters, decoded.

        The path is as sent: an encoded slash (%2F) is part of a segment, never a separator.
        """
        value = self.exact.get(path, _MISSING)
        if value is not _MISSING:
            return value, {}  # type: ignore[return-value]  # _MISSING was the only other type
        if len(self.exact) == len(self._shapes) and "%" not in path:
            return None
        segments = path.split("/")[1:]
        if "%" in path:
            segments = [unquote(segment) for segment in segments]
        root = self._root
        if root is None:
            with self._changing:
                root = self._root = self._tree()
        values: list[str] = []
        route = _find(root, segments, 0, values)
        return None if route is None else (route.value, dict(zip(route.names, values, strict=True)))

    def _tree(self) -> _Node[V]:
        root: _Node[V] = _Node()
        for shape, route in self._shapes.items():
            node = root
            for step in shape[:-1]:
                node = _step(node, step)
            if shape[-1] == _WILDCARD:
                node.rest = route
            else:
                _step(node, shape[-1]).end = route
        return root

    def __iter__(self) -> Iterator[str]:
        return iter([route.path for route in self._shapes.values()])

    def __len__(self) -> int:
        return len(self._shapes)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and any(route.path == path for route in self._shapes.values())

    def items(self) -> list[tuple[str, V]]:
        """Paths as registered and their values, in the order they were added."""
        with self._changing:
            return [(route.path, route.value) for route in self._shapes.values()]


_MISSING = object()
_ANY = "{}"


def _step(node: _Node[V], step: str) -> _Node[V]:
    if step == _ANY:
        if node.any is None:
            node.any = _Node()
        return node.any
    return node.children.setdefault(step, _Node())


def _find(node: _Node[V], segments: list[str], at: int, values: list[str]) -> _Route[V] | None:
    """Depth first, most exact first; a tree, so that no step is tried twice."""
    if at == len(segments):
        return node.end
    segment = segments[at]
    child = node.children.get(segment)
    if child is not None:
        found = _find(child, segments, at + 1, values)
        if found is not None:
            return found
    if node.any is not None and segment:
        values.append(segment)
        found = _find(node.any, segments, at + 1, values)
        if found is not None:
            return found
        values.pop()
    if node.rest is not None:
        values.append("/".join(segments[at:]))
        return node.rest
    return None


def _shape(path: object) -> tuple[tuple[str, ...], list[str]]:
    """The path's steps with the parameters' names taken out, and those names."""
    if not isinstance(path, str):
        raise TypeError(f"path={path!r} must be a str")
    if not path.startswith("/"):
        raise ValueError(f"path {path!r} must begin with '/'")
    if "?" in path or "#" in path:
        raise ValueError(f"path {path!r} must have no query and no fragment")
    steps = []
    names: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments, 1):
        found = _parameter(segment)
        if found:
            name = found[1] or found[2]
            if name in names:
                raise ValueError(f"path {path!r} has the parameter {name!r} twice")
            names.append(name)
            steps.append(_ANY)
        elif segment == _WILDCARD:
            if number != len(segments):
                raise ValueError(f"path {path!r}: '*' must be the last segment")
            names.append(_WILDCARD)
            steps.append(_WILDCARD)
        elif any(mark in segment for mark in "{}*") or segment[:1] == ":":
            raise ValueError(f"path {path!r}: {segment!r} must be text, {{name}}, :name, or '*' at the end")
        else:
            steps.append(segment)
    return tuple(steps), names
