"""Upgrade requests recognised at a glance: what is plain there is an upgrade for the slow judge too, with its facts."""

from __future__ import annotations

import base64
import ctypes
import mmap

import pytest
from every import for_each
from heads import CLIENTS, ENDS, KEY, ODD, PLAIN, head, mutated
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firefly_ws.glance import glance, is_of_host, switching
from firefly_ws.handshake import Refused, accept, accept_key, check
from firefly_ws.http.head import RequestHead


def check_slowly(data: bytes) -> bool:
    """Whether *data* is plain; if so, the slow judge must say the same of it."""
    found = glance(data)
    if found is None:
        return False
    reader = RequestHead(None, None)
    request = reader.feed(data)
    assert request is not None
    fields = request.headers
    slowly = {
        "size": len(data) - len(reader.rest),
        "count": len(fields.raw),
        "target": request.target.encode(),
        "path": request.raw_path.encode(),
        "key": check(request, ("*",)),
        "host": fields["host"].encode(),
    }
    for name, field in (
        ("origin", "origin"), ("offers", "sec-websocket-extensions"), ("protocols", "sec-websocket-protocol"),
    ):  # fmt: skip
        slowly[name] = value.encode("latin-1") if (value := fields.get(field)) is not None else None  # type: ignore[assignment]
        assert not fields.is_repeated(field)
    assert found == slowly
    assert request.method == "GET"
    assert request.http_version == "1.1"
    return True


@for_each("name", PLAIN)
def test_a_plain_request_is_recognised_with_all_that_is_asked_of_it(name: str) -> None:
    for behind in ENDS:
        assert check_slowly(PLAIN[name] + behind)


@for_each("name", ODD)
def test_anything_unusual_is_left_to_the_slow_judge(name: str) -> None:
    assert glance(ODD[name]) is None


@for_each("name", CLIENTS)
def test_no_part_of_a_head_is_a_head(name: str) -> None:
    whole = CLIENTS[name]
    assert [size for size in range(len(whole)) if glance(whole[:size]) is not None] == []


def test_where_things_are_is_told_without_the_spaces_around() -> None:
    data = head(
        "Origin:\t http://a.b \t", "Sec-WebSocket-Protocol: chat ", "Sec-WebSocket-Extensions:  x; y=1",
        line="GET /chat?x=1?2 HTTP/1.1",
    )  # fmt: skip
    assert glance(data + b"rest") == {
        "size": len(data),
        "count": 8,
        "target": b"/chat?x=1?2",
        "path": b"/chat",
        "key": KEY.encode(),
        "host": b"server.example.com",
        "origin": b"http://a.b",
        "offers": b"x; y=1",
        "protocols": b"chat",
    }
    bare = glance(head())
    assert bare is not None
    assert (bare["origin"], bare["offers"], bare["protocols"]) == (None, None, None)
    empty = glance(head("Origin: "))
    assert empty is not None
    assert empty["origin"] == b""
    assert glance(b"") is None


SIGNS = b'\0\t\n\r !#%,-./019:;=?@AZ[]az\x7f\x80\xff"'


def test_one_other_byte_anywhere_never_makes_a_request_plain_that_is_none() -> None:
    data = bytearray(head("Origin: http://a", "X: y", Connection="a, Upgrade", line="GET /a?b HTTP/1.1"))
    still = 0
    for place in range(len(data)):
        before = data[place]
        for byte in SIGNS:
            data[place] = byte
            still += check_slowly(bytes(data))
        data[place] = before
    assert still > 500


@settings(max_examples=100, deadline=None)
@given(mutated())
@example(head("X:\ty"))
def test_what_is_plain_is_an_upgrade_for_the_slow_judge(data: bytes) -> None:
    check_slowly(data)


def test_nothing_is_read_behind_the_last_byte() -> None:
    """The bytes end where memory does: a read behind them would end the process."""
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0, ctypes.get_errno()
    try:
        view = memoryview(memory)
        for data in (PLAIN["Chromium"], PLAIN["Firefox"], ODD["a key without its padding"], ODD["Host twice"]):
            for size in range(1, len(data) + 1):
                view[page - size : page] = data[:size]
                assert (glance(view[page - size : page]) is None) == (glance(data[:size]) is None)
        view.release()
    finally:
        libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


ORIGINS = [
    "http://a.example", "https://a.example", "HTTP://A.EXAMPLE", "hTTps://a.eXample", "http://a.example:80",
    "ws://a.example", "http:/a.example", "http//:a.example", "httpx://a.exampl", "http://b.example", "http://a.exampl",
    "http://a.example.", "null", "", "a.example", "://a.example", "http://", "http://a.example/", "h\x14tp://a.example",
    "http\x1a//a.example",
]  # fmt: skip


@for_each(
    ("origin", "host"),
    [(origin, host) for origin in ORIGINS for host in ("a.example", "A.example", "a.example:80", "a.example:8080")],
)
def test_an_origin_of_its_own_is_one_for_the_slow_judge_too(origin: str, host: str) -> None:
    data = head(f"Origin: {origin}", Host=host)
    if is_of_host(data):
        request = RequestHead().feed(data)
        assert request is not None
        check(request)
    simple = origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    assert is_of_host(data) == simple


def test_without_an_origin_there_is_none_of_its_own() -> None:
    assert is_of_host(head()) is False
    assert is_of_host(b"x" * 200) is False


@given(st.binary(min_size=16, max_size=16))
@settings(max_examples=50, deadline=None)
def test_the_answer_to_a_key_is_the_slow_ones(raw: bytes) -> None:
    key = base64.b64encode(raw)
    request = RequestHead().feed(head(Sec_WebSocket_Key=key.decode()))
    assert request is not None
    assert switching(key) == accept(request).head
    assert accept_key(key.decode()).encode() in switching(key)


def test_further_lines_stand_behind_the_answers_own() -> None:
    line = b"Sec-WebSocket-Protocol: chat\r\n"
    request = RequestHead().feed(head("Sec-WebSocket-Protocol: chat"))
    assert request is not None
    assert switching(KEY.encode(), line) == accept(request, sub_protocols=("chat",)).head
    with pytest.raises(ValueError, match="key=b'short' must have 24 characters"):
        switching(b"short")


def test_the_odd_ones_are_good_and_bad_alike() -> None:
    """Else the lists would prove little."""
    good = bad = 0
    for data in ODD.values():
        try:
            request = RequestHead().feed(data)
            assert request is not None
            accept(request)
            good += 1
        except (Refused, Exception):
            bad += 1
    assert good > 10
    assert bad > 60
