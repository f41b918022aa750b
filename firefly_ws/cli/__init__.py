"""The command `firefly-ws`: which commands there are; what each takes and does stands in a file of its own.

A command's file has ``add(commands)``: it adds its parser, whose default ``command`` takes the parsed arguments and
returns the exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import bench, check, connect, echo, serve
from .arguments import MISUSED

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, prog: str = "firefly-ws") -> int:
    """Do what *argv* says (``None``: what stands behind the program's name) and return the exit code.

    What is no command leaves with ``SystemExit(2)`` and the usage on stderr; nothing at all, with the whole help.
    """
    parser = _parser(prog)
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        parser.print_help(sys.stderr)
        raise SystemExit(MISUSED)
    options = parser.parse_args(arguments)
    code: int = options.command(options)
    return code


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="WebSocket from the command line.")
    # The names' module stands above this one, and is there whenever this one is.
    library = sys.modules["firefly_ws"].__version__
    version = f"firefly-ws {library}, Python {sys.version.partition(' ')[0]}"
    parser.add_argument("--version", action="version", version=version, help="show the versions and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (echo, serve, connect, check, bench):
        command.add(commands)
    return parser
