"""An end by one of npm's packages, in a process of its own; `peer.js` says what may be told and asked."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "peer.js"
LIMIT = 20.0  # seconds, for one event


class Npm:
    """The process: commands go in, events come out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def tell(self, command: str, *arguments: Any) -> None:
        """A command, without an answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")

    def send(self, message: str | bytes) -> None:
        """Have a message sent."""
        if isinstance(message, str):
            self.tell("text", message)
        else:
            self.tell("binary", base64.b64encode(message).decode())

    async def next(self) -> list[Any]:
        """The next event."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT):
            line = await self._process.stdout.readline()
        assert line, "the process has ended"
        event: list[Any] = json.loads(line)
        return event

    async def until(self, kind: str) -> list[Any]:
        """The next event of a kind, without its name; others are passed over."""
        while True:
            name, *facts = await self.next()
            if name == kind:
                return facts

    async def message(self) -> str | bytes:
        """The next message."""
        while True:
            kind, *facts = await self.next()
            if kind == "text":
                return str(facts[0])
            if kind == "binary":
                return base64.b64decode(facts[0])


@asynccontextmanager
async def npm(node: str, package: str, role: str, **options: Any) -> AsyncIterator[Npm]:
    """Run an end until the block is left; it has to end well, and to say nothing on stderr."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(SCRIPT),
        package,
        role,
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**27,  # a line holds a message
    )
    assert process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())
    try:
        yield Npm(process)
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(LIMIT):
            assert (await process.wait(), await complaints) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await complaints
