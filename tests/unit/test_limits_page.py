"""`docs/limits.md` says what the code does: its defaults are the code's, and the tests it names exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from firefly_ws import HttpConfig, WebSocketPolicy, http_server
from firefly_ws.http.headers import split_list
from firefly_ws.policy import POLICY_FIELDS

ROOT = Path(__file__).parent.parent.parent
UNITS = {"": 1, "s": 1, "KiB": 1024, "MiB": 1024 * 1024}
OUTSIDE = {"fixed": {"1", "some"}, "ulimit -n": {"the system's"}}
"""What is no option of ours, and what stands for its default."""
NO_LIMITS = {"compression_threshold"}


def rows() -> list[tuple[str, str, str, list[str]]]:
    """Limit, default, option and tests of each row."""
    found = []
    for line in (ROOT / "docs" / "limits.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[1] != "default":
            limit, default, _, option, tests = cells
            found.append((limit, default, option, re.findall(r"`(\w+)`", tests)))
    return found


def value(text: str) -> object:
    """What a default that is written as *text* is in the code."""
    if text == "none":
        return None
    if text.startswith('"'):
        return text.strip('"')
    numbers = []
    for part in split_list(text):
        number, _, unit = part.partition(" ")
        numbers.append(int(number) * UNITS[unit])
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def default_of(option: str) -> object:
    name, where = re.fullmatch(r"`(\w+)`(.*)", option).groups()  # type: ignore[union-attr]
    if where == "":
        assert hasattr(http_server(), name)
        return getattr(WebSocketPolicy(), name)
    if where == " (server)":
        assert hasattr(http_server(), name)
        return getattr(HttpConfig(), name)
    assert where == " (of `listen`)"
    return inspect.signature(http_server().listen).parameters[name].default


def test_the_defaults_are_those_of_the_code() -> None:
    assert len(rows()) > 30
    for limit, default, option, _ in rows():
        fixed = OUTSIDE.get(option.strip("`"))
        assert default in fixed if fixed else value(default) == default_of(option), limit


def test_every_field_of_the_policy_and_every_limit_of_a_server_has_a_row() -> None:
    told = {option.split("`")[1] for _, _, option, _ in rows() if "`" in option}
    ours = POLICY_FIELDS - NO_LIMITS | {"max_connections", "max_connections_per_address", "max_body_size", "timeout"}
    assert ours - told == set()


def test_each_limit_names_a_test_and_each_test_exists() -> None:
    there = {
        name
        for kind in ("unit", "net")
        for path in (ROOT / "tests" / kind).glob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.M)
    }
    for limit, _, option, tests in rows():
        assert tests or option == "fixed", limit
        assert not set(tests) - there, limit
