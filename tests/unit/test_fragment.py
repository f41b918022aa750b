"""fragment and identity: what is agreed on, and where frames are cut."""

from __future__ import annotations

from typing import Any

import pytest

from firefly_ws import BinaryFrame, ContinuationFrame, Fragment, Frame, TextFrame
from firefly_ws.extensions.fragment import AgreedFragment
from firefly_ws.extensions.grammar import Params
from firefly_ws.extensions.identity import Identity


def length(value: str | None) -> Params:
    return () if value is None else (("maxLength", value),)


def cut(frame: Frame, at: int) -> list[Frame]:
    codec = AgreedFragment(at).codec(True, None)
    assert codec is not None
    return list(codec.encode(frame))


def test_opcode_and_bits_are_on_the_first_fragment_and_fin_on_the_last() -> None:  # F7
    assert cut(TextFrame("123456789", rsv1=True), 4) == [
        TextFrame("1234", fin=False, rsv1=True),
        ContinuationFrame(b"5678", fin=False),
        ContinuationFrame(b"9"),
    ]


def test_a_fragment_is_cut_like_a_message() -> None:
    assert cut(BinaryFrame(b"12345", fin=False), 4) == [
        BinaryFrame(b"1234", fin=False),
        ContinuationFrame(b"5", fin=False),
    ]
    assert cut(ContinuationFrame(b"12345678"), 4) == [
        ContinuationFrame(b"1234", fin=False),
        ContinuationFrame(b"5678"),
    ]


@pytest.mark.parametrize("payload", [b"", b"123", b"1234"])
def test_what_is_short_enough_goes_as_it_is(payload: bytes) -> None:
    frame = BinaryFrame(payload)
    assert cut(frame, 4) == [frame]


@pytest.mark.parametrize(
    ("ours", "asked", "answered"),
    [
        (None, None, None),
        (20, None, "20"),
        (None, "20", "20"),
        (20, "10", "10"),
        (10, "20", "10"),
        (None, "999999999999999999", "999999999999999999"),
    ],
)
def test_a_server_answers_with_the_smaller_bound(ours: int | None, asked: str | None, answered: str | None) -> None:
    agreed = Fragment(ours).answer(length(asked))
    assert agreed is not None
    assert agreed.params == length(answered)


@pytest.mark.parametrize(
    "params",
    [length("0"), length("-1"), length("x"), length("020"), length("9" * 19), (("maxLength", None),),
     (("maxLength", "1"), ("maxLength", "1")), (("maxlength", "1"),)],
)  # fmt: skip
def test_an_offer_that_nobody_understands_is_declined(params: Params) -> None:
    assert Fragment().answer(params) is None
    with pytest.raises(ValueError, match="fragment: "):
        Fragment().confirm(params)


def test_a_client_takes_a_smaller_bound_and_no_larger_one() -> None:
    assert Fragment(20).confirm(length("10")).max_length == 10
    assert Fragment().confirm(length("10")).max_length == 10
    assert Fragment(20).offers() == (length("20"),)
    with pytest.raises(ValueError, match="the server raised to 21 maxLength=20"):
        Fragment(20).confirm(length("21"))
    with pytest.raises(ValueError, match="the server dropped maxLength=20"):
        Fragment(20).confirm(())


def test_without_a_bound_nothing_is_cut_and_nothing_kept() -> None:
    agreed = Fragment().answer(())
    assert agreed is not None
    assert agreed.codec(True, None) is None


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-5, ValueError), ("20", TypeError), (True, TypeError)])
def test_a_bound_below_one_byte_is_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_length="):
        Fragment(wrong)


def test_identity_has_no_parameters_and_no_codec() -> None:
    agreed = Identity().answer(())
    assert agreed is not None
    assert str(agreed) == "identity"
    assert agreed.codec(False, None) is None
    assert Identity().answer((("x", None),)) is None
    with pytest.raises(ValueError, match="unknown parameter 'x'"):
        Identity().confirm((("x", None),))
