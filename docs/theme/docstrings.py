"""For the reference: docstrings that no parser of Python finds, and links between them; knows no page.

What is compiled has its signatures in `.pyi` files and its docstrings in the module, so it has to be built.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe
from spans import linked

import firefly_ws

TREE = re.compile(r"^(\S.*(?:\n [├│└].*)+)", re.M)  # an outline drawn in lines
PUBLIC = {name: getattr(firefly_ws, name) for name in firefly_ws.__all__}


class Docstrings(griffe.Extension):
    """Adds the docstrings of compiled modules, and those of attributes in comments that begin with ``#:``."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """The package has been read."""
        _complete(pkg, firefly_ws)


def _complete(of: griffe.Module | griffe.Class, real: Any) -> None:
    for name, member in of.members.items():
        if member.is_alias or name.startswith("__"):
            continue
        if member.is_module:
            if name != "plugin":  # it needs pytest
                _complete(member, importlib.import_module(member.path))
            if member.docstring is not None:
                member.docstring.value = TREE.sub(r"```text\n\1\n```", member.docstring.value)
            continue
        thing = inspect.getattr_static(real, name, None)
        if member.is_class and thing is not None:
            _complete(member, thing)
        if member.docstring is None and (text := _written_before(member) or _documented(thing)):
            member.docstring = griffe.Docstring(text, parent=member)
        if member.docstring is not None:
            member.docstring.value = linked(member.docstring.value, lambda name: _path(name, of, real))


def _path(name: str, of: griffe.Module | griffe.Class, real: Any) -> str | None:
    """What *name* means in a docstring inside of *of*."""
    if name.partition(".")[0] in PUBLIC:
        return f"firefly_ws.{name}"
    if of.is_class and name in of.members:
        return of.members[name].path
    if of.is_class:
        for public, thing in PUBLIC.items():
            if inspect.isclass(thing) and real in thing.__mro__ and hasattr(thing, name):
                return f"firefly_ws.{public}.{name}"
    return None


def _documented(thing: Any) -> str | None:
    """What has a docstring of its own; a number has that of its type."""
    own = inspect.isclass(thing) or inspect.isroutine(thing) or inspect.isdatadescriptor(thing)
    return inspect.getdoc(thing) if own else None


def _written_before(member: griffe.Object) -> str:
    """The lines ``#: …`` above an attribute."""
    if not member.is_attribute or member.lineno is None or not member.filepath:
        return ""
    above = []
    for line in reversed(member.lines_collection[member.filepath][: member.lineno - 1]):
        if not line.strip().startswith("#:"):
            break
        above.append(line.strip()[2:].strip())
    return "\n".join(reversed(above))
