"""`python -m benchmarks`: takes the rounds in turn, prints the tables and stores them. Knows the order, not the how."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the package is this file's folder
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.measure import Bench, Settings
from benchmarks.processes import HERE, BenchmarkError, compiled_load, cores
from benchmarks.scenarios import SCENARIOS, Scenario

QUICK = Settings(rounds=1, seconds=0.15, warmup=0.05, scale=0.1, retries=0, settle=0.1)


def chosen(names: list[str] | None) -> list[Scenario]:
    """Scenarios by name or by the beginning of it: `--scenario single` is all four."""
    if not names:
        return list(SCENARIOS)
    found = [one for one in SCENARIOS if any(one.name.startswith(name) for name in names)]
    for name in names:
        if not any(one.name.startswith(name) for one in SCENARIOS):
            raise SystemExit(f"--scenario {name}: the scenarios are {', '.join(one.name for one in SCENARIOS)}")
    return found


def take(scenario: Scenario, settings: Settings, subjects: set[str] | None) -> dict[str, Any]:
    """All rounds of one scenario: A B C, A B C, so that what changes in the machine changes for all of them."""
    absent: dict[str, str] = {}
    rounds: report.Rounds = []
    with Bench(scenario, settings) as bench:
        names = [name for name in scenario.subjects if subjects is None or name in subjects]
        for name in names:
            try:
                bench.prepare(name)
            except BenchmarkError as error:
                absent[name] = str(error)
        for _ in range(min(settings.rounds, scenario.most_rounds or settings.rounds)):
            rounds.append({})
            for name in names:
                if name in absent:
                    continue
                try:
                    rounds[-1][name] = bench.measure(name)
                except BenchmarkError as error:
                    absent[name] = str(error)
    return report.summary(scenario, rounds, absent)


def failed(results: dict[str, Any]) -> bool:
    """A peer that is not installed is no failure; anything else that could not be measured is one."""
    for one in results["scenarios"]:
        for reason in one["absent"].values():
            if "firefly_ws" in reason or not reason.startswith("ModuleNotFoundError"):
                return True
    return False


def store(results: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"stored: {path}")
    try:
        from benchmarks.chart import draw

        draw(results, path.with_suffix(".png"))
    except ImportError as error:
        print(f"no chart: {error}")
    else:
        print(f"drawn: {path.with_suffix('.png')}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Echo, memory and connect benchmarks.")
    parser.add_argument("--quick", action="store_true", help="seconds in all: shows that it runs; measures nothing")
    parser.add_argument("--scenario", action="append", metavar="NAME", help="only this one; a prefix will do")
    parser.add_argument("--subject", action="append", metavar="NAME", help="only this server or client")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measured window")
    parser.add_argument("--warmup", type=float, default=0.4)
    parser.add_argument("--spin", action="store_true", help="the load polls without sleeping: steadier, less lifelike")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: benchmarks/results/WHEN-COMMIT.json")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    given = parser.parse_args(arguments)
    if given.list:
        for one in SCENARIOS:
            print(f"{one.name:16} {one.title}")
        return 0
    if given.rounds < 1 or given.seconds <= 0 or given.warmup < 0:
        parser.error("--rounds is at least 1, --seconds more than 0, --warmup at least 0")
    # So that a SIGTERM unwinds like Ctrl-C and every `finally` stops its process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings = QUICK if given.quick else Settings(given.rounds, given.seconds, given.warmup, 1, spin=given.spin)
    try:
        compiled_load()
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    results = report.circumstances(settings) | {"quick": given.quick, "scenarios": []}
    machine = results["machine"]
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['kernel']}, {results['python']}")
    if cores()[0] is None:
        print("no second core: server and load share one, and the numbers mean little")
    subjects = set(given.subject) if given.subject else None
    try:
        for scenario in chosen(given.scenario):
            taken = take(scenario, settings, subjects)
            results["scenarios"].append(taken)
            print(f"\n{report.table(taken)}", flush=True)
    except KeyboardInterrupt:
        print("\nstopped")
        return 130
    print()
    if given.json or not given.quick:
        commit = (results["commit"]["id"] or "no-commit")[:10]
        stamp = results["when"].partition("+")[0].replace(":", "").replace("-", "")
        store(results, given.json or HERE / "results" / f"{stamp}-{commit}.json")
    met = [target["met"] for one in results["scenarios"] for target in one["targets"]]
    print(f"targets: {met.count(True)} met, {met.count(False)} not met, {met.count(None)} not measured")
    return int(failed(results))


if __name__ == "__main__":
    sys.exit(main())
