"""Every stub says what its built module has: names and members both ways, parameters, defaults."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from every import for_each

import firefly_ws

PACKAGE = Path(firefly_ws.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.pyx"))

# What Cython and Python give every extension class, and what a stub may leave to its readers' imagination.
EVERYWHERE = set(dir(object)) | {"__pyx_vtable__", "__module__", "__setstate__", "__new__", "__getattribute__"}


class Parameter(NamedTuple):
    name: str
    kind: str
    default: object  # NONE where there is none


NONE = object()


def stub(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.pyi").read_text())


def built(module: str) -> ModuleType:
    return importlib.import_module("firefly_ws." + module.replace("/", "."))


def definitions(tree: ast.Module | ast.ClassDef) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = statement
    return found


def own(module: ModuleType) -> dict[str, object]:
    """What the module itself defines for others: no imports, nothing private."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and (getattr(value, "__module__", None) or type(value).__module__) == module.__name__
    }


def members(kind: type) -> set[str]:
    """Its own members; of the special methods only those that it does not have from `object`."""
    return {
        name
        for name in vars(kind)
        if name not in EVERYWHERE
        and not (name.startswith("__") and name.endswith("_cython__"))
        and (not name.startswith("_") or name.startswith("__"))
    }


def parameters_of_stub(function: ast.FunctionDef) -> list[Parameter]:
    arguments = function.args
    assert not arguments.vararg
    assert not arguments.kwarg
    positional = arguments.posonlyargs + arguments.args
    defaults: list[Any] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    listed = [("positional", *pair) for pair in zip(positional, defaults, strict=True)]
    listed += [("keyword", *pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [
        Parameter(argument.arg, kind, NONE if default is None else ast.literal_eval(default))
        for kind, argument, default in listed
        if argument.arg != "self"
    ]


def parameters_of_built(function: Any) -> list[Parameter]:
    return [
        Parameter(
            parameter.name,
            "keyword" if parameter.kind is parameter.KEYWORD_ONLY else "positional",
            NONE if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]


def parameters_of_source(module: str, kind: str) -> list[Parameter] | None:
    """Of a constructor: a compiled class does not tell them, its source does. None: it has no own one."""
    source = (PACKAGE / f"{module}.pyx").read_text()
    body = re.split(rf"^cdef class {kind}\b.*:$", source, maxsplit=1, flags=re.MULTILINE)[1]
    body = re.split(r"^\S", body, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.search(r"    def __init__\((.*?)\):\n", body, re.DOTALL)
    if found is None:
        return None
    # "Type name" and "Type name not None" as Python has it: the name alone.
    text = "(" + found[1].replace(" not None", "") + ")"
    text = re.sub(r"(?:(?<=\()|(?<=, )|(?<=,\n))\s*\w+ (?=[A-Za-z_])", "", text)
    function = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    return parameters_of_stub(function)


def test_every_compiled_module_has_a_stub_and_every_stub_a_module() -> None:
    assert MODULES
    stubs = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.pyi"))
    assert stubs == MODULES


@for_each("module", MODULES)
def test_stub_and_module_have_the_same_names(module: str) -> None:
    stubbed = {name for name in definitions(stub(module)) if not name.startswith("_")}
    assert stubbed == set(own(built(module)))


@for_each("module", MODULES)
def test_stub_and_module_have_the_same_classes_above_each_class(module: str) -> None:
    for name, definition in definitions(stub(module)).items():
        if isinstance(definition, ast.ClassDef):
            bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
            real = [base.__name__ for base in getattr(built(module), name).__bases__ if base is not object]
            assert bases == real, name


@for_each("module", MODULES)
def test_stub_and_class_have_the_same_members(module: str) -> None:
    for name, definition in definitions(stub(module)).items():
        if not isinstance(definition, ast.ClassDef):
            continue
        kind = getattr(built(module), name)
        stubbed = definitions(definition)
        public = {member for member in stubbed if not member.startswith("_") or member.startswith("__")}
        assert public - EVERYWHERE == members(kind), name
        # The few private names that other files of the library call are in the stub, and must exist.
        for member in stubbed:
            assert hasattr(kind, member), f"{name}.{member}"


@for_each("module", MODULES)
def test_properties_are_properties_and_methods_methods(module: str) -> None:
    for name, definition in definitions(stub(module)).items():
        if not isinstance(definition, ast.ClassDef):
            continue
        for member, statement in definitions(definition).items():
            real = inspect.getattr_static(getattr(built(module), name), member)
            if isinstance(statement, ast.FunctionDef):
                decorators = [one.id for one in statement.decorator_list if isinstance(one, ast.Name)]
                is_property = "property" in decorators
                assert inspect.isdatadescriptor(real) == is_property, f"{name}.{member}"
                assert callable(real) != is_property, f"{name}.{member}"


@for_each("module", MODULES)
def test_functions_and_methods_take_the_parameters_of_the_stub(module: str) -> None:
    for name, definition in definitions(stub(module)).items():
        if isinstance(definition, ast.FunctionDef):
            assert parameters_of_stub(definition) == parameters_of_built(getattr(built(module), name)), name
        if not isinstance(definition, ast.ClassDef):
            continue
        kind = getattr(built(module), name)
        for member, statement in definitions(definition).items():
            real = inspect.getattr_static(kind, member)
            if not isinstance(statement, ast.FunctionDef) or inspect.isdatadescriptor(real):
                continue
            if type(real).__name__ == "cython_function_or_method":
                assert parameters_of_stub(statement) == parameters_of_built(real), f"{name}.{member}"


@for_each("module", MODULES)
def test_constructors_take_the_parameters_of_the_stub(module: str) -> None:
    for name, definition in definitions(stub(module)).items():
        if isinstance(definition, ast.ClassDef):
            constructor = definitions(definition).get("__init__")
            expected = parameters_of_source(module, name)
            if expected is None:
                assert constructor is None, name
            else:
                assert isinstance(constructor, ast.FunctionDef), name
                assert parameters_of_stub(constructor) == expected, name


@for_each("module", MODULES)
def test_what_a_stub_declares_is_annotated(module: str) -> None:
    for statement in ast.walk(stub(module)):
        if isinstance(statement, ast.FunctionDef):
            assert statement.returns is not None, statement.name
            arguments = statement.args.args + statement.args.kwonlyargs
            assert all(one.annotation is not None for one in arguments if one.arg != "self"), statement.name
