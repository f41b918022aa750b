"""The command `firefly-ws` in a process of its own, begun as a user begins it, or inside this one; knows no test."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import firefly_ws
from firefly_ws.cli import main

LIMIT = 30.0  # seconds, for a whole run
# A test run that is itself a background job of a shell hands down an ignored SIGINT.
BEGIN = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("firefly_ws", run_name="__main__", alter_sys=True)
"""


class Command:
    """A running `python -m firefly_ws`; killed with all that it has begun when it lives longer than *limit*."""

    def __init__(
        self,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        before: Sequence[str] = (),
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        limit: float = LIMIT,
        alone: bool = True,
        **environment: str,
    ) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-W", "error", "-c", BEGIN, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            pass_fds=pass_fds,
            process_group=None if alone else 0,
            env={**os.environ, "PYTHONPATH": str(Path(firefly_ws.__file__).parents[1]), **environment},
        )
        self._alone = alone
        self._limit = limit
        self.timer = threading.Timer(limit, self.kill)
        self.timer.start()

    def kill(self) -> None:
        """End it, and where it is not *alone* those that it has begun, which may have outlived it."""
        if self._alone:
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, what it went on to say, and stderr."""
        try:
            said, errors = self.process.communicate(timeout=self._limit)
        finally:
            self.timer.cancel()
            self.timer.join()
        return self.process.returncode, said, errors


class Inside:
    """The command in this process: its exit code, stdout, stderr; argparse's own exits too."""

    def __init__(self, capfd: Any, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self._capfd = capfd
        self._monkeypatch = monkeypatch
        self._input = directory / "input"

    def __call__(self, *arguments: str, typed: bytes | str = "") -> tuple[int, str, str]:
        """Run it with *typed* as its standard input."""
        self._input.write_bytes(typed.encode() if isinstance(typed, str) else typed)
        with self._input.open() as stdin, self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            try:
                code = main(arguments)
            except SystemExit as left:
                code = left.code  # type: ignore[assignment]
        said, errors = self._capfd.readouterr()
        return code, said, errors


@pytest.fixture
def inside(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Inside:
    """The command without the time it takes to begin a process."""
    return Inside(capfd, monkeypatch, tmp_path)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """*app*, a builder, served by a loop in a thread of its own; gives the URL."""
    listening: queue.SimpleQueue[tuple[int, Any, asyncio.Event]] = queue.SimpleQueue()

    async def serve() -> None:
        async with app.listen("127.0.0.1", 0) as server:
            over = asyncio.Event()
            listening.put((server.port, asyncio.get_running_loop(), over))
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    port, loop, over = listening.get(timeout=LIMIT)
    try:
        yield f"ws://127.0.0.1:{port}/"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


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
