"""What the commands' arguments and last words have in common; knows no command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["failed", "port"]


def failed(why: str, code: int = 1) -> int:
    """Say on stderr what went wrong, in one line; gives the exit *code*."""
    print(f"firefly-ws: {why}", file=sys.stderr)
    return code


def port(text: str) -> int:
    """An argument's type: a TCP port, 0 for any free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 0 to 65535")
    return int(text)
