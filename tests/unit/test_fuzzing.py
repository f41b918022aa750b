"""A short run of each fuzzer, what the long ones have kept, and faults that are planted for them to find."""

from __future__ import annotations

import asyncio
import logging
import random
import types
from pathlib import Path

import judge as judging
import pytest
from every import for_each
from fuzz.corpus import kept, texts
from fuzz.differing import WAYS, Difference, compare, shrink
from fuzz.keeping import chosen
from fuzz.streams import random_case
from fuzz.texts import TARGETS, mutated

STAGES = {"the stages": WAYS["the stages"]}

#: A rule of the judge and what it becomes: whoever agrees with the judge as it is disagrees then.
FAULTS = {
    "surrogates are characters": ("((0xED, 0xED), [(0x80, 0x9F)", "((0xED, 0xED), [(0x80, 0xBF)"),
    "overlong forms are characters": ("((0xE0, 0xE0), [(0xA0, 0xBF)", "((0xE0, 0xE0), [(0x80, 0xBF)"),
    "text may end within a character": ('        utf8.end()\n        return ("close"', '        return ("close"'),
    "a message may be one byte too large": ("if limit is not None and size > limit", "if limit and size > limit + 1"),
    "a frame at its limit is too large": ("length > self.frame_limit", "length >= self.frame_limit"),
    "a fragment more": ("self.fragments > self.fragment_limit", "self.fragments > self.fragment_limit + 1"),
    "close 1004 may be sent": ("(1000, 1001, 1002, 1003, *", "(1000, 1001, 1002, 1003, 1004, *"),
    "close 5000 may be sent": ("range(3000, 5000)", "range(3000, 5001)"),
    "a Close of one byte is an empty one": ("if not payload:", "if len(payload) < 2:"),
    "a length in a longer form": ("or length < 65536", "or length < 126"),
    "a length of 64 bits": ("length >= 2**63 or", ""),
    "a continuation of nothing": ("if opcode == CONT and self.opcode is None", "if opcode == CONT and False"),
    "text within text": ("if opcode in (TEXT, BINARY) and self.opcode is not None", "if False"),
    "RSV1 on a control frame": ("self.deflate and opcode < 8)", "self.deflate)"),
    "RSV1 on a continuation": ("if rsv and opcode == CONT:", "if False:"),
    "a ping in fragments": ("(not fin or short > 125)", "(short > 125)"),
    "a ping of 126 bytes": ("(not fin or short > 125)", "(not fin or short > 126)"),
    "a mask that starts anew": ("head.key[index % 4]", "head.key[index % 3]"),
    "no mask where there must be one": ("if masked != self.masked", "if masked and not self.masked"),
    "a window that is kept": ("if not self.takeover:", "if False:"),
    "a window that is not kept": ("if not self.takeover:", "if True:"),
    "a block behind an end": ("if self.zlib.eof:", "if False:"),
    "the sender's four bytes are not put back": ('b"\\x00\\x00\\xff\\xff"', 'b""'),
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "firefly_ws")


def held(seeds: range, at_once: int) -> None:
    """Every way of receiving agrees with the judge, *at_once* of them on each stream."""

    async def run() -> None:
        for seed in seeds:
            ways = [list(WAYS.items())[(seed + index) % len(WAYS)] for index in range(at_once)]
            try:
                await compare(random_case(seed), dict(ways))
            except Difference:
                smallest = await shrink(random_case(seed))
                raise AssertionError(f"seed {seed}: {smallest}") from None

    asyncio.run(run())


def test_random_streams_are_read_alike_by_callbacks_by_receive_and_raw() -> None:  # K4
    held(range(100), 2)


@pytest.mark.slow
def test_thousands_of_random_streams_are_read_alike_in_every_way() -> None:
    held(range(1000, 5000), len(WAYS))


def test_what_a_fuzzer_has_kept_is_read_alike_in_every_way() -> None:
    async def run() -> None:
        for name, case in kept():
            try:
                await compare(case)
            except Difference as difference:
                difference.add_note(f"in the corpus: {name}.json")
                raise

    assert len(list(kept())) >= 2
    asyncio.run(run())


def find(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = FAULTS[name]
    source = Path(judging.__file__).read_text()
    assert source.count(old) == 1, "the judge reads otherwise now: plant the fault anew"
    wrong = types.ModuleType("wrong_judge")
    exec(compile(source.replace(old, new), name, "exec"), wrong.__dict__)

    async def run() -> int | None:
        for seed in range(5000):
            try:
                await compare(random_case(seed), STAGES)
            except (AssertionError, UnicodeDecodeError):  # a `Difference`, or an error of the wrong judge
                return seed
        return None

    with monkeypatch.context() as patch:
        patch.setattr(judging, "judge", wrong.judge)
        found = asyncio.run(run())
    assert found is not None, "no stream has found it"


@for_each("name", ["a fragment more", "a ping of 126 bytes", "a mask that starts anew", "a block behind an end"])
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find(name, monkeypatch)


@pytest.mark.slow
@for_each("name", FAULTS)
def test_every_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find(name, monkeypatch)


def test_a_difference_is_shown_by_its_smallest_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads a finding should not have to look through eight messages for the one that matters."""
    real = judging.judge
    monkeypatch.setattr(
        judging, "judge", lambda *how, **options: [event for event in real(*how, **options) if event[0] != "pong"]
    )

    async def run() -> Difference:
        for seed in range(100):
            try:
                await compare(random_case(seed), STAGES)
            except Difference:
                smallest = await shrink(random_case(seed), STAGES)
                assert smallest is not None
                return smallest
        raise AssertionError("nothing was found")

    smallest = asyncio.run(run())
    assert len(smallest.case.parts) == 1
    assert "pong" in str(smallest)


def changed(rounds: int, seed: int) -> None:
    for name, (target, seeds) in TARGETS.items():
        for data in seeds:
            target(data)
        dice = random.Random(seed)
        for _ in range(rounds):
            data = mutated(seeds, dice)
            try:
                target(data)
            except Exception as error:
                error.add_note(f"{name} of {data!r}")
                raise


def test_changed_texts_raise_what_is_documented_and_nothing_else() -> None:
    changed(60, 6455)


@pytest.mark.slow
def test_thousands_of_changed_texts_raise_what_is_documented() -> None:
    changed(20_000, 1)


@for_each("name", TARGETS)
def test_what_coverage_has_led_to_is_kept_and_still_raises_what_is_documented(name: str) -> None:
    target, _ = TARGETS[name]
    inputs = texts(name)
    assert len(inputs) >= 5
    for data in inputs:
        try:
            target(data)
        except Exception as error:
            error.add_note(f"{name} of {data!r}")
            raise


def test_an_input_is_kept_for_a_way_that_no_other_goes() -> None:
    target, _ = TARGETS["url"]
    known = [b"ws://example.com/"]
    assert chosen(target, known, [b"ws://example.org/a", b"wss://[::1/", b"wss://[::2/", b"x" * 1000]) == [
        b"wss://[::1/"
    ]
