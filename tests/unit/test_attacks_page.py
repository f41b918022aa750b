"""`docs/attacks.md` shows the figures that are stored, and the attacks there are."""

from __future__ import annotations

import json

import pytest

from benchmarks.attacks import report, run
from benchmarks.attacks.table import ATTACKS
from benchmarks.attacks.wire import close_code


def test_the_page_is_what_the_stored_figures_make_of_it() -> None:
    page = report.PAGE.read_text()
    results = json.loads(report.STORED.read_text())
    assert report.page_of(page, results) == page
    assert set(results["attacks"]) <= {one.name for one in ATTACKS}


def test_each_attack_has_a_name_of_its_own() -> None:
    assert len({one.name for one in ATTACKS}) == len({one.title for one in ATTACKS}) == len(ATTACKS)
    with pytest.raises(SystemExit, match=r"--only nobody: the attacks are .*bomb"):
        run.chosen(["nobody"])


def test_what_misses_the_aims_is_said() -> None:
    attack = ATTACKS[0]
    fine = {"memory_mib": 0.5, "ended": "", "wait_ms": 3.0, "new_ms": 8.0, "new_failed": 0}
    assert report.misses(attack, fine) == []
    for change, what in (
        ({"memory_mib": 40.0}, "40 MiB of memory"),
        ({"ended": "reset"}, "client: reset"),
        ({"wait_ms": 1500.0}, "waited 1.5 s"),
        ({"new_ms": 1500.0}, "within a second"),
        ({"new_failed": 1}, "within a second"),
    ):
        assert [what in one for one in report.misses(attack, fine | change)] == [True], change


def test_the_code_of_a_close_frame_is_found_behind_other_bytes() -> None:
    for tail, code in (
        (b"\x82\x01x\x88\x02\x03\xe8", 1000),
        (b"\x88\x05\x03\xf1why", 1009),
        (b"\x88\x00", 1005),
        (b"\x82\x01x", None),
        (b"", None),
    ):
        assert close_code(tail) == code, tail
