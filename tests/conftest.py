"""Puts this directory on the import path, so that tests share `judge` and `wire_cases`; begins early what is slow."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: half of the time a test waits for timers and processes."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "begun_early(begin): begin() is called before the first test; the last")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if " at 0x" in item.nodeid:
            # Each worker of pytest-xdist has addresses of its own, and finds other tests than the next one.
            raise pytest.UsageError(f"{item.nodeid}: name this parameter by an id= that is the same in every process")
    items.sort(key=lambda item: item.get_closest_marker("begun_early") is not None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """A program that mostly waits does so beside the other tests."""
    if not session.config.option.collectonly:
        for item in session.items:
            marker = item.get_closest_marker("begun_early")
            if marker is not None:
                marker.kwargs["begin"]()
