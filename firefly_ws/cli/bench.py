"""`firefly-ws bench`: its arguments, its progress, its exit codes; what is measured and shown stands in `benching`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firefly_ws.errors import WebSocketConnectionException

from .arguments import CANNOT, count, failed, seconds
from .benching.load import Load, Plan
from .benching.summary import as_json, lines, plan_in_words
from .endings import why_not_connected
from .report import Printer, reader_gone, write_json
from .running import run_to_exit
from .target import add_client, add_target, client, url

if TYPE_CHECKING:
    from .arguments import Commands
    from .benching.load import Watch

__all__ = ["add"]

_FILES: Final = 64  # that this process has open besides its connections
_IN_FLIGHT: Final = 2**30  # bytes


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "bench",
        help="measure an echo server: messages a second, and how long each took",
        description="Keep messages in flight to an echo server, and tell how many came back and how long each took.",
        epilog="exit codes: 0 measured without an error, 1 could not connect or something went wrong, 2 bad arguments, "
        "130 ended by Ctrl-C, with what was measured until then",
    )
    parser.set_defaults(parser=parser, command=_command, binary=False)
    add_target(parser)
    add_client(parser)
    group = parser.add_argument_group("the load")
    group.add_argument(
        "-c", "--connections", metavar="N", type=count(1, 100_000), default=10, help="connections (%(default)s)"
    )
    group.add_argument(
        "-d", "--depth", metavar="N", type=count(1, 10_000), default=1, help="messages of each in flight (%(default)s)"
    )
    group.add_argument(
        "-s", "--size", metavar="BYTES", type=count(0, 64 * 2**20), default=64, help="of a message (%(default)s)"
    )
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--text", dest="binary", action="store_false", help="messages of JSON; the default")
    kind.add_argument("--binary", action="store_true", help="messages of random bytes")
    group.add_argument("--compression", action="store_true", help="offer permessage-deflate")
    group.add_argument(
        "-t", "--duration", metavar="SECONDS", type=seconds(), default=5.0, help="how long to measure (%(default)s)"
    )
    group.add_argument(
        "--warmup", metavar="SECONDS", type=seconds(zero=True), default=1.0, help="how long before that (%(default)s)"
    )
    group = parser.add_argument_group("the result")
    group.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write it as JSON; to stdout, and nothing else there"
    )
    group.add_argument("--png", metavar="FILE", help="draw the latencies and the rate")


def _command(options: argparse.Namespace) -> int:
    plan = Plan(
        options.connections,
        options.depth,
        options.size,
        options.binary,
        options.duration,
        options.warmup,
        options.compression,
    )
    if plan.connections * plan.depth * plan.size > _IN_FLIGHT:
        options.parser.error(
            f"--connections {plan.connections} × --depth {plan.depth} × --size {plan.size} would have more than "
            f"{_IN_FLIGHT // 2**20} MiB in flight; make one of them smaller"
        )
    _allow_files(options)
    for option, name in (("--json", options.json), ("--png", options.png)):
        if name not in (None, "-") and not Path(name).parent.is_dir():
            return failed(f"{option} {name}: there is no directory {Path(name).parent}")
    if options.png is not None:
        try:
            from .benching import chart  # noqa: F401
        except ImportError as error:
            if (error.name or "").split(".")[0] != "matplotlib":
                raise
            return failed("--png draws with matplotlib, which is not installed: pip install 'firefly-ws[chart]'")
    load = Load(client(options), plan, why_not_connected)
    try:
        return run_to_exit(lambda: _measured(load, options))
    except BrokenPipeError:
        reader_gone()
        return CANNOT


def _allow_files(options: argparse.Namespace) -> None:
    """Raise the soft limit of open files where it is too low for the connections asked for."""
    try:
        import resource
    except ImportError:  # Windows
        return
    needed = options.connections + _FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and needed > hard:
        options.parser.error(
            f"--connections {options.connections} needs {needed} open files; this process may have {hard} (ulimit -n)"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def _measured(load: Load, options: argparse.Namespace) -> int:
    cancelled = False
    with _progress() as watch:
        try:
            await load.run(watch)
        except WebSocketConnectionException as error:
            return failed(why_not_connected(error))
        except asyncio.CancelledError:
            cancelled = True
    code = _report(load, options) if load.found.seconds else 0
    if cancelled:
        raise asyncio.CancelledError
    return code


def _report(load: Load, options: argparse.Namespace) -> int:
    plan, found = load.plan, load.found
    target = str(url(options))
    if options.json != "-":
        printer = Printer()
        printer.line((target, "bold"))
        printer.line((plan_in_words(plan), ""))
        printer.line(("", ""))
        for line in lines(plan, found):
            printer.line(*line)
    try:
        if options.json is not None:
            write_json(as_json(target, plan, found), options.json)
        if options.png is not None and found.messages:
            from .benching.chart import draw

            draw(options.png, target, plan, found)
    except BrokenPipeError:
        raise
    except OSError as error:
        return failed(f"{error.filename}: {error.strerror}")
    if not found.messages and not found.errors:
        return failed("no message came back: is it an echo server?")
    return CANNOT if found.errors else 0


@contextmanager
def _progress() -> Iterator[Watch]:
    """A bar on stderr, if that is a terminal and rich is there."""
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
        except ImportError:  # the extra cli: without it there is no bar
            pass
        else:
            columns = (TextColumn("{task.description:<11}"), BarColumn(), TextColumn("{task.fields[told]}"))
            # No thread of its own that would compete with the loop: it is drawn when there is news.
            with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as progress:
                task = progress.add_task("", total=1.0, told="")

                def watch(phase: str, done: float, messages: int) -> None:
                    told = f"{messages:>14,} messages" if messages else ""
                    progress.update(task, description=phase, completed=done, told=told, refresh=True)

                yield watch
            return
    yield lambda phase, done, messages: None
