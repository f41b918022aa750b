"""Where results go: coloured lines if rich is there, plain ones otherwise, JSON to a file; knows no command."""

from __future__ import annotations

import json
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

from .show import plain

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Printer", "reader_gone", "write_json"]


class Printer:
    """Prints lines of parts, each with a style that a terminal shows."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._console: Console | None = None
        if isinstance(self._stream, TextIOWrapper):  # whose encoding may lack what a rule or a server says
            self._stream.reconfigure(errors="backslashreplace")
        if self._stream.isatty():
            try:
                from rich.console import Console
            except ImportError:  # the extra cli: without it there are no colours
                pass
            else:
                self._console = Console(file=self._stream, highlight=False)

    def line(self, *parts: tuple[str, str]) -> None:
        """One line of (text, style) parts."""
        if self._console is None:
            print(plain("".join(text for text, _ in parts)).rstrip(), file=self._stream, flush=True)
            return
        from rich.text import Text

        self._console.print(Text.assemble(*((plain(text), style) for text, style in parts)), soft_wrap=True)


def write_json(value: Any, name: str) -> None:
    """Write *value* to the file *name*, ``-`` for stdout; raises ``OSError``."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if name == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)


def reader_gone() -> None:
    """Behind a ``BrokenPipeError``: `head` has what it wanted, and Python's last flush is not to fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
