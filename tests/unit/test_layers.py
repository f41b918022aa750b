"""The house stays as drawn: who imports whom, how long a file is, which names are public."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from every import for_each

import firefly_ws

PACKAGE = Path(firefly_ws.__file__).parent
DOCS = PACKAGE.parent / "docs"
SOURCES = sorted(path for kind in ("py", "pyx", "pxd", "pyi", "h") for path in PACKAGE.rglob(f"*.{kind}"))
AROUND = sorted(path for name in ("benchmarks", "examples", "tests") for path in (PACKAGE.parent / name).rglob("*.py"))
EMPTY = {"_core"}  # a package that holds nothing but its files


def table() -> dict[str, tuple[list[str], list[str]]]:
    """Row name -> (its files in order, the rows it may import)."""
    rows: dict[str, tuple[list[str], list[str]]] = {}
    for line in (DOCS / "layers.md").read_text().splitlines():
        if line.startswith("|") and not line.startswith(("| row", "|---")):
            name, files, allowed = (cell.strip() for cell in line.strip("|").split("|"))
            rows[name] = (re.findall(r"`(.+?)`", files), [one.strip() for one in allowed.split(",") if one.strip()])
    return rows


ROWS = table()
ROW_OF = {file: name for name, (files, _) in ROWS.items() for file in files}


def module_of(path: Path) -> str:
    """As the table writes it: "handshake", "_core/parser", "http" for the package itself."""
    relative = path.relative_to(PACKAGE).with_suffix("").as_posix()
    return relative.removesuffix("/__init__")


def target(name: str, importer: Path, level: int) -> Iterator[str]:
    """The module that a dotted *name* means, if it is the library's."""
    if level:
        base = importer.relative_to(PACKAGE).parts[:-1]
        parts = [*base[: len(base) - level + 1], *filter(None, name.split("."))]
    elif name.split(".")[0] == "firefly_ws":
        parts = name.split(".")[1:]
    else:
        return
    yield "/".join(parts)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    if path.suffix in (".pyx", ".pxd"):
        # Two spellings are all that is used there: "from .a cimport b" and "from ..a import b".
        for name, dots, module in re.findall(r"^\s*(from) (\.*)([\w.]*) c?import", path.read_text(), re.MULTILINE):
            assert name == "from"
            found.update(target(module, path, len(dots)))
        assert not re.search(r"^\s*c?import firefly_ws", path.read_text(), re.MULTILINE)
        return found
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            if node.level and not node.module:
                for alias in node.names:
                    found.update(target(alias.name, path, node.level))
            else:
                found.update(target(node.module or "", path, node.level))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found.update(target(alias.name, path, 0))
    return found


def python_sources() -> list[Path]:
    return [path for path in SOURCES if path.suffix != ".h" and module_of(path) not in EMPTY]


def identifier(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_the_table_only_points_upwards() -> None:
    above: list[str] = []
    for name, (_, allowed) in ROWS.items():
        assert set(allowed) <= set(above), name
        above.append(name)


def test_every_file_stands_in_the_table_once_and_nothing_else() -> None:
    listed = [file for files, _ in ROWS.values() for file in files]
    assert sorted(listed) == sorted({module_of(path) for path in python_sources()})


@for_each("path", python_sources())
def test_a_file_imports_only_what_the_table_allows(path: Path) -> None:
    name = module_of(path)
    files, allowed = ROWS[ROW_OF[name]]
    for imported in imports(path) - {name}:
        assert imported in ROW_OF, f"{name} imports {imported}, which is no file"
        left = files[: files.index(name)]
        assert imported in left or ROW_OF[imported] in allowed, f"{name} must not import {imported}"


def test_what_a_row_may_import_is_imported_by_somebody() -> None:
    """A permission that nobody uses is one that nobody has thought about."""
    for name, (files, allowed) in ROWS.items():
        used = {ROW_OF[one] for path in python_sources() if module_of(path) in files for one in imports(path)}
        assert set(allowed) <= used, name


def test_the_core_imports_no_python_above_the_facts() -> None:
    for path in python_sources():
        if module_of(path).startswith("_core/"):
            for imported in imports(path):
                assert imported.startswith("_core/") or ROW_OF[imported] == "facts", (path, imported)


def test_those_know_sockets_that_the_documentation_names() -> None:
    knowing = {
        module_of(path)
        for path in python_sources()
        if re.search(r"^\s*import (socket|ssl)\b", path.read_text(), re.MULTILINE)
    }
    core = {"_core/tcp", "_core/listening", "_core/protocol"}
    sockets = core | {"sockets", "greeting", "server", "tunnel", "dial", "server_builder", "client_builder"}
    handing_over = {"activation", "cli/notify", "cli/serve", "cli/supervising", "cli/worker"}
    assert knowing - {"config", "cli/target"} <= sockets | handing_over


@for_each("path", SOURCES + AROUND)
def test_no_file_is_longer_than_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


@for_each("path", [path for path in SOURCES if path.suffix in (".py", ".pyx")])
def test_every_file_says_first_what_it_is(path: Path) -> None:
    text = re.sub(r"^(#.*\n)+", "", path.read_text())
    assert not text or text.startswith('"""')


def test_the_public_names_are_those_of_the_documentation() -> None:
    documented = [
        name for line in (DOCS / "names.md").read_text().split("\n\n")[2:] for name in re.findall(r"`(\w+)`", line)
    ]
    assert sorted(firefly_ws.__all__) == sorted(documented)
    assert len(set(documented)) == len(documented)


def test_all_is_sorted_as_ruff_sorts_it_and_complete() -> None:
    assert len(set(firefly_ws.__all__)) == len(firefly_ws.__all__)
    for name, value in vars(firefly_ws).items():
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations":
            assert name in firefly_ws.__all__


@for_each("name", firefly_ws.__all__)
def test_a_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(firefly_ws, name)
    assert value.__doc__
    if inspect.isclass(value):
        inherited = [base.__doc__ for base in value.__mro__[1:]]
        assert value.__doc__ not in inherited


@for_each("name", [name for name in firefly_ws.__all__ if inspect.isclass(getattr(firefly_ws, name))])
def test_a_public_method_has_a_docstring(name: str) -> None:
    kind = getattr(firefly_ws, name)
    for base in kind.__mro__:
        if not base.__module__.startswith("firefly_ws"):
            continue
        for member, value in vars(base).items():
            if member.startswith("_"):
                continue
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isroutine(function):
                assert function.__doc__, f"{name}.{member}"
