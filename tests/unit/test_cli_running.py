"""A command's life on the loop: its exit code, and what signals make of it."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from firefly_ws.cli.running import run_to_exit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

ENDING = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ENDING]


def test_a_signal_cancels_the_command_and_is_its_exit_code() -> None:
    said: list[str] = []

    async def command(number: int, stubborn: bool) -> int:
        if number:
            signal.raise_signal(number)
        else:
            return 7
        try:
            await asyncio.Event().wait()
        finally:
            said.append("goodbye")
            if stubborn:
                signal.raise_signal(number)
                await asyncio.Event().wait()
        raise AssertionError("it went on")

    before = handlers()
    assert run_to_exit(lambda: command(0, False)) == 7
    for number in ENDING:
        for stubborn in (False, True):
            assert run_to_exit(lambda: command(number, stubborn)) == 128 + number  # noqa: B023
    assert said == ["goodbye"] * 4
    assert handlers() == before


def test_an_error_is_not_hidden_and_an_ignored_signal_stays_ignored() -> None:
    async def command() -> int:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        raise LookupError("mine")

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(LookupError, match="mine"):
            run_to_exit(command)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
