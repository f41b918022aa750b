"""The commands of `connect`'s prompt: what a line means, and how it may go on. Does none of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prompt_toolkit.completion import Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from firefly_ws.codes import CloseCode, is_sendable

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent

__all__ = ["HELP", "Line", "SlashCompleter", "read_line"]

#: (what is typed, what it does)
HELP: Final = (
    ("text", "send it; in --binary mode as a binary message"),
    ("//text", "send a text that begins with a slash"),
    ("/ping [TEXT]", "send a Ping, and show how long its Pong took"),
    ("/binary FILE", "send a file as one binary message"),
    ("/close [CODE [REASON]]", "close the connection (1000)"),
    ("/help", "this list"),
    ("Ctrl-D", "close with 1000 and leave"),
    ("Ctrl-C", "leave; exit code 130"),
)
_NAMES: Final = ("ping", "binary", "close", "help")
_CODES: Final = tuple(code for code in CloseCode if is_sendable(code))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the prompt."""

    command: str
    """``send``, or a command's name; it may be one that does not exist."""
    text: str
    """What is sent, or what stands behind the command."""


def read_line(line: str) -> Line:
    """What *line* means."""
    if not line.startswith("/"):
        return Line("send", line)
    if line.startswith("//"):
        return Line("send", line[1:])
    command, _, text = line[1:].partition(" ")
    return Line(command, text.strip())


class SlashCompleter(Completer):
    """Completes commands, close codes and the names of files; of what is sent, nothing."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """For prompt_toolkit."""
        text = document.text_before_cursor
        if not text.startswith("/") or text.startswith("//"):
            return
        command, blank, rest = text[1:].partition(" ")
        if not blank:
            for name in _NAMES:
                if name.startswith(command):
                    yield Completion(f"/{name}", -len(text))
        elif command == "binary":
            yield from self._paths.get_completions(Document(rest), complete_event)
        elif command == "close" and " " not in rest:
            for code in _CODES:
                if str(int(code)).startswith(rest):
                    yield Completion(str(int(code)), -len(rest), display_meta=code.name)
