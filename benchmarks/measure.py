"""How each kind of scenario is measured: one subject, once. Knows processes and the order of events, no bounds."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import (
    START_TIMEOUT,
    BenchmarkError,
    Metrics,
    Process,
    client_command,
    cores,
    json_payload,
    keepalive_command,
    load_command,
    running,
    server_command,
)
from benchmarks.scenarios import FLOOR, Scenario

BUSY = 0.05
"""A server that had to wait for its core this share of the time was not alone: its numbers are not to be trusted."""


@dataclass(frozen=True)
class Settings:
    rounds: int
    seconds: float
    warmup: float
    scale: float
    """Of counts of connections that are opened: 1, or less for a quick look."""
    retries: int = 2
    """A window in which the server was not alone on its core is taken again so many times; the quietest one counts."""
    spin: bool = False
    """Let the load poll without sleeping: the server is spared waking it, and rounds differ less."""
    settle: float = 0.5
    """Seconds for what a server still does after its connections have come or gone, before its memory is read."""


class Bench:
    """Measures the subjects of one scenario; their servers live from the first round to the last."""

    def __init__(self, scenario: Scenario, settings: Settings) -> None:
        self.scenario, self.settings = scenario, settings
        self.server_core, self.load_core = cores()
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, tuple[Process, int]] = {}

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self, subject: str) -> None:
        """Starts what the subject needs for all rounds; raises BenchmarkError when it cannot be started."""
        if self.scenario.kind == "client":
            # With one message in flight the two take turns. On a core each, nine tenths of a turn would be the
            # machine's, for waking a core that sleeps, and what the clients differ by would be lost in it.
            self._servers[subject] = self._start(load_command("echo"), self.server_core)
        elif self.scenario.kind not in ("idle", "keepalive"):  # measured in a process that has seen nothing yet
            command = load_command("echo") if subject == FLOOR else server_command(subject)
            self._servers[subject] = self._start(command, self.server_core)

    def _start(self, command: list[str], core: int | None) -> tuple[Process, int]:
        process = self._stack.enter_context(running(command, core))
        return process, int(process.read_json(START_TIMEOUT)["port"])

    def measure(self, subject: str) -> Metrics:
        if self.scenario.kind == "idle":
            with running(server_command(subject), self.server_core) as server:
                return self._idle(server, int(server.read_json(START_TIMEOUT)["port"]))
        if self.scenario.kind == "keepalive":
            return self._keepalive(subject)
        windows: list[Metrics] = []
        while len(windows) <= self.settings.retries and all(one.get("waited_share", 0) > BUSY for one in windows):
            windows.append(self._window(subject))
        return min(windows, key=lambda one: float(one.get("waited_share", 0)))

    def _window(self, subject: str) -> Metrics:
        process, port = self._servers[subject]
        if self.scenario.kind == "client":
            return self._client(subject, port)
        options = self._options(port)
        if self.scenario.kind not in ("load", "http"):
            return self._load(self.scenario.kind, pid=process.pid, **options)
        options |= {"seconds": self.settings.seconds, "warmup": self.settings.warmup, "spin": self.settings.spin}
        metrics = self._load(self.scenario.kind, pid=process.pid, **options)
        metrics["per_cpu_second"] = 1e6 / metrics["cpu_us"]
        return metrics

    def _options(self, port: int) -> dict[str, Any]:
        options = dict(self.scenario.options, port=port)
        if options.get("deflate"):
            options["payload"] = json_payload(compressed=True)
        if self.scenario.kind not in ("load", "http"):
            for name in ("connections", "count"):
                if options.get(name, 0) > 100:
                    options[name] = int(options[name] * self.settings.scale)
        return options

    def _load(self, mode: str, **options: Any) -> Metrics:
        with running(load_command(mode, **options), self.load_core) as load:
            metrics = load.read_json(150)
            load.finish()
            return metrics

    def _client(self, subject: str, port: int) -> Metrics:
        arguments = (port, self.settings.seconds, self.settings.warmup, self.scenario.options["size"])
        with running(client_command(subject, *map(str, arguments)), self.server_core) as client:
            metrics = client.read_json(START_TIMEOUT + self.settings.seconds + self.settings.warmup)
        del metrics["waited_share"]  # for the server on the same core, by design
        return metrics

    def _keepalive(self, subject: str) -> Metrics:
        # A quick look has fewer connections at shorter intervals: as many Pings a second.
        scale, options = self.settings.scale, self.scenario.options
        count, interval = int(options["connections"] * scale), options["interval"] * scale
        command = keepalive_command(subject, str(count), str(interval))
        with running(command, self.server_core) as process:
            return process.read_json(START_TIMEOUT + 4 * interval)

    @contextlib.contextmanager
    def _held(self, **options: Any) -> Any:
        """Connections open inside the block, closed by a closing handshake behind it."""
        with running(load_command("idle", **options), self.load_core) as load:
            load.read_json(120)
            time.sleep(self.settings.settle)
            yield
            load.finish()
        time.sleep(self.settings.settle)

    def _idle(self, server: Process, port: int) -> Metrics:
        options = self._options(port)
        count = options["connections"]
        few = options | {"connections": 50}
        with self._held(**few | {"touch": 1}):  # what the first connections make once, for all
            pass
        base = server.memory()
        with self._held(**options):
            full = server.memory()
        with self._held(**few):  # others come
            pass
        left = server.memory()
        with self._held(**options):
            again = server.memory()
        if full <= base:
            raise BenchmarkError("the server's memory did not grow: too few connections to measure")
        return {
            "mode": "idle",
            "connections": count,
            "idle_kib": (full - base) / count / 1024,
            "again_kib": (again - base) / count / 1024,
            "left_kib": (left - base) / count / 1024,
            "given_back": 1 - (left - base) / (full - base),
            "base_mib": base / 1024**2,
        }
