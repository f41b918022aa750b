"""One attack on one server: starts server, bystander and attacker, and takes their figures together."""

from __future__ import annotations

import statistics
import sys
from typing import Any

from benchmarks.attacks.table import Attack
from benchmarks.attacks.wire import MIB, cpu_seconds, forget_the_peak, resident
from benchmarks.processes import START_TIMEOUT, cores, running

NOISE = 5.0  # milliseconds that a sleep may end late on either core: beyond, the machine was busy

Taken = dict[str, Any]


def once(attack: Attack, library: str) -> Taken:
    """The figures of one run."""
    first, second = cores()
    module = "benchmarks.attacks"
    python = [sys.executable, "-m"]
    with running([*python, f"{module}.servers", library, attack.server], first) as server:
        started = server.read_json(START_TIMEOUT)
        port = started["port"]
        tls = ["tls"] if attack.server == "tls" else []
        with (
            running([*python, f"{module}.bystander", str(port), *tls], second) as bystander,
            running([*python, f"{module}.witness"], first) as witness,
        ):
            bystander.read_json(START_TIMEOUT)
            witness.read_json(START_TIMEOUT)
            base, cpu = resident(server.pid), cpu_seconds(server.pid)
            forget_the_peak(server.pid)
            command = [*python, f"{module}.attackers", attack.name, str(port), str(server.pid)]
            with running(command, second) as attacker:
                seen = attacker.read_json(attack.limit)
            peak, cpu = resident(server.pid, "VmHWM:") - base, cpu_seconds(server.pid) - cpu
            bystander.end_input()
            witness.end_input()
            others = bystander.read_json(START_TIMEOUT * 2)
            others["machine_ms"] = max(others["machine_ms"], witness.read_json(START_TIMEOUT)["late_ms"])
        logged = server.said()
    return seen | {
        "version": started["version"], "memory_mib": round(peak / MIB, 2), "cpu_s": round(cpu, 2), "others": others,
        "log_lines": len(logged),
    }  # fmt: skip


def measured(attack: Attack, library: str, rounds: int, tries: int) -> Taken:
    """*rounds* runs: the median of each figure. A run on a busy machine is taken again; *tries* in all, at most."""
    runs = []
    for _ in range(rounds):
        tried: list[Taken] = []
        while len(tried) < tries and (not tried or tried[-1]["others"]["machine_ms"] > NOISE):
            tried.append(once(attack, library))
        runs.append(min(tried, key=lambda one: one["others"]["machine_ms"]))

    def middle(*keys: str) -> float:
        values = []
        for run in runs:
            value: Any = run
            for key in keys:
                value = value[key]
            values.append(value)
        return round(statistics.median(values), 2)

    ended = next((run["others"]["ended"] for run in runs if run["others"]["ended"]), "")
    return {
        "saw": runs[-1]["saw"], "version": runs[-1]["version"], "memory_mib": middle("memory_mib"),
        "cpu_s": middle("cpu_s"), "wait_ms": middle("others", "longest_ms"),
        "new_ms": middle("others", "new_longest_ms"),
        "machine_ms": middle("others", "machine_ms"), "echoes": min(run["others"]["echoes"] for run in runs),
        "new_failed": max(run["others"]["new_failed"] for run in runs), "ended": ended,
        "log_lines": max(run["log_lines"] for run in runs),
    }  # fmt: skip
