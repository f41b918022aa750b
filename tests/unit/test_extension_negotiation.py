"""Who agrees to which extensions, with extensions made up for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


class Cuts(AgreedExtension):
    per_frame = False
    cuts_frames = True


class Other:
    """As `Made`, with an answer of the caller's."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str, answer: Any) -> None:
        self.name = name
        self.made = answer
        self.asked = 0

    def offers(self) -> Sequence[Params]:
        return [()]

    def answer(self, params: Params) -> AgreedExtension | None:
        self.asked += 1
        return self.made  # type: ignore[no-any-return]

    def confirm(self, params: Params) -> AgreedExtension:
        return self.made  # type: ignore[no-any-return]


def test_what_cuts_frames_goes_before_those_that_need_them_whole() -> None:
    cuts = Other("cuts", Cuts("cuts"))
    assert names(server_answer((Made("a"), cuts), "cuts, a").extensions) == ["cuts", "a"]
    assert names(server_answer((Made("a"), cuts), "a, cuts").extensions) == ["a"]
    assert client_offer([cuts, Made("a")]) == "cuts, a"
    why = "'cuts' cuts frames that 'a' must get back whole; 'cuts' goes before 'a'"
    with pytest.raises(ValueError, match=why):
        client_offer([Made("a"), cuts])
    with pytest.raises(ValueError, match=why):
        client_verify([cuts, Made("a")], "a, cuts")


def test_two_that_claim_one_reserved_bit_may_both_be_offered_and_not_both_chosen() -> None:
    extensions = [Made("a", 6), Made("b", 3)]
    assert client_offer(extensions) == "a, b"
    with pytest.raises(ValueError, match="'a' and 'b' both claim RSV2, which can mean one thing only"):
        client_verify(extensions, "a, b")
    with pytest.raises(ValueError, match=r"on_extension_select chose .* 'b' and 'a' both claim RSV2"):
        server_select(tuple(extensions), "a, b", lambda offers: ["b", "a"])


def test_an_extension_that_cannot_be_hashed_is_asked_each_time() -> None:
    other = Other("a", AgreedExtension("a"))
    for _ in range(2):
        assert names(server_answer((other,), "a").extensions) == ["a"]
    assert other.asked == 2


def test_an_error_of_an_extension_is_not_taken_for_one_of_hashing() -> None:
    class Broken(Made):
        def answer(self, params: Params) -> AgreedExtension | None:
            raise TypeError("broken")

    with pytest.raises(TypeError, match="broken"):
        server_answer((Broken("a"),), "a")


@pytest.mark.parametrize("made", ["a", True, Item("a")])
def test_an_answer_that_is_no_agreed_extension_is_told_so(made: Any) -> None:
    with pytest.raises(TypeError, match=r"answer\(\) of the extension 'a' returned .* must return an AgreedExtension"):
        server_answer((Other("a", made),), "a")
    with pytest.raises(TypeError, match=r"confirm\(\) of the extension 'a' returned"):
        client_verify([Other("a", made)], "a")


def test_an_answer_of_another_name_is_told_so() -> None:
    with pytest.raises(ValueError, match="returned one named 'b'"):
        server_answer((Other("a", AgreedExtension("b")),), "a")


async def never() -> None: ...


def test_a_coroutine_in_the_place_of_an_answer_is_told_so_once() -> None:
    # As warnings are errors, one that nobody awaited would be another complaint.
    with pytest.raises(TypeError, match=r"answer\(\) of the extension 'a' returned <coroutine"):
        server_answer((Other("a", never()),), "a")
    with pytest.raises(TypeError, match=r"confirm\(\) of the extension 'a' returned <coroutine"):
        client_verify([Other("a", never())], "a")


def test_an_agreed_extension_that_has_forgotten_its_base_is_told_so() -> None:
    class Forgetful(AgreedExtension):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"returned a Forgetful without a name: .* super\(\).__init__\(name, params"):
        server_answer((Other("a", Forgetful()),), "a")


class Offers(Made):
    def __init__(self, offers: Any) -> None:
        super().__init__("a")
        self.alternatives = offers


def test_what_is_no_list_of_offers_is_told_so() -> None:
    wrong: list[tuple[Any, type[Exception], str]] = [
        (None, TypeError, r"offers\(\) of the extension 'a' returned None; it must return a list of tuples"),
        ("abc", TypeError, "returned 'abc'; it must return a list"),
        ({"a": "1"}, TypeError, "it must return a list"),
        (never(), TypeError, "returned <coroutine object never"),
        ([None], TypeError, "an offer=None must be pairs of a name and a value"),
        (["x"], TypeError, "an offer='x' must be pairs"),
        ([{"p": "1"}], TypeError, "an offer={'p': '1'} must be pairs"),
        ([(("p",),)], TypeError, "must be pairs"),
        ([(("p", 1),)], TypeError, "the value of p=1 must be a str"),
        ([((1, "p"),)], TypeError, "a name=1 must be a str"),
        ([(("p", "1 2"),)], ValueError, "the value of p='1 2' must be a token"),
        ([(("p", "1\r\nEvil: 1"),)], ValueError, "must be a token"),
        ([(("p", ""),)], ValueError, "the value of p='' must be a token"),
        ([(("p q", None),)], ValueError, "a name='p q' must be a token"),
    ]
    for offers, error, why in wrong:
        with pytest.raises(error, match=why):
            client_offer([Offers(offers)])


def test_what_has_no_offers_is_not_offered_and_not_taken_in_an_answer() -> None:
    extensions = [Offers([]), Made("b")]
    assert client_offer(extensions) == "b"
    with pytest.raises(ValueError, match="the server chose the extension 'a', which was not offered"):
        client_verify(extensions, "a")


@pytest.mark.parametrize("params", [(("p", "1\r\nEvil: 1"),), (("p", 1),), {"p": "1"}, None])
def test_parameters_that_cannot_stand_in_an_answer_are_refused_where_they_are_made(params: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^x: params"):
        AgreedExtension("x", params)
    assert AgreedExtension("x", [["p", "1"]]).params == (("p", "1"),)  # type: ignore[arg-type]


@pytest.mark.parametrize("rsv", [-1, 8, True, "4"])
def test_reserved_bits_are_three(rsv: Any) -> None:
    with pytest.raises(ValueError, match=r"a: rsv=.* must be a sum of 4"):
        AgreedExtension("a", (), rsv)


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


def test_a_selector_that_returns_no_list_is_told() -> None:
    chosen: list[Any] = [5, False, "a", Item("a"), object()]
    for choice in chosen:
        with pytest.raises(TypeError, match=r"on_extension_select returned .*: it must return a list of offers"):
            server_select((Made("a"),), "a", lambda offers, choice=choice: choice)


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
    with pytest.raises(NotImplementedError, match="AgreedExtension of the extension 'a' must have a method codec"):
        agreed.codec(True, None)
