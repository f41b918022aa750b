"""A connection lives through any order of what its user, its peer, its transport and time may do."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fuzz.life import Life
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from firefly_ws import DONE
from firefly_ws._core.connection import Connection

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "firefly_ws")


def test_any_order_of_events_keeps_every_promise() -> None:
    run_state_machine_as_test(Life, settings=settings(PATIENT, max_examples=25, stateful_step_count=25))


def test_a_life_that_is_lost_in_a_pause_with_a_message_waiting_is_told_of_its_end() -> None:
    """Found once in thousands of lives: the machine waited for ``close_timeout``, which it does not let pass."""
    life: Any = Life()
    life.begin(kind="async callbacks", is_client=False, deflate=False, keepalive=False, quiet=0)
    for _ in range(2):
        life.peer_sends(filling=0, kind="text", pieces=1)
    life.bytes_arrive(size=10_000)
    life.user_pauses_or_resumes_reading(pause=True)
    life.the_transport_is_lost(error=None)
    life.teardown()


class Forgetful(Connection):
    """Loses what is sent while the peer does not read."""

    def send(self, data: Any) -> Any:
        return DONE if self.buffered_amount else super().send(data)


class Silent(Connection):
    """Has somebody wait for ever."""

    def wait_closed(self) -> Any:
        return asyncio.get_running_loop().create_future()


class Premature(Connection):
    """Says that all has left, and it has not."""

    def flush(self) -> Any:
        return DONE


class Deaf(Connection):
    """Stops reading, and does not begin again."""

    def resume_reading(self) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [Forgetful, Silent, Premature, Deaf])
def test_a_connection_that_breaks_a_promise_is_found_out(wrong: type[Connection]) -> None:
    machine = type("Planted", (Life,), {"connection_class": wrong})
    quick = settings(PATIENT, max_examples=400, stateful_step_count=30, phases=[Phase.generate], database=None)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(machine, settings=settings(quick, report_multiple_bugs=False, derandomize=True))


@pytest.mark.slow
def test_hundreds_of_long_lives_in_any_order_of_events_keep_every_promise() -> None:
    run_state_machine_as_test(Life, settings=settings(PATIENT, max_examples=500, stateful_step_count=50))
