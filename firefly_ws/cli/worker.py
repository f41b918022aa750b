"""One worker process as its supervisor sees it: begun with sockets, ready, told to end, ended; knows no other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from firefly_ws.activation import OF_SYSTEMD

__all__ = ["ABORT", "CONTROL", "REPLACED", "STOP", "Worker"]

#: The environment's name for the descriptor by which a worker hears from its supervisor.
CONTROL: Final = "FIREFLY_WS_CONTROL"
STOP: Final = b"s"
REPLACED: Final = b"r"
ABORT: Final = b"a"

_NET = 5.0  # seconds more than its grace before it is killed
_AT_LEAST = 2.0  # seconds for one that has been aborted


class Worker:
    """A process that serves; `ready` resolves to what it says once it listens, or to ``None`` where it never did."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._control = control
        self.ready: asyncio.Future[dict[str, Any] | None] = self._loop.create_future()
        self.since = self._loop.time()  # it has been ready
        self.ended = self._loop.create_task(self._watch())

    @classmethod
    async def begin(cls, arguments: Sequence[str], sockets: Sequence[socket.socket]) -> Worker:
        """Begin a process of this same interpreter that runs the command, and is given the *sockets*."""
        ours, theirs = socket.socketpair()
        fds = [sock.fileno() for sock in sockets]
        environment = {name: value for name, value in os.environ.items() if name not in OF_SYSTEMD}
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
                    "-m", "firefly_ws", *arguments, *(f"--fd={fd}" for fd in fds),
                    stdin=subprocess.DEVNULL,
                    env={**environment, CONTROL: f"{theirs.fileno()}"},
                    pass_fds=(*fds, theirs.fileno()),
                )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def how(self) -> str:
        """How it ended."""
        code = self._process.returncode
        if code is None or code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"

    async def _watch(self) -> None:
        with contextlib.suppress(OSError):
            said = await self._loop.sock_recv(self._control, 65536)
            if said:
                self.since = self._loop.time()
                self.ready.set_result(json.loads(said))
        await self._process.wait()
        self._control.close()
        if not self.ready.done():
            self.ready.set_result(None)

    def tell(self, word: bytes) -> None:
        """Have it do something; nothing where it has ended."""
        with contextlib.suppress(OSError):
            self._control.send(word)

    async def end(self, word: bytes, again: asyncio.Event) -> bool:
        """Have it end, by force where it does not in time; when *again* is set, at once. Whether force was needed."""
        self.tell(word)
        if not self.ready.done():
            self._process.terminate()  # it does not listen to us yet
        said = self.ready.result() if self.ready.done() else None
        grace = said["grace"] if said else 0
        limit = None if grace is None else grace + _NET
        urged = asyncio.create_task(again.wait())
        try:
            await asyncio.wait({self.ended, urged}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            urged.cancel()
        if not self.ended.done():
            self.tell(ABORT)
            await asyncio.wait({self.ended}, timeout=_AT_LEAST)
        if self.ended.done():
            return False
        self._process.kill()
        await asyncio.wait({self.ended})
        return True
