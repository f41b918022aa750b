"""The rules in their order, and how they are asked one after the other; prints nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from .deflating import DEFLATE
from .opening import OPENING
from .peer import Peer, Target
from .talking import CLOSING, CONTROL, MESSAGES
from .verdicts import Finding, Result, Rule, Verdict
from .violations import VIOLATIONS

__all__ = ["RULES", "ask_all", "reach"]

RULES: Final[tuple[Rule, ...]] = tuple(
    rule for group in (OPENING, MESSAGES, CONTROL, CLOSING, VIOLATIONS, DEFLATE) for rule in group.rules
)


async def reach(target: Target) -> None:
    """Connect and go. Raises ``OSError`` and ``TimeoutError``."""
    async with Peer(target):
        pass


async def ask_all(target: Target, *, echo: bool, rules: Sequence[Rule] = RULES) -> AsyncIterator[Result]:
    """Ask each rule on a connection of its own; *echo*: whether the server sends messages back.

    If the first fails, which is that it upgrades at all, the other groups are skipped.
    """
    upgrades = True
    for rule in rules:
        if rule.echo and not echo:
            yield Result(rule, Verdict.SKIPPED, "the server does not echo (--no-echo)")
        elif not upgrades and rule.group != RULES[0].group:
            yield Result(rule, Verdict.SKIPPED, "the server does not upgrade")
        else:
            result = await _ask(rule, target)
            if rule is RULES[0]:
                upgrades = result.verdict is not Verdict.FAIL
            yield result


async def _ask(rule: Rule, target: Target) -> Result:
    try:
        async with Peer(target) as peer:
            await rule.ask(peer)
    except Finding as finding:
        return Result(rule, finding.verdict, finding.detail)
    except (OSError, TimeoutError) as error:
        return Result(rule, Verdict.FAIL, f"no connection any more: {error or 'it took too long'}")
    return Result(rule, Verdict.OK)
