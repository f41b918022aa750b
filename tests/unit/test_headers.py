"""`Headers` and the check of what a user adds to a head."""

from __future__ import annotations

import pytest

from firefly_ws.http.headers import Headers, header_line, header_pairs, split_list

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-One:  first \r\nx-two:\t2\r\nX-ONE: second\r\nEmpty:\r\n\r\n"


def of_wire() -> Headers:
    return Headers.of_head(HEAD, HEAD.index(b"\r\n") + 2)


def of_pairs() -> Headers:
    return Headers([("Host", "a"), ("X-One", "first"), ("x-two", "2"), ("X-ONE", "second"), ("Empty", "")])


@pytest.fixture(params=[of_wire, of_pairs])
def headers(request: pytest.FixtureRequest) -> Headers:
    made: Headers = request.param()
    return made


def test_names_are_found_in_any_case(headers: Headers) -> None:
    assert headers["host"] == headers["HOST"] == headers.get("Host") == "a"
    assert "hOsT" in headers


def test_a_missing_name_is_a_key_error_or_the_default(headers: Headers) -> None:
    with pytest.raises(KeyError, match="Nope"):
        headers["Nope"]
    assert headers.get("nope") is None
    assert headers.get("nope", "x") == "x"
    assert headers.get_all("nope") == []
    assert "nope" not in headers
    assert not headers.__contains__(5)


def test_a_repeated_field_is_joined_and_kept_apart(headers: Headers) -> None:
    assert headers["x-one"] == "first, second"
    assert headers.get_all("X-One") == ["first", "second"]
    assert headers.get_all("x-two") == ["2"]
    assert headers.is_repeated("x-one")
    assert not headers.is_repeated("x-two")


def test_items_have_wire_order_and_spelling(headers: Headers) -> None:
    pairs = [("Host", "a"), ("X-One", "first"), ("x-two", "2"), ("X-ONE", "second"), ("Empty", "")]
    assert list(headers.items()) == pairs
    assert len(headers.items()) == 5
    assert headers.raw == [(name.encode(), value.encode()) for name, value in pairs]


def test_as_a_mapping_each_name_counts_once(headers: Headers) -> None:
    assert list(headers) == ["Host", "X-One", "x-two", "Empty"]
    assert len(headers) == 4
    assert dict(headers) == {"Host": "a", "X-One": "first, second", "x-two": "2", "Empty": ""}


def test_a_released_table_is_made_again() -> None:
    headers = of_wire()
    assert headers["x-one"] == "first, second"
    headers.release()
    assert headers.is_repeated("x-one")
    assert headers["x-one"] == "first, second"


def test_release_loses_nothing_that_was_given_as_pairs() -> None:
    headers = of_pairs()
    headers.release()
    assert headers["host"] == "a"


def test_equal_is_what_means_the_same() -> None:
    assert of_wire() == of_pairs()
    assert Headers([("A", "1"), ("B", "2")]) == Headers([("b", "2"), ("a", "1")])
    assert Headers([("A", "1"), ("A", "2")]) != Headers([("A", "2"), ("A", "1")])
    assert Headers([("A", "1")]) == {"a": "1"}
    assert Headers([("A", "1")]) != 5


def test_a_head_without_fields_is_empty() -> None:
    headers = Headers.of_head(b"GET / HTTP/1.1\r\n\r\n", 16)
    assert len(headers) == 0
    assert headers.raw == []


def test_bytes_beyond_ascii_are_latin_1() -> None:
    head = b"GET / HTTP/1.1\r\nX: \xe9\r\n\r\n"
    assert Headers.of_head(head, 16)["x"] == "é"
    assert Headers([("X", "é")]).raw == [(b"X", b"\xe9")]
    assert Headers([(b"X", b"\xe9")])["x"] == "é"


def test_the_repr_shows_the_pairs() -> None:
    assert repr(Headers({"A": "1"})) == "Headers([('A', '1')])"


def test_a_line_is_written_as_given() -> None:
    assert header_line("X-Name", " value\t") == b"X-Name: value\r\n"
    assert header_line("X", "é") == b"X: \xe9\r\n"


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\rb", "a\0b", "a\x7f", "\x01"])
def test_a_value_cannot_begin_another_line(value: str) -> None:
    with pytest.raises(ValueError, match=r"header X-Name: value .* must not contain CR, LF, NUL"):
        header_line("X-Name", value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\0", "é", "(x)"])
def test_a_name_must_be_a_token(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be a token"):
        header_line(name, "x")


def test_a_value_beyond_latin_1_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="header X: value '€' must be latin-1"):
        header_line("X", "€")


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="must be str"):
        header_line("X", 5)  # type: ignore[arg-type]


def test_pairs_come_from_mappings_and_sequences() -> None:
    assert header_pairs(None) == []
    assert header_pairs({"A": "1"}) == [("A", "1")]
    assert header_pairs([("A", "1"), ("A", "2")]) == [("A", "1"), ("A", "2")]
    with pytest.raises(TypeError, match="mapping"):
        header_pairs("A: 1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pair"):
        header_pairs(["A"])  # type: ignore[list-item]


def test_lists_drop_empty_elements() -> None:
    assert split_list(" a,b ,, \tc") == ["a", "b", "c"]
    assert split_list(" , ") == []
