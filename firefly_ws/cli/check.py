"""`firefly-ws check`: its arguments, what it prints of the verdicts, its exit codes; the rules stand in `checking`."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from .arguments import CANNOT, failed, seconds
from .checking.peer import Target
from .checking.suite import RULES, ask_all, reach
from .checking.verdicts import Verdict
from .report import Printer, reader_gone, write_json
from .running import run_to_exit
from .target import add_target, client, headers, tls, url

if TYPE_CHECKING:
    from .arguments import Commands
    from .checking.verdicts import Result

__all__ = ["add"]

_STYLES: Final = {
    Verdict.OK: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.SKIPPED: "dim",
}
_WIDTH: Final = max(len(rule.text) for rule in RULES)


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "check",
        help="ask a server whether it keeps to the standard",
        description=f"Hold an echo server against {len(RULES)} rules of RFC 6455, RFC 7692 and RFC 9112, by bytes that "
        "it should take and bytes that it should refuse, each rule on a connection of its own.",
        epilog="exit codes: 0 nothing failed, 1 something did or the server cannot be reached, 2 bad arguments, "
        "130 ended by Ctrl-C",
    )
    parser.set_defaults(parser=parser, command=_command)
    add_target(parser)
    parser.add_argument("--no-echo", action="store_true", help="the server does not echo: leave out what needs that")
    parser.add_argument("--strict", action="store_true", help="a warning counts as a failure")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds(), default=2.0, help="how long to wait each time (%(default)s)"
    )
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="the verdicts as JSON; to stdout, and nothing else there"
    )


def _command(options: argparse.Namespace) -> int:
    client(options)  # what our own client would not send in a request is refused here too, in the same words
    target = Target(url(options), tls(options), headers(options), options.subprotocol, options.timeout)
    try:
        return run_to_exit(lambda: _check(target, options))
    except BrokenPipeError:
        reader_gone()
        return CANNOT


async def _check(target: Target, options: argparse.Namespace) -> int:
    printer = Printer()
    quiet = options.json == "-"
    results: list[Result] = []
    begun = time.monotonic()
    try:
        await reach(target)
    except (OSError, TimeoutError) as error:
        return failed(f"cannot connect to {target.url}: {str(error) or f'no answer within {target.timeout:g} s'}")
    async for result in ask_all(target, echo=not options.no_echo):
        if not quiet:
            _print(printer, result, results[-1].rule.group if results else "")
        results.append(result)
    counts = Counter(result.verdict for result in results)
    good = not counts[Verdict.FAIL] and not (options.strict and counts[Verdict.WARN])
    if not quiet:
        _print_counts(printer, counts, time.monotonic() - begun)
    if options.json is not None:
        try:
            write_json(_as_json(target, good, results, counts), options.json)
        except BrokenPipeError:
            raise
        except OSError as error:
            return failed(f"--json {options.json}: {error.strerror}")
    return 0 if good else CANNOT


def _print(printer: Printer, result: Result, before: str) -> None:
    rule, verdict = result.rule, result.verdict
    if rule.group != before:
        if before:
            printer.line(("", ""))
        printer.line((rule.group, "bold"))
    printer.line((f"  {verdict.value:<9}", _STYLES[verdict]), (f"{rule.text:<{_WIDTH}}  ", ""), (rule.section, "dim"))
    if result.detail and verdict is not Verdict.SKIPPED:
        printer.line((f"  {'':<9}{result.detail}", _STYLES[verdict]))


def _print_counts(printer: Printer, counts: Counter[Verdict], took: float) -> None:
    printer.line(("", ""))
    parts = [(f"{sum(counts.values())} rules: ", "")]
    for verdict in Verdict:
        if counts[verdict]:
            parts += [(f"{counts[verdict]} {verdict.value}", _STYLES[verdict]), (", ", "")]
    printer.line(*parts[:-1], (f", in {took:.1f} s", ""))


def _as_json(target: Target, good: bool, results: list[Result], counts: Counter[Verdict]) -> dict[str, object]:
    return {
        "url": str(target.url),
        "ok": good,
        "counts": {verdict.value: counts[verdict] for verdict in Verdict},
        "rules": [
            {
                "name": result.rule.name,
                "group": result.rule.group,
                "rule": result.rule.text,
                "section": result.rule.section,
                "verdict": result.verdict.value,
                "detail": result.detail,
            }
            for result in results
        ],
    }
