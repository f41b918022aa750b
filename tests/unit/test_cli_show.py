"""What a terminal is shown of messages, and what the commands' arguments say of bad ones; nothing is printed here."""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firefly_ws.cli import arguments, history, show

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_nothing_a_peer_sends_moves_the_cursor_or_turns_the_writing() -> None:
    assert show.plain("a\x1b[2J\x9b\x07\rb") == "a\\x1b[2J\\x9b\\x07\\x0db"
    assert show.plain("\u202egpj.exe \u2066 \ud800") == "\\u202egpj.exe \\u2066 \\ud800"
    assert show.plain("tab\tline\nä€😀") == "tab\tline\nä€😀"


def test_no_control_character_is_left() -> None:
    shown = show.plain("".join(map(chr, range(0x3000))))
    assert {sign for sign in shown if unicodedata.category(sign) == "Cc"} == {"\t", "\n"}
    assert not {sign for sign in shown if unicodedata.bidirectional(sign) in BIDI}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=50)
@given(JSON, st.booleans())
def test_laid_out_json_is_what_a_library_makes_of_it(value: Any, ascii_alone: bool) -> None:
    text = json.dumps([value], ensure_ascii=ascii_alone)
    assert show.pretty_json(text) == json.dumps([value], indent=2, ensure_ascii=ascii_alone)


def test_laid_out_json_keeps_what_a_parser_would_lose() -> None:
    assert show.pretty_json('{"a":1.50,"a":1E400,"b":"\\u00e4"}') == (
        '{\n  "a": 1.50,\n  "a": 1E400,\n  "b": "\\u00e4"\n}'
    )


def test_what_is_no_json_object_stays_as_it_came() -> None:
    for text in ("", "hello", "1", '"text"', "{", "[1,]", "[" * 60_000, f"[{' ' * show.JSON_LIMIT}]"):
        assert show.pretty_json(text) is None, text[:9]


def test_a_hex_dump_has_16_bytes_a_line_and_says_what_it_leaves_out() -> None:
    assert show.hex_dump(b"") == []
    assert show.hex_dump(bytes(range(60, 80)), 18) == [
        "00000000  3c 3d 3e 3f 40 41 42 43  44 45 46 47 48 49 4a 4b  |<=>?@ABCDEFGHIJK|",
        "00000010  4c 4d                                             |LM|",
        "… 2 bytes more",
    ]


def test_sizes_are_for_people() -> None:
    assert [show.size(number) for number in (0, 1, 1023, 1024, 3 * 2**20 // 2)] == [
        "0 bytes",
        "1 byte",
        "1023 bytes",
        "1.0 KiB",
        "1.5 MiB",
    ]


def test_a_bad_argument_is_named_with_what_is_allowed_but_never_a_secret() -> None:
    cases: list[tuple[Callable[[str], object], str, str]] = [
        (arguments.seconds(), "0", "'0' must be a number of seconds, above 0"),
        (arguments.seconds(zero=True), "-1", "at least 0"),
        (arguments.seconds(endless=True), "nan", "above 0, or inf"),
        (arguments.seconds(), "inf", "above 0"),
        (arguments.seconds(), "x", "'x' must be"),
        (arguments.count(1, 10), "0", "'0' must be a whole number from 1 to 10"),
        (arguments.count(1, 10), "11", "from 1 to 10"),
        (arguments.count(1, 10), "²", "from 1 to 10"),
        (arguments.header, "Authorization Bearer x", "a header is written 'Name: value'"),
        (arguments.header, ": secret", "a header is written 'Name: value'"),
    ]
    for parse, text, said in cases:
        with pytest.raises(argparse.ArgumentTypeError) as caught:
            parse(text)
        assert said in str(caught.value), text
        assert "secret" not in str(caught.value)
    assert arguments.seconds(endless=True)("inf") == float("inf")
    assert arguments.seconds(zero=True)("0") == 0
    assert arguments.count(0, 9)("9") == 9
    assert arguments.header("X-A:  b: c ") == ("X-A", "b: c")


def test_a_urls_password_is_hidden_wherever_it_stands() -> None:
    for secret in ("u:pw@", "u:p@w@", "u:p/w@", "token@"):
        assert arguments.without_secrets(f"cannot connect to 'wss://{secret}host:1/x': refused") == (
            "cannot connect to 'wss://***@host:1/x': refused"
        )
    assert arguments.without_secrets("ws://host/path: refused") == "ws://host/path: refused"


def test_the_history_is_kept_where_the_system_says_or_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert history.history_file() == tmp_path / ".local" / "state" / "firefly-ws" / "history"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert history.history_file() == tmp_path / "state" / "firefly-ws" / "history"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert history.history_file() is None
