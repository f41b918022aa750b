"""A connection lives through any order of what its user, its peer, its transport and time may do."""

from __future__ import annotations

import logging

import pytest
from fuzz.life import Life
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "firefly_ws")


def test_any_order_of_events_keeps_every_promise() -> None:
    run_state_machine_as_test(Life, settings=settings(PATIENT, max_examples=40, stateful_step_count=25))


@pytest.mark.slow
def test_thousands_of_orders_of_events_keep_every_promise() -> None:
    run_state_machine_as_test(Life, settings=settings(PATIENT, max_examples=3000, stateful_step_count=60))
