"""The command `firefly-ws` in a process of its own, begun as a user begins it; knows no test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import firefly_ws

LIMIT = 30.0  # seconds, for a whole run
# A test run that is itself a background job of a shell hands down an ignored SIGINT.
BEGIN = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("firefly_ws", run_name="__main__", alter_sys=True)
"""


class Command:
    """A running `python -m firefly_ws`; killed when it lives longer than ``LIMIT``."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BEGIN, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(firefly_ws.__file__).parents[1])},
        )
        self.timer = threading.Timer(LIMIT, self.process.kill)
        self.timer.start()

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, what it went on to say, and stderr."""
        said, errors = self.process.communicate()
        self.timer.cancel()
        self.timer.join()
        return self.process.returncode, said, errors


class Echo(Command):
    """`echo` on a free port of 127.0.0.1, listening; `said` has its lines, `page` and `url` the two addresses."""

    def __init__(self, *arguments: str) -> None:
        super().__init__("echo", "--port", "0", *arguments)
        assert self.process.stdout is not None
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        else:
            raise AssertionError(f"ended: {self.end()}")
        self.page, self.url = (line.split()[-1] for line in self.said[:2])
        self.port = int(self.url.rsplit(":", 1)[1].strip("/"))

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send it a signal, and wait for its end."""
        self.process.send_signal(number)
        return self.end()


@contextmanager
def echoing(*arguments: str) -> Iterator[Echo]:
    """A running `Echo`, killed at the end if it still runs."""
    echo = Echo(*arguments)
    try:
        yield echo
    finally:
        if echo.process.returncode is None:
            echo.process.kill()
            echo.end()
