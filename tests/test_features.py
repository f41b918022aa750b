"""Every promise has its test, every id its promise, and the page of both is the generated one."""

from __future__ import annotations

import pytest
from feature_table import OVER_SOCKETS, PAGE, PENDING, ROWS, WITHOUT_A_SOCKET, UnknownId, marks, page, proofs


def test_ids_stand_at_the_end_of_a_def_line() -> None:
    text = """
def test_x() -> None:  # F3, C4
    pass

class Test:
    async def test_y(  # noqa: F811
        self,
    ) -> None:  # K1
        pass
"""
    assert [*marks(text)] == [("F3", "test_x"), ("C4", "test_x"), ("K1", "test_y")]


@pytest.mark.parametrize("mark", ["F3, C99", "F0", "F3 C4", "F3: why"])
def test_an_id_that_is_no_row_is_told(mark: str) -> None:
    with pytest.raises(UnknownId, match="test_x"):
        list(marks(f"def test_x() -> None:  # {mark}\n    pass\n"))


def test_every_promise_is_proven_by_a_test() -> None:
    unproven = {row for row, tests in proofs().items() if not tests}
    assert unproven <= PENDING
    assert set(ROWS) >= PENDING


def test_every_promise_is_driven_over_a_real_socket_by_one_of_its_tests() -> None:
    alone = {row for row, tests in proofs().items() if not any(where.startswith(OVER_SOCKETS) for where in tests)}
    assert alone - PENDING == set(WITHOUT_A_SOCKET)


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text() == page(), "python tests/feature_table.py --write"
