"""Who agrees to which extensions, with extensions made up for the purpose."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from firefly_ws.extensions.base import AgreedExtension, Extension
from firefly_ws.extensions.grammar import Item, MalformedExtensions, Params
from firefly_ws.extensions.negotiation import client_offer, client_verify, server_answer, server_select


class Made:
    """Answers every offer without the parameter ``bad``; counts how often it was asked."""

    def __init__(self, name: str, rsv: int = 0, *offers: Params) -> None:
        self.name = name
        self.rsv = rsv
        self.alternatives = offers or ((),)
        self.asked = 0

    def offers(self) -> Sequence[Params]:
        return self.alternatives

    def answer(self, params: Params) -> AgreedExtension | None:
        self.asked += 1
        return None if ("bad", None) in params else AgreedExtension(self.name, params, self.rsv)

    def confirm(self, params: Params) -> AgreedExtension:
        if params not in self.alternatives:
            raise ValueError(f"{self.name}: {params} was not offered")
        return AgreedExtension(self.name, params, self.rsv)


def names(extensions: Sequence[AgreedExtension]) -> list[str]:
    return [str(extension) for extension in extensions]


def test_what_is_made_up_is_an_extension() -> None:
    assert isinstance(Made("a"), Extension)


@pytest.mark.parametrize(
    ("offer", "line"),
    [
        ("a", b"a"),
        ("a, b", b"a, b"),
        ("b, a", b"b, a"),
        ("x, b; p=1, y", b"b; p=1"),
        ("a; bad, a; p", b"a; p"),
        ("a; p, a; q", b"a; p"),
        ("a; bad", b""),
        ("x", b""),
    ],
)
def test_a_server_answers_in_the_clients_order(offer: str, line: bytes) -> None:
    agreed, header = server_answer((Made("a"), Made("b")), offer)
    assert header == (b"Sec-WebSocket-Extensions: " + line + b"\r\n" if line else b"")
    assert ", ".join(names(agreed)).encode() == line


def test_of_two_with_one_reserved_bit_the_client_gets_its_first() -> None:
    extensions = (Made("a", 4), Made("b", 4), Made("c", 2))
    assert names(server_answer(extensions, "b, a, c").extensions) == ["b", "c"]
    assert names(server_answer(extensions, "a, b, c").extensions) == ["a", "c"]


def test_an_offer_is_negotiated_once_for_the_same_extensions() -> None:
    made, other = Made("a"), Made("a")
    first = server_answer((made,), "a; p=1")
    assert server_answer((made,), "a; p=1") is first
    assert made.asked == 1
    assert server_answer((other,), "a; p=1") is not first


def test_a_long_offer_is_answered_and_not_remembered() -> None:
    made = Made("a")
    offer = "a; " + "p" * 300
    for _ in range(2):
        assert names(server_answer((made,), offer).extensions) == [offer]
    assert made.asked == 2


def test_a_malformed_offer_is_refused() -> None:
    with pytest.raises(MalformedExtensions):
        server_answer((Made("a"),), "a;")
    with pytest.raises(MalformedExtensions):
        server_select((Made("a"),), "a;", lambda offers: None)


def test_a_selector_sees_the_offers_and_decides_on_their_order() -> None:
    seen: list[tuple[Item, ...]] = []

    def select(offers: tuple[Item, ...]) -> list[str]:
        seen.append(offers)
        return ["b", "a"]

    agreed, _ = server_select((Made("a"), Made("b")), "a; p=1, b, x", select)
    assert seen == [(Item("a", (("p", "1"),)), Item("b"), Item("x"))]
    assert names(agreed) == ["b", "a; p=1"]


def test_a_selector_may_take_one_offer_none_or_leave_it_to_us() -> None:
    extensions, offer = (Made("a"), Made("b")), "a; p=1, a; p=2, b"
    assert names(server_select(extensions, offer, lambda offers: [offers[1]])[0]) == ["a; p=2"]
    assert names(server_select(extensions, offer, lambda offers: [])[0]) == []
    assert names(server_select(extensions, offer, lambda offers: None)[0]) == ["a; p=1", "b"]


def test_a_selector_that_chooses_what_was_not_offered_is_told() -> None:
    with pytest.raises(ValueError, match="chose c, which was not offered"):
        server_select((Made("c"),), "a", lambda offers: ["c"])
    with pytest.raises(TypeError, match="must return a list"):
        server_select((Made("a"),), "a", lambda offers: "a")


def test_a_client_offers_every_alternative_in_order() -> None:
    assert client_offer([Made("a", 0, (("p", "1"),), ()), Made("b")]) == "a; p=1, a, b"
    assert client_offer([]) == ""


def test_a_client_takes_what_it_offered_in_the_answers_order() -> None:
    assert names(client_verify([Made("a"), Made("b")], "b, a")) == ["b", "a"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("c", "'c', which was not offered"),
        ("a, a", "'a' twice"),
        ("a; p", "was not offered"),
        ("a, b", "'a' and 'b' both claim RSV1"),
        ("a;", "malformed"),
        ("", "malformed"),
    ],
)
def test_a_client_refuses_any_other_answer(answer: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        client_verify([Made("a", 4), Made("b", 4)], answer)


def test_the_base_has_no_codec_and_a_readable_repr() -> None:
    agreed = AgreedExtension("a", (("p", "1"),))
    assert repr(agreed) == "<AgreedExtension a; p=1>"
    with pytest.raises(NotImplementedError):
        agreed.codec(True, None)
