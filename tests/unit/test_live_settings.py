"""What may be set on an open connection is told in the reference: its unit, and what raises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firefly_ws import WebSocketConnection, WebSocketPolicy


class Settable:
    """Of a connection, its policy."""

    policy = WebSocketPolicy()
    _replace = WebSocketConnection._replace

    def _limit(self, limits: object, doing: str) -> None:
        raise AssertionError(doing)


def test_each_setting_of_an_open_connection_is_in_the_reference_with_its_unit_and_what_raises() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "connection.md").read_text()
    settable = {name: one for name, one in vars(WebSocketConnection).items() if isinstance(one, property) and one.fset}
    assert len(settable) >= 6
    for name, one in settable.items():
        unit = "seconds" if name.endswith(("timeout", "interval")) else "bytes"
        told = one.__doc__ or ""
        assert told.lower().startswith(unit), name
        assert f"``connection.{name} = " in told, name
        assert re.search(rf"^\| `connection\.{name} = \d+` \| {unit} \(", page, re.M), name
        for bad, error in (("5", TypeError), (True, TypeError), (-1, ValueError)):
            assert f"``{error.__name__}``" in told, name
            assert f"`{error.__name__}`" in page, name
            with pytest.raises(error, match=f"{name}={bad!r} must be "):
                one.fset(Settable(), bad)
