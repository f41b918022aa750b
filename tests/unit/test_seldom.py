"""Log lines of which a peer can cause any number: one of a kind a second."""

from __future__ import annotations

import logging

import pytest

from firefly_ws.seldom import Seldom


def test_a_kind_is_logged_once_and_the_next_line_says_how_many_were_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr("firefly_ws.seldom.time.monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    seldom = Seldom(logging.getLogger("a test"))
    for number in range(1000):
        seldom("one", logging.INFO, "refused %d", number)
    seldom("other", logging.WARNING, "another kind")
    now = 1000.99
    seldom("one", logging.INFO, "refused %d", 1000)
    now = 1001.0
    for number in range(2):
        seldom("one", logging.INFO, "refused %d", 2000 + number)
    now = 1005.0
    seldom("one", logging.INFO, "refused %d", 3000)
    now = 1010.0
    seldom("one", logging.INFO, "refused %d", 4000)
    assert caplog.messages == [
        "refused 0", "another kind", "refused 2000 (and 1000 more of this kind)",
        "refused 3000 (and 1 more of this kind)", "refused 4000",
    ]  # fmt: skip
