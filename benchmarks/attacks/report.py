"""The tables of docs/attacks.md, from the figures of a run. Measures nothing; a test holds the page to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.attacks.table import ATTACKS, MEMORY, WAIT, Attack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
STORED = Path(__file__).resolve().parents[1] / "results" / "attacks.json"
OURS, PEERS = "ours", "peers"

Results = dict[str, Any]


def milliseconds(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def memory(value: float) -> str:
    return f"{max(value, 0):.1f} MiB" if value < 10 else f"{value:,.0f} MiB"


def served(one: dict[str, Any]) -> str:
    """Whether somebody new was served within a second, and how long it took at most."""
    if one["new_failed"]:
        return f"no: {one['new_failed']} were not"
    return f"{'yes' if one['new_ms'] < 1000 else 'no'}, {milliseconds(one['new_ms'])}"


def waited(one: dict[str, Any]) -> str:
    return f"ended: {one['ended']}" if one["ended"] else milliseconds(one["wait_ms"])


def misses(attack: Attack, one: dict[str, Any]) -> list[str]:
    """What was asked for and is not so."""
    found = []
    if one["memory_mib"] > MEMORY:
        found.append(f"{memory(one['memory_mib'])} of memory, more than {MEMORY:g}")
    if one["ended"]:
        found.append(f"the well-behaved client: {one['ended']}")
    elif one["wait_ms"] > WAIT:
        found.append(f"the well-behaved client waited {milliseconds(one['wait_ms'])}, more than {WAIT:g} ms")
    if not served(one).startswith("yes") and attack.server != "few":
        found.append("somebody new was not served within a second")
    return found


def ours(results: Results) -> list[str]:
    lines = [
        "| attack | what stops it | the attacker saw | memory | longest wait | somebody new within 1 s | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    for attack in ATTACKS:
        one = results["attacks"].get(attack.name, {}).get("firefly")
        if one and "saw" in one:
            cells = [attack.title, attack.bound, one["saw"], memory(one["memory_mib"]), waited(one), served(one)]
            lines.append(f"| {' | '.join([*cells, milliseconds(one['machine_ms'])])} |")
    return lines


def peers(results: Results) -> list[str]:
    names = [name for name in ("picows", "websockets", "aiohttp") if name in results["versions"]]
    titles = [f"{name} {results['versions'][name]}" for name in ("firefly", *names)]
    titles[0] = f"firefly_ws {results['versions']['firefly']}"
    lines = [f"| attack | {' | '.join(titles)} |", f"|---{'|---' * len(titles)}|"]
    for attack in ATTACKS:
        if not any(name in results["attacks"].get(attack.name, {}) for name in names):
            continue
        cells = []
        for name in ("firefly", *names):
            one = results["attacks"].get(attack.name, {}).get(name)
            if not one:
                cells.append("")
            elif "saw" not in one:
                cells.append(one["absent"])
            else:
                cells.append(f"{one['saw']}; {memory(one['memory_mib'])}; {waited(one)}")
        lines.append(f"| {attack.title} | {' | '.join(cells)} |")
    return lines


def circumstances(results: Results) -> str:
    rounds = f"medians of {results['rounds']} runs" if results["rounds"] > 1 else "one run of each"
    where = "one core for the server and another for the rest" if results["cores"] > 1 else "one core for all"
    return f"Measured {results['when']}: {results['python']}, {where}, {rounds}."


def between(page: str, name: str, lines: list[str]) -> str:
    """*page* with what stands between the marks of *name* replaced."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    head, _, rest = page.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"{PAGE.name} has no marks {begin.strip()} and {end.strip()}")
    return head + begin + "\n".join(["", *lines, "", ""]) + end + tail


def page_of(page: str, results: Results) -> str:
    """docs/attacks.md with the figures of *results*."""
    page = between(page, "circumstances", [circumstances(results)])
    return between(between(page, OURS, ours(results)), PEERS, peers(results))
