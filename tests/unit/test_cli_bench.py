"""The parts of `firefly-ws bench`: its histogram, its messages, its report and its chart; nothing listens here."""

from __future__ import annotations

import argparse
import io
import random
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from firefly_ws.cli import bench
from firefly_ws.cli.benching.chart import draw
from firefly_ws.cli.benching.histogram import Histogram
from firefly_ws.cli.benching.load import Measured, Plan
from firefly_ws.cli.benching.payloads import payloads
from firefly_ws.cli.benching.summary import as_json, lines, plan_in_words, time_in_words

PLAN = Plan(connections=2, depth=1, size=2**20, binary=False, duration=1.0, warmup=0.0)
URL = "ws://127.0.0.1:1/"


def measured(*times: int, cpu: float = 0.5) -> Measured:
    found = Measured(seconds=2.0, messages=len(times), cpu=cpu, opened=2, samples=[(0.0, 0), (2.0, len(times))])
    for time in times:
        found.latency.add(time)
    return found


def told(plan: Plan, found: Measured) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in lines(plan, found)]


def test_a_percentile_is_within_one_percent_of_the_sorted_times() -> None:
    dice = random.Random(1)
    times = sorted(int(dice.lognormvariate(12, 3)) for _ in range(5000))
    histogram = Histogram()
    for time in dice.sample(times, len(times)):
        histogram.add(time)
    assert len(histogram) == len(times)
    for percent in (0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99):
        exact = times[max(0, -(-len(times) * percent // 100).__trunc__() - 1)]
        assert exact <= histogram.percentile(percent) <= exact * 1.01 + 1, percent
    assert histogram.percentile(100) == histogram.largest == times[-1]
    curve = list(histogram.curve())
    assert [below for below, _ in curve] == sorted({below for below, _ in curve})
    assert curve[-1] == (len(times), times[-1])


def test_short_times_are_exact_and_no_time_is_too_long() -> None:
    histogram = Histogram()
    assert (len(histogram), histogram.percentile(50)) == (0, 0.0)
    for time in range(256):
        histogram.add(time)
    assert [time for _, time in histogram.curve()] == [*range(256)]
    for time in (2**43, 2**44, 2**60):
        histogram.add(time)
    assert histogram.percentile(100) >= 2**44
    assert histogram.largest == 2**60
    histogram.clear()
    assert (len(histogram), histogram.largest) == (0, 0)
    histogram.add(7)
    assert histogram.percentile(99.9) == 7


def test_messages_have_the_size_asked_for_and_are_the_same_in_every_run() -> None:
    for size in (0, 1, 2, 125, 5000, 70_000, 6 * 2**20):
        for binary in (True, False):
            found = payloads(size, binary=binary)
            assert {len(one) for one in found} == {size}
            assert len(found) == max(1, min(64, 4 * 2**20 // max(1, size))), size
            assert binary or all(one.isascii() for one in found)
    assert payloads(100, binary=True) == payloads(100, binary=True)
    assert len(set(payloads(100, binary=False))) == 64
    for binary, least, most in ((True, 1.0, 1.1), (False, 0.1, 0.5)):
        one = payloads(200_000, binary=binary)[0]
        assert least < len(zlib.compress(one)) / len(one) < most


def test_times_have_three_digits() -> None:
    cases = {0: "0 ns", 999: "999 ns", 1000: "1.00 µs", 312_400: "312 µs", 99_960: "100 µs", 1_240_000: "1.24 ms"}
    for time, text in {**cases, 12_345_678: "12.3 ms", 999_600_000: "1.00 s", 61e9: "61.0 s"}.items():
        assert time_in_words(time) == text


def test_the_report_gives_rate_latencies_and_errors() -> None:
    found = measured(*(1000 * number for number in range(1, 101)))
    assert told(PLAN, found) == [
        "rate      50 messages/s   50.00 MiB/s each way",
        "latency   p50        p90        p99        p99.9      max",
        "          50.2 µs    90.1 µs    99.3 µs    100 µs     100 µs",
        "messages  100 in 2.0 s",
        "own CPU   25%",
        "errors    none",
    ]
    assert plan_in_words(PLAN) == "2 connections, 1048576 bytes of text"
    json = as_json(URL, PLAN, found)
    assert json["latency"]["max"] == 0.0001
    assert (json["messages_per_second"], json["bytes_per_second"]) == (50.0, 50.0 * 2**20)
    assert (json["own_cpu"], json["held_up_by_bench"], json["errors"]) == (0.25, False, {})


def test_the_report_says_when_the_bench_was_the_bottleneck_and_what_went_wrong() -> None:
    plan = Plan(1, 8, 10, True, 1.0, 0.0, compression=True)
    found = measured(1000, cpu=1.9)
    found.errors.update({f"error {number}": 20 - number for number in range(12)})
    assert told(plan, found)[4:9] == [
        "own CPU   95%",
        "          this process was what held it up, or close to it: the server may be faster",
        "          the server did not agree to permessage-deflate",
        "errors    20 × error 0",
        "          19 × error 1",
    ]
    assert told(plan, found)[-1] == "          … 2 others"
    assert plan_in_words(plan) == "1 connection, 8 messages in flight on each, 10 bytes of binary, compressed"
    assert as_json(URL, plan, found)["held_up_by_bench"] is True
    nothing = Measured(errors=found.errors)
    assert told(plan, nothing)[0] == "errors    20 × error 0"
    assert as_json(URL, plan, nothing)["messages_per_second"] == 0


@pytest.mark.slow
def test_a_chart_is_drawn_of_few_messages_and_of_many(tmp_path: Path) -> None:
    name = str(tmp_path / "chart.png")
    for found in (measured(5), measured(*range(1, 300_000, 70))):
        draw(name, URL, PLAN, found)
        assert Path(name).read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load: Any = SimpleNamespace(plan=PLAN, found=measured(5, 1_000_000))
    for option in ("json", "png"):
        options = argparse.Namespace(**{"url": URL, "json": None, "png": None, option: str(tmp_path)})
        assert bench._report(load, options) == 1
        assert capsys.readouterr().err == f"firefly-ws: {tmp_path}: Is a directory\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_far_it_is_and_without_rich_it_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, rich in ((Terminal(), True), (Terminal(), False), (io.StringIO(), True)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            if not rich:
                for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
                    patch.delitem(sys.modules, name)
                patch.setitem(sys.modules, "rich", None)
            with bench._progress() as watch:
                watch("measuring", 0.5, 12_345)
        assert ("measuring" in stream.getvalue()) == (stream.isatty() and rich)
        assert ("12,345 messages" in stream.getvalue()) == (stream.isatty() and rich)
