"""`for_each` itself: every case runs, a failure is named, fixtures are what the test asks for."""

from __future__ import annotations

import inspect

import pytest
from every import for_each


def test_every_case_runs_and_each_that_fails_is_named() -> None:
    ran: list[int] = []

    @for_each("number", range(5))
    def odd(number: int) -> None:
        ran.append(number)
        assert number % 2

    with pytest.raises(BaseExceptionGroup, match="3 of 5 cases fail") as caught:
        odd()
    assert ran == [0, 1, 2, 3, 4]
    assert [error.__notes__ for error in caught.value.exceptions] == [[f"in the case number={n}"] for n in (0, 2, 4)]


def test_one_failure_is_raised_as_it_is() -> None:
    @for_each(("left", "right"), [(1, 1), (1, 2)])
    def equal(left: int, right: int) -> None:
        if left != right:
            pytest.fail("differ")

    with pytest.raises(pytest.fail.Exception) as caught:
        equal()
    assert caught.value.__notes__ == ["in the case left=1, right=2"]


async def test_a_coroutine_function_stays_one() -> None:
    ran: list[tuple[str, int]] = []

    @for_each("name", "ab")
    @for_each("number", [1, 2])
    async def both(name: str, number: int) -> None:
        ran.append((name, number))

    assert inspect.iscoroutinefunction(both)
    await both()
    assert ran == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_what_is_no_case_is_a_fixture() -> None:
    @for_each("value", [1])
    def check(tmp_path: object, value: int) -> None: ...

    assert list(inspect.signature(check).parameters) == ["tmp_path"]


def test_no_case_at_all_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no case of name"):
        for_each("name", [])
