"""The text of Sec-WebSocket-Extensions."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firefly_ws.extensions.grammar import Item, MalformedExtensions, format_item, format_items, parse_items


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("foo", [("foo", ())]),
        (" foo ", [("foo", ())]),
        ("foo, bar", [("foo", ()), ("bar", ())]),
        ("foo;a", [("foo", (("a", None),))]),
        ("foo; a=1;\tb = 2 ,bar", [("foo", (("a", "1"), ("b", "2"))), ("bar", ())]),
        ('foo; a="1"', [("foo", (("a", "1"),))]),
        ('foo; a="\\1\\2"', [("foo", (("a", "12"),))]),
        (",, foo ,,bar,", [("foo", ()), ("bar", ())]),
        ("foo; a; a", [("foo", (("a", None), ("a", None)))]),
        (
            # RFC 7692 §7.1.3
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate",
            [
                ("permessage-deflate", (("client_max_window_bits", None), ("server_max_window_bits", "10"))),
                ("permessage-deflate", ()),
            ],
        ),
    ],
)
def test_a_list_is_read(text: str, items: list[tuple[str, tuple[tuple[str, str | None], ...]]]) -> None:
    assert parse_items(text) == items


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        ";",
        "=",
        "foo bar",
        "foo;",
        "foo; ,bar",
        "foo;;a",
        "foo; a=",
        "foo; =1",
        "foo; a=1 2",
        "foo; a b",
        'foo; a="',
        'foo; a="1',
        'foo; a=""',
        'foo; a="1 2"',
        'foo; a="1,2"',
        'foo; a="1"2',
        'foo; a="\\',
        'foo; a="é"',
        "foo=1",
        "fo/o",
        "é",
        "foo; é=1",
        "foo\n",
        "foo; a=1\r\n b",
    ],
)
def test_a_malformed_list_is_refused(text: str) -> None:
    with pytest.raises(MalformedExtensions, match="malformed extension list"):
        parse_items(text)


def test_the_error_says_where_and_what() -> None:
    with pytest.raises(ValueError, match=r"expected ',' or ';' at position 4"):
        parse_items("foo bar")
    with pytest.raises(ValueError, match=r"expected a token within the quotes at position 8"):
        parse_items('foo; a=""')


def test_items_are_written_as_read() -> None:
    text = "foo; a; b=1, bar"
    assert format_items(parse_items(text)) == text
    assert format_item("foo") == "foo"
    assert str(Item("foo", (("a", "1"), ("b", None)))) == "foo; a=1; b"


tokens = st.text("abcxyz019!#$%&'*+-.^_`|~", min_size=1, max_size=6)
params = st.lists(st.tuples(tokens, st.none() | tokens), max_size=3).map(tuple)


@given(st.lists(st.tuples(tokens, params), min_size=1, max_size=4))
def test_whatever_is_written_is_read_back(items: list[tuple[str, tuple[tuple[str, str | None], ...]]]) -> None:
    assert parse_items(format_items(items)) == items


@given(st.text(alphabet='ab;,=" \\\t', max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        items = parse_items(text)
    except MalformedExtensions:
        return
    assert parse_items(format_items(items)) == items


@pytest.mark.parametrize(
    "text", ["a" + "; a" * 40000, "a" + ' ; a="' + "\\x" * 40000, "a" + " " * 80000 + "b", "," * 90000]
)
def test_a_hostile_text_takes_one_pass(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(MalformedExtensions):
        parse_items(text)
    # Backtracking over these would take minutes.
    assert time.process_time() - start < 5
