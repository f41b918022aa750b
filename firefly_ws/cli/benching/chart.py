"""Draws one run as a PNG: latency by percentile, and the rate over time. One of the few files that know matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .summary import PERCENTILES, plan_in_words, time_in_words

if TYPE_CHECKING:
    from .load import Measured, Plan

__all__ = ["draw"]

_INK: Final = "#22303c"
_LINE: Final = "#d9480f"
_SOFT: Final = "#e9ecef"


def draw(name: str, url: str, plan: Plan, found: Measured) -> None:
    """Write the chart to the file *name*; raises ``OSError``."""
    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(f"{url}    {plan_in_words(plan)}", fontsize=11, color=_INK)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _latency(left, found)
    _rate(right, found)
    for axes in (left, right):
        axes.grid(color=_SOFT)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_INK, labelsize=9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    canvas.print_figure(name, format="png")


def _latency(axes: Any, found: Measured) -> None:
    """Each 9 of the percentile takes the same room, or the slow ones would hide in the last pixel."""
    count = len(found.latency)
    curve = [(count / (count - below) if below < count else 2.0 * count, time) for below, time in found.latency.curve()]
    axes.plot(*zip((1.0, curve[0][1]), *curve, strict=True), color=_LINE, linewidth=2, drawstyle="steps-pre")
    for percent in PERCENTILES:
        time, at = found.latency.percentile(percent), 1 / (1 - percent / 100)
        if at <= 2 * count:
            axes.plot(at, time, "o", color=_LINE, markersize=5)
            axes.annotate(
                f"p{percent:g}\n{time_in_words(time)}",
                (at, time),
                xytext=(6, -5),  # below and to the right of a rising line there is room
                textcoords="offset points",
                va="top",
                fontsize=8,
                color=_INK,
            )
    nines = [1, 2] + [10**power for power in range(1, 8) if 10**power <= 2 * count]
    axes.set_xscale("log")
    axes.set_xlim(1, max(2 * count, 2.1))
    axes.set_xticks(nines, [f"{100 - 100 / nine:.6g} %" for nine in nines])
    axes.minorticks_off()
    most, middle = found.latency.largest, found.latency.percentile(50)
    if most > 20 * middle:
        axes.set_yscale("log")
        axes.set_ylim(top=most * 1.6)
    else:
        axes.set_ylim(0, most * 1.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda time, _: time_in_words(time) if time else "0"))
    axes.set_title("Latency: so many of the messages were back within", fontsize=10, color=_INK, loc="left")


def _rate(axes: Any, found: Measured) -> None:
    pairs = list(zip(found.samples, found.samples[1:], strict=False))
    rates = [((a[0] + b[0]) / 2, (b[1] - a[1]) / (b[0] - a[0])) for a, b in pairs if b[0] > a[0]]
    if rates:
        axes.plot(*zip(*rates, strict=True), color=_INK, linewidth=1.5)
        axes.fill_between(*zip(*rates, strict=True), color=_SOFT)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds", fontsize=9, color=_INK)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:,.0f}"))
    axes.set_title("Messages a second", fontsize=10, color=_INK, loc="left")
