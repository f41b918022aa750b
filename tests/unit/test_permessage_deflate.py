"""permessage-deflate negotiated, RFC 7692 §7.1, and the codec that comes of it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from firefly_ws.extensions.base import Extension
from firefly_ws.extensions.grammar import parse_items
from firefly_ws.extensions.negotiation import client_offer, client_verify, server_answer
from firefly_ws.extensions.permessage_deflate import AgreedDeflate, PerMessageDeflate

NO_TAKEOVER = "server_no_context_takeover; client_no_context_takeover"


def answer(offer: str, **options: Any) -> str | None:
    """What a server with these options answers, without the name."""
    line = server_answer((PerMessageDeflate(**options),), offer).line.decode()
    if not line:
        return None
    return line.removeprefix("Sec-WebSocket-Extensions: permessage-deflate").removeprefix("; ").removesuffix("\r\n")


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ("", NO_TAKEOVER),
        ("; client_max_window_bits", NO_TAKEOVER),
        ("; client_max_window_bits=15", NO_TAKEOVER),
        ("; client_max_window_bits=10", NO_TAKEOVER + "; client_max_window_bits=10"),
        ("; client_max_window_bits=8", NO_TAKEOVER + "; client_max_window_bits=8"),
        ('; client_max_window_bits="10"', NO_TAKEOVER + "; client_max_window_bits=10"),
        ("; server_max_window_bits=10", NO_TAKEOVER + "; server_max_window_bits=10"),
        ("; server_max_window_bits=15", NO_TAKEOVER + "; server_max_window_bits=15"),
        ("; server_no_context_takeover", NO_TAKEOVER),
        ("; client_no_context_takeover", NO_TAKEOVER),
    ],
)
def test_a_server_answers_without_takeover_by_default(offer: str, expected: str) -> None:
    assert answer("permessage-deflate" + offer) == expected


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ("", ""),
        ("; server_no_context_takeover", "server_no_context_takeover"),
        ("; client_no_context_takeover", "client_no_context_takeover"),
        ("; client_no_context_takeover; server_no_context_takeover", NO_TAKEOVER),
    ],
)
def test_a_server_with_takeover_gives_it_up_only_where_asked(offer: str, expected: str) -> None:
    assert answer("permessage-deflate" + offer, context_takeover=True) == expected


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        # RFC 7692 §7.1.2.1: the server may bound itself unasked; §7.1.2.2: the client only where it lets itself.
        ("", "server_max_window_bits=11"),
        ("; server_max_window_bits=12", "server_max_window_bits=11"),
        ("; server_max_window_bits=9", "server_max_window_bits=9"),
        ("; client_max_window_bits", "server_max_window_bits=11; client_max_window_bits=10"),
        ("; client_max_window_bits=9", "server_max_window_bits=11; client_max_window_bits=9"),
        ("; client_max_window_bits=14", "server_max_window_bits=11; client_max_window_bits=10"),
    ],
)
def test_a_server_with_smaller_windows_bounds_what_it_may(offer: str, expected: str) -> None:
    got = answer(
        "permessage-deflate" + offer, context_takeover=True, server_max_window_bits=11, client_max_window_bits=10
    )
    assert got == expected


BAD = [
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=09",
    "server_max_window_bits=+9",
    "server_max_window_bits=1.0",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=x",
    "unknown",
    "unknown=1",
    "Server_No_Context_Takeover",
    "client_max_window_bits; client_max_window_bits",
    "server_max_window_bits=10; server_max_window_bits=10",
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; client_no_context_takeover",
]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_offer_is_declined_and_the_next_one_tried(bad: str) -> None:
    assert answer(f"permessage-deflate; {bad}") is None
    assert answer(f"permessage-deflate; {bad}, permessage-deflate") == NO_TAKEOVER
    assert (
        answer(f"permessage-deflate; {bad}, x, permessage-deflate; server_max_window_bits=12, permessage-deflate")
        == NO_TAKEOVER + "; server_max_window_bits=12"
    )


def test_eight_bits_for_our_compressor_are_declined_and_the_next_offer_tried() -> None:
    assert answer("permessage-deflate; server_max_window_bits=8") is None
    assert answer("permessage-deflate; server_max_window_bits=8, permessage-deflate") == NO_TAKEOVER


# --- client


@pytest.mark.parametrize(
    ("options", "offer"),
    [
        ({}, NO_TAKEOVER + "; client_max_window_bits"),
        ({"context_takeover": True}, "client_max_window_bits"),
        (
            {"context_takeover": True, "server_max_window_bits": 10, "client_max_window_bits": 11},
            "server_max_window_bits=10; client_max_window_bits=11",
        ),
    ],
)
def test_a_client_offers_what_it_is_set_to(options: dict[str, Any], offer: str) -> None:
    assert client_offer([PerMessageDeflate(**options)]) == "permessage-deflate; " + offer


@pytest.mark.parametrize(
    ("text", "server_bits", "client_bits", "server_takeover", "client_takeover"),
    [
        ("", 15, 15, True, True),
        ("; server_no_context_takeover", 15, 15, False, True),
        ("; client_no_context_takeover", 15, 15, True, False),
        ("; server_max_window_bits=8", 8, 15, True, True),
        ("; client_max_window_bits=10; server_max_window_bits=15", 15, 10, True, True),
    ],
)
def test_a_client_takes_what_the_answer_says(
    text: str, server_bits: int, client_bits: int, server_takeover: bool, client_takeover: bool
) -> None:
    (agreed,) = client_verify([PerMessageDeflate(context_takeover=True)], "permessage-deflate" + text)
    assert isinstance(agreed, AgreedDeflate)
    assert (agreed.server_bits, agreed.client_bits) == (server_bits, client_bits)
    assert (agreed.server_takeover, agreed.client_takeover) == (server_takeover, client_takeover)
    assert agreed.rsv == 4


def test_a_client_without_takeover_keeps_to_it_where_the_answer_leaves_it_free() -> None:
    (agreed,) = client_verify([PerMessageDeflate()], "permessage-deflate; server_no_context_takeover")
    assert isinstance(agreed, AgreedDeflate)
    assert not agreed.client_takeover


@pytest.mark.parametrize("bad", [*BAD, "client_max_window_bits"])
def test_a_client_refuses_a_bad_answer(bad: str) -> None:
    with pytest.raises(ValueError, match="permessage-deflate: "):
        client_verify([PerMessageDeflate(context_takeover=True)], f"permessage-deflate; {bad}")


@pytest.mark.parametrize(
    ("options", "text", "why"),
    [
        ({}, "", "did not accept server_no_context_takeover"),
        ({"server_max_window_bits": 10, "context_takeover": True}, "", "did not accept server_max_window_bits=10"),
        ({"server_max_window_bits": 10, "context_takeover": True}, "; server_max_window_bits=11", "did not accept"),
        ({"client_max_window_bits": 10, "context_takeover": True}, "; client_max_window_bits=11", "raised client_max"),
    ],
)
def test_a_client_refuses_an_answer_beyond_its_offer(options: dict[str, Any], text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        client_verify([PerMessageDeflate(**options)], "permessage-deflate" + text)


# --- both


@pytest.mark.parametrize("server_takeover", [True, False])
@pytest.mark.parametrize("client_takeover", [True, False])
@pytest.mark.parametrize("bits", [(15, 15, 15, 15), (9, 10, 11, 12), (12, 11, 10, 9), (15, 9, 9, 15)])
def test_both_ends_agree_on_the_same(
    server_takeover: bool, client_takeover: bool, bits: tuple[int, int, int, int]
) -> None:
    server = PerMessageDeflate(
        context_takeover=server_takeover, server_max_window_bits=bits[0], client_max_window_bits=bits[1]
    )
    client = PerMessageDeflate(
        context_takeover=client_takeover, server_max_window_bits=bits[2], client_max_window_bits=bits[3]
    )
    agreed, line = server_answer((server,), client_offer([client]))
    text = line.decode().partition(": ")[2].strip()
    (confirmed,) = client_verify([client], text)
    (answered,) = agreed
    assert isinstance(confirmed, AgreedDeflate)
    assert isinstance(answered, AgreedDeflate)
    assert confirmed.server_bits == answered.server_bits == min(bits[0], bits[2])
    assert confirmed.client_bits == answered.client_bits == min(bits[1], bits[3])
    assert confirmed.server_takeover == answered.server_takeover
    # The client may give up its own context unasked, never keep one it has given up.
    assert confirmed.client_takeover <= answered.client_takeover
    assert str(confirmed) == text


@pytest.mark.parametrize(
    "options",
    [{}, {"context_takeover": True}, {"server_max_window_bits": 10}, {"client_max_window_bits": 10}],
)
def test_another_library_takes_our_offer_and_our_answer(options: dict[str, Any]) -> None:
    ours = PerMessageDeflate(**options)
    # Our client, their server.
    (item,) = parse_items(client_offer([ours]))
    params, _ = ServerPerMessageDeflateFactory().process_request_params(list(item.params), [])
    ours.confirm(tuple(params))
    # Their client, our server.
    theirs = ClientPerMessageDeflateFactory()
    agreed = ours.answer(tuple(theirs.get_request_params()))
    assert agreed is not None
    theirs.process_response_params(list(agreed.params), [])


def test_another_library_refuses_what_we_refuse() -> None:
    theirs = ClientPerMessageDeflateFactory(server_no_context_takeover=True)
    with pytest.raises(NegotiationError):
        theirs.process_response_params([], [])


# --- codec


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments that the core's codec is made with."""
    calls: list[tuple[Any, ...]] = []
    module = ModuleType("firefly_ws._core.deflate")
    module.Deflate = lambda *arguments: calls.append(arguments)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "firefly_ws._core.deflate", module)
    return calls


