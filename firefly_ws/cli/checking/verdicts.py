"""What a rule of the check is and what may come of it; knows no socket and no rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["Finding", "Group", "Result", "Rule", "Verdict", "fail", "skip", "warn"]


class Verdict(Enum):
    """What came of a rule."""

    OK = "OK"
    #: The standard leaves it open, or says SHOULD, and most do otherwise.
    WARN = "WARN"
    FAIL = "FAIL"
    #: It could not be asked.
    SKIPPED = "SKIPPED"


class Finding(Exception):
    """Ends a rule with another verdict than OK."""

    def __init__(self, verdict: Verdict, detail: str) -> None:
        self.verdict = verdict
        self.detail = detail
        super().__init__(detail)


def fail(detail: str) -> NoReturn:
    """The server broke the rule."""
    raise Finding(Verdict.FAIL, detail)


def warn(detail: str) -> NoReturn:
    """Allowed, but not what one would expect."""
    raise Finding(Verdict.WARN, detail)


def skip(detail: str) -> NoReturn:
    """The rule does not apply to this server."""
    raise Finding(Verdict.SKIPPED, detail)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: *ask* returns if it holds, and raises a `Finding` if not."""

    name: str
    group: str
    section: str
    """Where it is written: ``RFC 6455 §5.5.2``."""
    text: str
    echo: bool
    """Whether only a server that echoes can be asked."""
    ask: Callable[[Peer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """A rule's verdict."""

    rule: Rule
    verdict: Verdict
    detail: str = ""
    """What happened, where it is not OK."""


class Group:
    """Rules that belong together, in the order in which they are asked."""

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.rules: Final[list[Rule]] = []

    def rule(
        self, section: str, text: str, *, echo: bool = False
    ) -> Callable[[Callable[[Peer], Awaitable[None]]], Callable[[Peer], Awaitable[None]]]:
        """Decorate the function that asks a rule."""

        def add(ask: Callable[[Peer], Awaitable[None]]) -> Callable[[Peer], Awaitable[None]]:
            self.rules.append(Rule(ask.__name__, self.name, section, text, echo, ask))
            return ask

        return add
