"""The processes of a measurement: compiling the load generator, starting, pinning, stopping, and their memory.

Knows process ids and cores; refuses to know scenarios, libraries' names or what a result means.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / "build" / "benchmarks"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0

Metrics = dict[str, Any]


class BenchmarkError(Exception):
    """A process of the benchmark did not do what it was started for; the text is what it said."""


def compiled_load() -> Path:
    """The load generator, compiled when its sources have changed since the last time."""
    sources = sorted(HERE.glob("*.c"))
    flags = ["-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE"]
    content = b"".join(path.read_bytes() for path in [*sources, HERE / "load.h"])
    binary = CACHE / f"load-{hashlib.sha256(content + ' '.join(flags).encode()).hexdigest()[:16]}"
    if binary.exists():
        return binary
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkError("the load generator is a C program, and no C compiler (cc, gcc, clang) was found")
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = binary.with_suffix(f".{os.getpid()}")
    command = [*compiler.split(), *flags, "-o", str(unfinished), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}\n{done.stderr}")
    unfinished.replace(binary)
    return binary


def json_payload(compressed: bool) -> Path:
    """A file with about 1 KB of JSON, as text or as permessage-deflate sends it (RFC 7692 §7.2.1)."""
    rows = [
        {"id": 7919 * i % 10007, "symbol": f"FF{i:02d}", "price": round(101.5 + 7.3 * i % 11, 2), "open": i % 3 == 0}
        for i in range(1, 17)
    ]
    data = json.dumps({"type": "snapshot", "channel": "prices", "sequence": 90210, "rows": rows}).encode()
    if compressed:
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / ("payload.deflated" if compressed else "payload.json")
    path.write_bytes(data)
    return path


class Process:
    """One child, pinned to a core, speaking JSON lines on stdout and ending with its stdin."""

    def __init__(self, command: list[str], core: int | None, stderr: IO[bytes]) -> None:
        self.command = command
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self._stderr = stderr
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=stderr)
        if core is not None and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self._popen.pid, {core})

    @property
    def pid(self) -> int:
        return self._popen.pid

    def read_json(self, timeout: float) -> Metrics:
        assert self._popen.stdout is not None
        ready, _, _ = select.select([self._popen.stdout], [], [], timeout)
        line = self._popen.stdout.readline() if ready else b""
        if not line:
            self.stop()
            self._stderr.seek(0)
            said = self._stderr.read().decode(errors="replace").strip().splitlines()
            raise BenchmarkError(said[-1] if said else f"no result within {timeout:g} s: {' '.join(self.command)}")
        result: Metrics = json.loads(line)
        return result

    def end_input(self) -> None:
        """Ask it to end: its stdin does."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def said(self) -> list[str]:
        """The lines that it has written to stderr."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").splitlines()

    def finish(self) -> None:
        """Ends its stdin and waits for its own end: an idle load closes its connections first."""
        self.end_input()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_TIMEOUT * 4)
        self.stop()

    def stop(self) -> None:
        """By its id, whatever its state."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()

    def memory(self) -> int:
        """Bytes of memory that are its own share (PSS), or its resident set where the kernel does not tell."""
        for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{self.pid}/{name}").read_text().splitlines():
                    if line.startswith(key):
                        return int(line.split()[1]) * 1024
        raise BenchmarkError("the memory of a process is read from /proc, which is missing here")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Puts Ctrl-C and SIGTERM off: inside Popen they would leave behind a child whose id nobody has got."""
    caught: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: caught.append(n)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in caught:
        signal.raise_signal(number)


@contextlib.contextmanager
def running(command: list[str], core: int | None) -> Iterator[Process]:
    # A file, not a pipe: a library that logs much must not stop at a pipe nobody reads.
    with tempfile.TemporaryFile() as stderr:
        process = None
        try:
            with _undisturbed():
                process = Process(command, core, stderr)
            yield process
        finally:
            if process is not None:
                process.stop()


def server_command(name: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.servers", name]


def client_command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.clients", name, *arguments]


def keepalive_command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.keepalive", name, *arguments]


def load_command(mode: str, **options: Any) -> list[str]:
    """`load_command("load", port=1, text=True)`: True is a bare switch; False and None leave the option out."""
    command = [str(compiled_load()), mode]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name}")
        elif value is not None and value is not False:
            command += [f"--{name}", str(value)]
    return command


def cores() -> tuple[int | None, int | None]:
    """One core for the server and another for the load; None where there is no second one to be had."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)
