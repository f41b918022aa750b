"""The command `firefly-ws`: which commands there are; what each takes and does stands in a file of its own.

A command's file has ``add(commands)``: it adds its parser, whose default ``command`` takes the parsed arguments and
returns the exit code.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import bench, check, connect, echo, serve

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, prog: str = "firefly-ws") -> int:
    """Do what *argv* says (``None``: what stands behind the program's name) and return the exit code.

    What is no command leaves with ``SystemExit(2)`` and the usage on stderr.
    """
    options = _parser(prog).parse_args(argv)
    code: int = options.command(options)
    return code


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="WebSocket from the command line.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (echo, serve, connect, check, bench):
        command.add(commands)
    return parser
