"""`module:attribute` to a server's builder, and what to say where it is none; listens nowhere."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
import traceback
from typing import Any

from firefly_ws.server import Server
from firefly_ws.server_builder import HttpServer, WebSocketRoute
from firefly_ws.threads import ThreadSafeServer

__all__ = ["CannotLoad", "load", "target"]


class CannotLoad(Exception):
    """There is no server there; the text says why."""


def target(text: str) -> str:
    """An argument's type: ``module:attribute``."""
    module, _, attribute = text.partition(":")
    if not all(part.isidentifier() for name in (module, attribute) for part in name.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} must be MODULE:ATTRIBUTE, as chat:app for app in chat.py")
    return text


async def load(where: str) -> HttpServer:
    """The builder at ``module:attribute``, or that of the route there, or what the function there gives, async or not.

    Modules are looked for in the working directory first. Raises `CannotLoad`; what the module or the function itself
    raises is printed with its traceback.
    """
    module_name, _, attribute = where.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise CannotLoad(f"no module {error.name!r} in {here} or where Python looks for modules") from None
        raise _raised(error, f"{module_name} cannot be imported") from None
    except Exception as error:
        raise _raised(error, f"{module_name} cannot be imported") from None
    for name in attribute.split("."):
        if not hasattr(found, name):
            what = f"module {module_name!r}" if inspect.ismodule(found) else repr(found)
            raise CannotLoad(f"{what} has no {name!r}")
        found = getattr(found, name)
    given = where
    if not isinstance(found, (HttpServer, WebSocketRoute)) and callable(found):
        given = f"{where}()"
        if not _is_called_with_nothing(found):
            raise CannotLoad(
                f"{where} takes arguments, and is given none; an ASGI application goes below a server:"
                f" app = http_server().asgi({attribute})"
            )
        try:
            found = found()
            if inspect.isawaitable(found):
                found = await found
        except Exception as error:
            raise _raised(error, f"{given} raised") from None
    if isinstance(found, (Server, ThreadSafeServer)):
        raise CannotLoad(f"{given} listens already: leave .listen(...) to this command, and give the builder")
    if not isinstance(found, (HttpServer, WebSocketRoute)):
        raise CannotLoad(
            f"{given} is {found!r}; it must be an HttpServer, a route of one, or a function that gives one"
        )
    return found._server


def _is_called_with_nothing(found: Any) -> bool:
    try:
        inspect.signature(found).bind()
    except TypeError:
        return False
    except ValueError:  # it does not say
        pass
    return True


def _raised(error: Exception, what: str) -> CannotLoad:
    # Not our frames: what the user has to see begins in the module.
    trace = error.__traceback__
    while trace is not None and (
        trace.tb_frame.f_code.co_filename == __file__ or "importlib" in trace.tb_frame.f_code.co_filename
    ):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
    return CannotLoad(what)
