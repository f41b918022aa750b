"""Programs, each in a process of its own that begins with the library imported: forked from one that has it.

What a program does at its start is not seen so; its end is, because the fork goes on as the main program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

import firefly_ws

__all__ = ["Programs"]

ROOT = Path(firefly_ws.__file__).parents[1]
LIMIT = 60.0  # seconds, for a whole program

SOURCE = """
import asyncio, os, sys, uvloop, firefly_ws
while True:
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    pid = os.fork()
    if not pid:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
__file__, said, errors = line.rstrip("\\n").split("\\0")
for name, flags, number in (
    (os.devnull, os.O_RDONLY, 0), (said, os.O_WRONLY | os.O_CREAT, 1), (errors, os.O_WRONLY | os.O_CREAT, 2)
):
    opened = os.open(name, flags, 0o600)
    os.dup2(opened, number)
    os.close(opened)
sys.argv = [__file__]
sys.path[0] = os.path.dirname(__file__)
with open(__file__) as file:
    code = compile(file.read(), __file__, "exec")
del asyncio, os, sys, uvloop, firefly_ws, line, pid, said, errors, name, flags, number, opened, file
exec(code)
"""


class Programs:
    """Runs one after the other, in *directory*; warnings are errors."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, program: Path) -> tuple[int, str, str]:
        """Exit code, what it said, and stderr, which stay beside it; killed when it lives longer than ``LIMIT``."""
        said, errors = program.with_suffix(".out"), program.with_suffix(".err")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(LIMIT, os.killpg, (self._process.pid, 9))
        timer.start()
        try:
            self._process.stdin.write("\0".join(map(str, (program, said, errors))) + "\n")
            self._process.stdin.flush()
            code = self._process.stdout.readline()
        finally:
            timer.cancel()
            timer.join()
        assert code, f"{program} did not end within {LIMIT:g} s: {said.read_text()} {errors.read_text()}"
        return int(code), said.read_text(), errors.read_text()
