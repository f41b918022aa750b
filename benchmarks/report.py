"""Turns rounds into medians, verdicts, a table, JSON and a chart. Knows numbers only; measures nothing."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.measure import BUSY, Settings
from benchmarks.processes import ROOT, Metrics, cores
from benchmarks.scenarios import COLUMN_TITLES, KINDS, Scenario, Target

FORMAT = 1
PACKAGES = (
    "firefly-ws", "uvloop", "picows", "aiofastnet", "websockets", "aiohttp", "uvicorn", "starlette", "wsproto",
    "Cython",
)  # fmt: skip

Rounds = list[dict[str, Metrics]]


def median_of(rounds: Rounds, subject: str, metric: str) -> float | None:
    values = [one[subject][metric] for one in rounds if metric in one.get(subject, {})]
    return statistics.median(values) if values else None


def median_ratio(rounds: Rounds, above: tuple[str, str], below: tuple[str, str]) -> float | None:
    """The median of the ratios within each round, which what changed between the rounds does not touch."""
    ratios = [
        one[above[0]][above[1]] / one[below[0]][below[1]]
        for one in rounds
        if above[1] in one.get(above[0], {}) and one.get(below[0], {}).get(below[1])
    ]
    return statistics.median(ratios) if ratios else None


def times_better(scenario: Scenario, rounds: Rounds, subject: str) -> float | None:
    """How many times as good as the scenario's reference, in what the kind of scenario is about."""
    kind = KINDS[scenario.kind]
    mine, reference = (subject, kind.compared), (scenario.reference, kind.compared)
    return median_ratio(rounds, mine, reference) if kind.higher_is_better else median_ratio(rounds, reference, mine)


def verdict(target: Target, rounds: Rounds) -> dict[str, Any]:
    mine = (target.subject, target.metric)
    if target.against:
        value = median_ratio(rounds, mine, (target.against, target.metric))
    elif target.denominator:
        value = median_ratio(rounds, mine, (target.subject, target.denominator))
    else:
        value = median_of(rounds, *mine)
    met = None if value is None else value <= target.bound if target.at_most else value >= target.bound
    relation = "at most" if target.at_most else "at least"
    return {
        "text": target.text,
        "subject": target.subject,
        "against": target.against,
        "metric": target.metric,
        "relation": relation,
        "bound": target.bound,
        "value": value,
        "met": met,
    }


def summary(scenario: Scenario, rounds: Rounds, absent: dict[str, str]) -> dict[str, Any]:
    medians = {}
    for subject in scenario.subjects:
        names = {name for one in rounds for name, value in one.get(subject, {}).items() if not isinstance(value, str)}
        if names:
            medians[subject] = {name: median_of(rounds, subject, name) for name in sorted(names)}
            medians[subject]["times_better"] = times_better(scenario, rounds, subject)
    return {
        "name": scenario.name,
        "title": scenario.title,
        "kind": scenario.kind,
        "options": scenario.options,
        "reference": scenario.reference,
        "medians": medians,
        "targets": [verdict(target, rounds) for target in scenario.targets],
        "absent": absent,
        "rounds": rounds,
    }


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    if metric in ("load_share", "given_back"):
        return f"{value:.0%}"
    if metric == "rate" or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def table(one: dict[str, Any]) -> str:
    """A scenario's medians, one subject a row, and its targets below."""
    columns = KINDS[one["kind"]].columns
    rows = [["", *(COLUMN_TITLES[c] for c in columns), f"× {one['reference']}"]]
    for subject, medians in one["medians"].items():
        cells = [_number(c, medians.get(c)) for c in columns]
        better = medians["times_better"]
        rows.append([subject, *cells, "-" if better is None else f"{better:.2f}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [f"{one['name']}: {one['title']}"]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    for subject, reason in one["absent"].items():
        lines.append(f"  {subject}: not measured: {reason}")
    for subject, medians in one["medians"].items():
        if medians.get("waited_share", 0) > BUSY:
            lines.append(f"  {subject}: waited for its core {medians['waited_share']:.0%} of the time: machine busy")
    for target in one["targets"]:
        state = {True: "met", False: "NOT MET", None: "not measured"}[target["met"]]
        value = "" if target["value"] is None else f"{target['value']:.3g} "
        lines.append(f"  target: {target['text']}: {value}({target['relation']} {target['bound']:g}): {state}")
    return "\n".join(lines)


def _first_line(command: list[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return (done.stdout.splitlines() or [""])[0] if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _proc(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def circumstances(settings: Settings) -> dict[str, Any]:
    """Everything one needs to know before comparing two files of results."""
    server_core, load_core = cores()
    return {
        "format": FORMAT,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": {
            "id": _first_line(["git", "rev-parse", "HEAD"]),
            "changed": bool(_first_line(["git", "status", "--porcelain", "--untracked-files=no"])),
        },
        "machine": {
            "cpu": _proc("/proc/cpuinfo", "model name") or platform.processor(),
            "cores": os.cpu_count(),
            "memory": _proc("/proc/meminfo", "MemTotal"),
            "kernel": f"{platform.system()} {platform.release()}",
            "compiler": _first_line([os.environ.get("CC", "cc"), "--version"]),
            "load_average": os.getloadavg()[0],
        },
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {package: _version(package) for package in PACKAGES},
        "settings": {
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "warmup": settings.warmup,
            "scale": settings.scale,
            "spin": settings.spin,
            "server_core": server_core,
            "load_core": load_core,
        },
    }
