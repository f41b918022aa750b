"""`python -m benchmarks.attacks`: one attack after the other; prints, stores, writes the page. Knows the order."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks.attacks import report
from benchmarks.attacks.measure import measured
from benchmarks.attacks.table import ALL, ATTACKS, Attack
from benchmarks.processes import BenchmarkError, cores


def chosen(names: list[str] | None) -> list[Attack]:
    known = {one.name: one for one in ATTACKS}
    for name in names or ():
        if name not in known:
            raise SystemExit(f"--only {name}: the attacks are {', '.join(known)}")
    return [known[name] for name in names] if names else list(ATTACKS)


def take(attack: Attack, library: str, rounds: int, tries: int) -> dict[str, Any]:
    try:
        return measured(attack, library, rounds, tries)
    except (BenchmarkError, OSError, ValueError) as error:
        return {"absent": str(error)}


def line(attack: Attack, library: str, one: dict[str, Any]) -> str:
    if "absent" in one:
        return f"{attack.name:18}{library:11}not measured: {one['absent']}"
    figures = f"{report.memory(one['memory_mib']):>9}  waited {report.waited(one)}  new: {report.served(one)}"
    return f"{attack.name:18}{library:11}{figures}  machine {one['machine_ms']:.0f} ms  {one['saw']}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description="What attacks cost a server.")
    parser.add_argument("--only", action="append", metavar="NAME", help="this attack; may be given again")
    parser.add_argument("--peers", action="store_true", help="the same on picows, websockets and aiohttp")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, of which the medians count; 1")
    parser.add_argument("--tries", type=int, default=3, help="of a run while the machine is busy; 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures")
    parser.add_argument("--write", action="store_true", help="store them, and write docs/attacks.md")
    parser.add_argument("--list", action="store_true", help="name the attacks and end")
    given = parser.parse_args(arguments)
    if given.list:
        for one in ATTACKS:
            print(f"{one.name:18}{one.title}")
        return 0
    if given.rounds < 1 or given.tries < 1:
        parser.error("--rounds and --tries are at least 1")
    if sys.platform != "linux":
        parser.error("the memory of a process is read from Linux's /proc")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # every `finally` stops its process
    results: report.Results = {
        "when": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "cores": 1 if cores()[0] is None else 2,
        "rounds": given.rounds,
        "python": f"{platform.python_implementation()} {platform.python_version()}", "versions": {}, "attacks": {},
    }  # fmt: skip
    if given.write and given.only and report.STORED.exists():
        # The others stay as they are.
        results |= {name: json.loads(report.STORED.read_text())[name] for name in ("versions", "attacks")}
    unmeasured = 0
    missed = []
    stored = [path for path in (given.json, report.STORED if given.write else None) if path is not None]
    for attack in chosen(given.only):
        subjects = ["firefly", *(name for name in ALL if given.peers and name in attack.peers)]
        for library in subjects:
            taken = take(attack, library, given.rounds, given.tries)
            results["attacks"].setdefault(attack.name, {})[library] = taken
            print(line(attack, library, taken), flush=True)
            if "absent" in taken:
                unmeasured += library == "firefly" or not taken["absent"].startswith("ModuleNotFoundError")
                continue
            results["versions"][library] = taken["version"]
            if library == "firefly":
                missed += [f"{attack.name}: {what}" for what in report.misses(attack, taken)]
        for path in stored:  # each time: what has been measured stays, however this ends
            path.write_text(json.dumps(results, indent=1) + "\n")
    for path in stored:
        print(f"stored: {path}")
    if given.write:
        report.PAGE.write_text(report.page_of(report.PAGE.read_text(), results))
        print(f"written: {report.PAGE}")
    print("\n".join(["", "asked for and not met:", *missed] if missed else ["", "all that was asked for is met"]))
    return int(unmeasured > 0)
