"""Scripts in processes of their own: begun, watched by what they say, ended. Knows nothing of what they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import pytest

import firefly_ws

LIMIT = 30.0  # seconds, for a whole script
ROOTS = (Path(firefly_ws.__file__).parents[1], Path(__file__).parent)

# For scripts that begin with something open on a loop, or several.
BEGIN = """
import asyncio, concurrent.futures, os, signal, socket, sys, threading, time
from firefly_ws.runtime import background, run, runtime_of, submit
from small_server import *
# A test run that is itself a background job of a shell hands down an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
# For a test of what runs in a process, and so on a loop, of its own.
once = pytest.mark.asyncio(loop_factories=["uvloop"])
both_signals = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


class Script:
    """A running script; killed when it lives longer than ``LIMIT``."""

    def __init__(self, begin: str, text: str, *options: str, stdin: str = "", **environment: str) -> None:
        path = os.pathsep.join(str(root) for root in ROOTS)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *options, "-c", begin + textwrap.dedent(text)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,  # which -c puts first on the path
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        self.timer = threading.Timer(LIMIT, self.process.kill)
        self.timer.start()
        self.said: list[str] = []
        assert self.process.stdin is not None
        self.process.stdin.write(stdin)
        self.process.stdin.close()
        self.process.stdin = None

    def __enter__(self) -> Script:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.timer.cancel()
        self.timer.join()
        self.process.kill()
        self.process.communicate()

    def until(self, line: str) -> None:
        """Read what it says up to ``line``."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self.said.append(said.rstrip("\n"))
            if self.said[-1] == line:
                return
        raise AssertionError(f"ended without saying {line!r}: {self.end()}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, list[str], str]:
        """Wait for its end: exit code, all that it said, and stderr."""
        rest, errors = self.process.communicate()
        return self.process.returncode, self.said + rest.splitlines(), errors


Start = Callable[..., Script]


@contextmanager
def scripts(begin: str) -> Iterator[Start]:
    """Start scripts that all begin with the lines *begin*; none is left at the end."""
    started: list[Script] = []

    def start(text: str, *options: str, stdin: str = "", **environment: str) -> Script:
        started.append(Script(begin, text, *options, stdin=stdin, **environment))
        return started[-1]

    try:
        yield start
    finally:
        for script in started:
            with script:
                pass


def signal_until_the_end(script: Script, number: int) -> int:
    """Send it the signal again and again until it ends; gives how often.

    One that comes before the program's own handler of the one before has run is merged with it, and on a busy machine
    nothing tells when that was.
    """
    sent = 0
    while script.process.poll() is None:
        script.signal(number)
        sent += 1
        with suppress(subprocess.TimeoutExpired):
            script.process.wait(0.2 if sent < 3 else 3)
    return sent
