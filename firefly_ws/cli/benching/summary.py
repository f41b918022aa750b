"""What has been measured, as lines for people and as JSON; measures nothing, prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .load import Measured, Plan

__all__ = ["BUSY", "PERCENTILES", "as_json", "lines", "plan_in_words", "time_in_words"]

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
#: Share of a processor above which this process, which has one loop, may have been what held up the rest.
BUSY: Final = 0.9

_MIB: Final = 2**20
_DIFFERENT: Final = 10  # errors shown


def time_in_words(nanoseconds: float) -> str:
    """A time with three digits: ``312 µs``, ``1.24 ms``."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size * 0.9995:
            value = nanoseconds / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{nanoseconds:.0f} ns"


def plan_in_words(plan: Plan) -> str:
    """One line for the head of the report and of the chart."""
    many = "" if plan.connections == 1 else "s"
    flight = f", {plan.depth} messages in flight on each" if plan.depth > 1 else ""
    packed = ", compressed" if plan.compression else ""
    what = f"{plan.size} bytes of {'binary' if plan.binary else 'text'}{packed}"
    return f"{plan.connections} connection{many}{flight}, {what}"


def _share(found: Measured) -> float:
    return found.cpu / found.seconds if found.seconds else 0.0


def _rate(found: Measured) -> float:
    return found.messages / found.seconds if found.seconds else 0.0


def lines(plan: Plan, found: Measured) -> list[tuple[tuple[str, str], ...]]:
    """The report: lines of parts, each with its style."""
    if not found.messages:
        return _errors(found)
    rate, share = _rate(found), _share(found)
    times = [(f"p{percent:g}", found.latency.percentile(percent)) for percent in PERCENTILES]
    times.append(("max", float(found.latency.largest)))
    words = [(name, time_in_words(time)) for name, time in times]
    told: list[tuple[tuple[str, str], ...]] = [
        (
            ("rate      ", "bold"),
            (f"{rate:,.0f} messages/s", "bold green"),
            (f"   {rate * plan.size / _MIB:,.2f} MiB/s each way", ""),
        ),
        (("latency   ", "bold"), ("".join(f"{name:<11}" for name, _ in words), "dim")),
        (("", ""), (f"{'':<10}" + "".join(f"{time:<11}" for _, time in words), "")),
        (("messages  ", "bold"), (f"{found.messages:,} in {found.seconds:.1f} s", "")),
        (("own CPU   ", "bold"), (f"{share:.0%}", "")),
    ]
    if share >= BUSY:
        told.append(
            ((f"{'':<10}this process was what held it up, or close to it: the server may be faster", "yellow"),)
        )
    if plan.compression and not found.compressed:
        told.append((("", ""), (f"{'':<10}the server did not agree to permessage-deflate", "yellow")))
    return [*told, *_errors(found)]


def _errors(found: Measured) -> list[tuple[tuple[str, str], ...]]:
    shown = [(f"{count} × {error}", "red") for error, count in found.errors.most_common(_DIFFERENT)]
    if len(found.errors) > _DIFFERENT:
        shown.append((f"… {len(found.errors) - _DIFFERENT} others", "red"))
    heads = ["errors", *[""] * len(shown)]
    return [((f"{head:<10}", "bold"), part) for head, part in zip(heads, shown or [("none", "")], strict=False)]


def as_json(url: str, plan: Plan, found: Measured) -> dict[str, Any]:
    """All of it; times in seconds, sizes in bytes."""
    latency = {f"p{percent:g}": found.latency.percentile(percent) / 1e9 for percent in PERCENTILES}
    return {
        "url": url,
        "connections": plan.connections,
        "depth": plan.depth,
        "size": plan.size,
        "type": "binary" if plan.binary else "text",
        "compression": found.compressed,
        "warmup": plan.warmup,
        "seconds": found.seconds,
        "messages": found.messages,
        "messages_per_second": _rate(found),
        "bytes_per_second": _rate(found) * plan.size,
        "latency": {**latency, "max": found.latency.largest / 1e9},
        "opened": found.opened,
        "errors": dict(found.errors),
        "own_cpu": _share(found),
        "held_up_by_bench": _share(found) >= BUSY,
        "samples": [{"at": at, "messages": messages} for at, messages in found.samples],
    }