def agree(**options: Any) -> AgreedDeflate:
    agreed = PerMessageDeflate(**options).answer(
        (("client_max_window_bits", "10"), ("server_max_window_bits", "12"), ("client_no_context_takeover", None))
    )
    assert agreed is not None
    return agreed


def test_the_codec_compresses_with_our_window_and_inflates_with_the_peers(made: list[tuple[Any, ...]]) -> None:
    check = bool
    agreed = agree(context_takeover=True, level=6, mem_level=5, compress_if=check)
    agreed.codec(False, 64)
    agreed.codec(True, 64)
    assert made == [(12, 10, True, False, 6, 5, 64, check), (10, 12, False, True, 6, 5, 64, check)]


def test_the_extensions_threshold_overrides_the_policys(made: list[tuple[Any, ...]]) -> None:
    agree().codec(False, 64)
    agree().codec(False, None)
    agree(threshold=0).codec(False, 64)
    agree(threshold=1000).codec(False, None)
    assert [arguments[6] for arguments in made] == [64, 0, 0, 1000]


def test_a_client_bounded_to_eight_bits_never_compresses(made: list[tuple[Any, ...]]) -> None:
    (agreed,) = client_verify(
        [PerMessageDeflate(context_takeover=True)], "permessage-deflate; client_max_window_bits=8"
    )
    agreed.codec(True, 64)
    assert made[0][0] == 9
    assert made[0][6] == sys.maxsize


def test_a_peers_window_of_eight_bits_is_inflated_with_a_larger_one(made: list[tuple[Any, ...]]) -> None:
    (agreed,) = client_verify(
        [PerMessageDeflate(context_takeover=True)], "permessage-deflate; server_max_window_bits=8"
    )
    agreed.codec(True, 64)
    assert made[0][1] == 9


# --- construction


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("level", 0, "from 1 to 9"),
        ("level", 10, "from 1 to 9"),
        ("mem_level", 0, "from 1 to 9"),
        ("server_max_window_bits", 8, "from 9 to 15"),
        ("client_max_window_bits", 16, "from 9 to 15"),
        ("threshold", -1, "at least 0"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(name: str, value: int, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{name}={value} must be an int,? {allowed}"):
        PerMessageDeflate(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("level", "1"), ("mem_level", 1.0), ("context_takeover", 1), ("threshold", True), ("compress_if", 5)],
)
def test_a_value_of_another_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name}={value!r} must be"):
        PerMessageDeflate(**{name: value})


def test_it_is_an_extension_with_a_name_and_a_repr() -> None:
    made = PerMessageDeflate(level=3)
    assert isinstance(made, Extension)
    assert made.name == "permessage-deflate"
    assert "level=3" in repr(made)
