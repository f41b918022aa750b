"""Draws a file of results as one PNG. Knows the JSON's shape and matplotlib; takes no number from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {"firefly": "#d1495b", "picows": "#00798c", "websockets": "#edae49", "aiohttp": "#66a182", "c": "#999999"}
PANELS = (
    ("CPU µs of the server per echoed message (log scale; shorter is better)", "load", "cpu_us", True),
    ("KiB of memory per idle connection", "idle", "idle_kib", False),
    ("CPU µs to accept, upgrade and close", "churn", "cpu_us", False),
    ("Echoes per second of one client, one in flight", "client", "rate", False),
)
HATCHES = {"typed": "..", "async": "//", "deflate": "", "deflate1": "\\\\"}


def draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = [
        (title, metric, logarithmic, [one for one in results["scenarios"] if one["kind"] == kind and one["medians"]])
        for title, kind, metric, logarithmic in PANELS
    ]
    panels = [panel for panel in found if panel[3]]
    if not panels:
        return
    bars = [sum(len(one["medians"]) + 1.5 for one in scenarios) for *_, scenarios in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(11, 0.24 * sum(bars) + 1.1 * len(panels)), height_ratios=bars, squeeze=False
    )
    for axis, (title, metric, logarithmic, scenarios) in zip(axes[:, 0], panels, strict=True):
        _panel(axis, title, metric, logarithmic, scenarios)
    machine, commit = results["machine"], results["commit"]
    state = f"{(commit['id'] or 'no commit')[:12]}{' with changes' if commit['changed'] else ''}"
    figure.text(
        0.01, 0.004, f"{results['when']} · {state} · {machine['cpu']} · {results['python']}", fontsize=7, color="#555"
    )
    figure.tight_layout(rect=(0, 0.012, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(axis: Any, title: str, metric: str, logarithmic: bool, scenarios: list[dict[str, Any]]) -> None:
    at, ticks, names = 0.0, [], []
    for one in scenarios:
        axis.text(0.0, at - 0.62, one["title"], transform=axis.get_yaxis_transform(), fontsize=8, weight="bold")
        for subject, medians in one["medians"].items():
            library, _, variant = subject.partition("-")
            value = medians[metric]
            axis.barh(at, value, 0.8, color=COLOURS.get(library, "#888"), hatch=HATCHES.get(variant), edgecolor="white")
            label = f" {value:,.0f}" if value >= 100 else f" {value:.2f}"
            axis.text(value, at, label, va="center", fontsize=7)
            ticks.append(at)
            names.append(subject)
            at += 1
        at += 1.3
    axis.set_yticks(ticks, names, fontsize=8)
    axis.set_ylim(at - 1.3, -1.3)
    if logarithmic:
        axis.set_xscale("log")
    axis.margins(x=0.08)
    axis.set_title(title, fontsize=10, loc="left", pad=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
