"""What the commands' arguments and last words have in common; knows no command.

Messages never show what may be secret: the value of a header, the user and password of a URL.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["CANNOT", "MISUSED", "count", "failed", "header", "port", "say", "seconds", "without_secrets"]

#: Exit codes.
CANNOT: Final = 1
MISUSED: Final = 2

# Up to the last @: a password that is not encoded may hold a slash, or an @ itself.
_USERINFO: Final = re.compile(r"//[^\s'\"]*@")


def without_secrets(text: str) -> str:
    """*text* with the user and password of every URL in it hidden."""
    return _USERINFO.sub("//***@", text)


def say(what: str) -> None:
    """Say it on stderr, in one line."""
    print(f"firefly-ws: {without_secrets(what)}", file=sys.stderr)


def failed(why: str, code: int = CANNOT) -> int:
    """Say on stderr what went wrong, in one line; gives the exit *code*."""
    say(why)
    return code


def port(text: str) -> int:
    """An argument's type: a TCP port, 0 for any free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 0 to 65535")
    return int(text)


def count(least: int, most: int) -> Callable[[str], int]:
    """An argument's type: a whole number from *least* to *most*."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {least} to {most}")
        return int(text)

    return parse


def seconds(*, zero: bool = False, endless: bool = False) -> Callable[[str], float]:
    """An argument's type: a time in seconds; whether it may be 0, whether ``inf``."""
    allowed = f"{'at least' if zero else 'above'} 0{', or inf' if endless else ''}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (value > 0 or (zero and value == 0)) or (math.isinf(value) and not endless):
            raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds, {allowed}")
        return value

    return parse


def header(text: str) -> tuple[str, str]:
    """An argument's type: ``Name: value``. What it says of a bad one names no value: it may be a password."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("a header is written 'Name: value', with a colon")
    return name.strip(), value.strip()
