"""Extensions by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from every import for_each

from firefly_ws.extensions.deflate_frame import DeflateFrame
from firefly_ws.extensions.grammar import Params
from firefly_ws.extensions.permessage_deflate import PerMessageDeflate
from firefly_ws.extensions.registry import known_extensions, resolve


def test_every_known_name_resolves_to_an_extension_of_that_name() -> None:
    assert known_extensions() == (
        "permessage-deflate", "deflate-frame", "x-webkit-deflate-frame", "fragment", "identity"
    )  # fmt: skip
    for name in known_extensions():
        assert resolve(name).name == name


def test_parameters_may_follow_the_name() -> None:
    made = resolve("permessage-deflate; server_max_window_bits=10; client_max_window_bits; client_no_context_takeover")
    assert isinstance(made, PerMessageDeflate)
    assert (made.server_max_window_bits, made.client_max_window_bits) == (10, 15)
    assert made.context_takeover is False


def test_parameters_of_the_others_may_follow_too() -> None:
    assert repr(resolve("fragment;maxLength=20")) == "Fragment(20)"
    assert repr(resolve("identity")) == "Identity()"
    made = resolve("x-webkit-deflate-frame; max_window_bits=10; no_context_takeover")
    assert isinstance(made, DeflateFrame)
    assert (made.name, made.max_window_bits, made.context_takeover) == ("x-webkit-deflate-frame", 10, False)
    assert "max_window_bits=10" in repr(made)


def test_an_object_is_taken_as_it_is() -> None:
    made = PerMessageDeflate()
    assert resolve(made) is made


class Own:
    def __init__(self, name: Any = "x-own", **methods: Any) -> None:
        self.name = name
        vars(self).update(methods)

    def offers(self) -> Iterator[Params]:
        yield ()

    def answer(self, params: Params) -> None: ...

    def confirm(self, params: Params) -> None: ...


async def later(params: Params) -> None: ...


@for_each(
    ("made", "error", "why"),
    [
        (Own("two words"), ValueError, "name='two words' must be a token"),
        (Own("a\r\nEvil: 1"), ValueError, "must be a token"),
        (Own(""), ValueError, "name='' must be a token"),
        (Own(5), TypeError, "name=5 must be a str"),
        (Own(offers=[()]), TypeError, "offers: a callback must be callable, not list"),
        (Own(offers=lambda params: [()]), TypeError, r"offers: it is called with \(\)"),
        (Own(answer=later), TypeError, "answer: it must be a plain function"),
        (Own(confirm=lambda: None), TypeError, r"confirm: it is called with \(params\)"),
    ],
)
def test_an_object_that_could_not_be_asked_in_a_handshake_is_refused_at_once(made: Any, error: Any, why: str) -> None:
    with pytest.raises(error, match=why):
        resolve(made)
    assert resolve(fine := Own()) is fine  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("nobody-knows", "'nobody-knows' is unknown; known: permessage-deflate"),
        ("permessage-deflate, permessage-deflate", "names 2 extensions"),
        ("permessage-deflate;", "malformed"),
        ("", "malformed"),
        ("permessage-deflate; level=3", "parameter 'level=3' is unknown"),
        ("permessage-deflate; server_max_window_bits=8", "server_max_window_bits=8 must be an int from 9 to 15"),
        ("permessage-deflate; server_max_window_bits=x", "server_max_window_bits='x' must be a number from 9 to 15"),
        ("permessage-deflate; client_no_context_takeover=1", "client_no_context_takeover=1"),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", "given twice"),
        ("fragment;maxLength=0", "maxLength=0 must be a number of bytes, at least 1"),
        ("fragment;maxLength", "maxLength=None must be a number"),
        ("fragment;length=5", "parameter 'length' is unknown or given twice; known: maxLength=bytes"),
        ("identity;x=1", "identity: unknown parameter 'x'"),
        ("deflate-frame;max_window_bits=8", "max_window_bits=8 must be an int from 9 to 15"),
        ("x-webkit-deflate-frame;level=3", "x-webkit-deflate-frame: parameter 'level=3' is unknown"),
        ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", "given twice"),
    ],
)
def test_a_text_nobody_understands_is_refused_with_the_reason(spec: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(spec)


@pytest.mark.parametrize("spec", [5, None, object(), PerMessageDeflate, b"permessage-deflate"])
def test_what_is_neither_name_nor_extension_is_refused(spec: Any) -> None:
    with pytest.raises(TypeError, match="must be a name, or an object"):
        resolve(spec)
