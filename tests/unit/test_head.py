"""Heads read as their bytes arrive, of requests and of responses."""

from __future__ import annotations

import pytest
from cuts import cuts

from firefly_ws.errors import HandshakeError
from firefly_ws.http.head import BadRequest, RequestHead, ResponseHead, ResponseInfo
from firefly_ws.http.request import Request

REQUEST = b"GET /chat?a=1 HTTP/1.1\r\nHost: a.example:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: 1\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
BEHIND = [b"", b"\x81\x85", b"\r\n\r\n", b"\x00" * 40, b"GET / HTTP/1.1\r\n\r\n"]


def read(packets: list[bytes], max_size: int | None = 16384, max_count: int | None = 128) -> tuple[Request, bytes]:
    """Feed until the head is whole; what the server does with the packets after it is its own."""
    head = RequestHead(max_size, max_count)
    for number, packet in enumerate(packets):
        request = head.feed(packet)
        if request is not None:
            return request, head.rest + b"".join(packets[number + 1 :])
    raise AssertionError("the head is not whole")


def refusal(data: bytes, max_size: int | None = 16384, max_count: int | None = 128) -> BadRequest:
    """What is refused is refused alike however it is cut."""
    errors = []
    for packets in cuts(data):
        with pytest.raises(BadRequest) as caught:
            read(packets, max_size, max_count)
        errors.append(caught.value)
    assert {error.status for error in errors} == {errors[0].status}
    return errors[0]


def test_half_an_empty_line_before_a_request_is_refused() -> None:
    for before in (b"\r", b"\n", b"\r\n\r", b"\r\n\n", b"\r\r\n", b"\n\r\n"):
        assert refusal(before + REQUEST).status == 400, before


@pytest.mark.parametrize("behind", BEHIND)
def test_a_request_is_read_however_it_is_cut_and_what_is_behind_is_kept(behind: bytes) -> None:
    for packets in cuts(REQUEST + behind):
        request, rest = read(packets)
        assert (request.method, request.target, request.http_version) == ("GET", "/chat?a=1", "1.1")
        assert list(request.headers.items()) == [
            ("Host", "a.example:8080"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("X", "1"),
        ]
        assert rest == behind


def test_nothing_comes_before_the_head_is_whole() -> None:
    head = RequestHead()
    assert [head.feed(REQUEST[at : at + 1]) for at in range(len(REQUEST) - 1)] == [None] * (len(REQUEST) - 1)
    assert head.feed(REQUEST[-1:]) is not None


def test_empty_lines_before_a_request_are_passed_over() -> None:
    for packets in cuts(b"\r\n\r\n" + REQUEST + b"rest"):
        request, rest = read(packets)
        assert request.path == "/chat"
        assert rest == b"rest"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_known_methods_are_read_for_the_caller_to_judge(method: str) -> None:
    request, rest = read([method.encode() + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"])
    assert request.method == method
    assert rest == b"hi"


def test_http_1_0_needs_no_host() -> None:
    request, _ = read([b"GET / HTTP/1.0\r\n\r\n"])
    assert request.http_version == "1.0"


@pytest.mark.parametrize("line", ["FOO / HTTP/1.1", "get / HTTP/1.1", "GETT / HTTP/1.1", "PATCHY /x HTTP/1.0"])
def test_an_unknown_method_is_501(line: str) -> None:
    error = refusal(line.encode() + b"\r\nHost: a\r\n\r\n")
    assert error.status == 501
    assert line.split()[0] in error.message
    assert "allow" not in error.response.headers


@pytest.mark.parametrize("line", ["GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/1.2", "GET / HTTP/9.9"])
def test_another_version_is_505(line: str) -> None:
    assert refusal(line.encode() + b"\r\nHost: a\r\n\r\n").status == 505


def test_the_preface_of_http_2_is_505() -> None:
    assert refusal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status == 505


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
        b"FOO\x00 / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello there\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(data: bytes) -> None:
    assert refusal(data).status == 400


@pytest.mark.parametrize(
    "fields",
    [
        b"X: 1\r\n",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nhost: b\r\n",
        b"Host:\r\n",
        b"Host: a b\r\n",
        b"Host: a, b\r\n",
        b"Host: a/b\r\n",
        b"Host: u@a\r\n",
        b"Host: a:x\r\n",
        b"Host: [::1\r\n",
        b"Host: " + b"a" * 400 + b"\r\n",
    ],
)
def test_a_host_that_is_missing_repeated_or_invalid_is_400(fields: bytes) -> None:
    error = refusal(b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
    assert error.status == 400
    assert "Host" in error.message


@pytest.mark.parametrize(
    "host", ["a", "a:80", "[::1]", "[::1]:8080", "127.0.0.1:1", "xn--bcher-kva.example", "a_b", "a:"]
)
def test_a_host_as_clients_send_it_is_taken(host: str) -> None:
    request, _ = read([b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n"])
    assert request.headers["host"] == host


def test_a_head_above_the_size_limit_is_431_and_one_at_it_is_not() -> None:
    request, rest = read([REQUEST + b"x" * 100], max_size=len(REQUEST))
    assert request.path == "/chat"
    assert len(rest) == 100
    error = refusal(REQUEST, max_size=len(REQUEST) - 1)
    assert error.status == 431
    assert f"max_header_size={len(REQUEST) - 1}" in error.message


def test_the_size_limit_holds_before_the_head_is_whole() -> None:
    head = RequestHead(max_size=100)
    assert head.feed(b"GET / HTTP/1.1\r\nX: " + b"a" * 81) is None
    with pytest.raises(BadRequest) as caught:
        head.feed(b"a")
    assert caught.value.status == 431


def test_empty_lines_count_against_the_size_limit() -> None:
    head = RequestHead(max_size=10)
    for _ in range(5):
        assert head.feed(b"\r\n") is None
    with pytest.raises(BadRequest) as caught:
        head.feed(b"\r\n")
    assert caught.value.status == 431


def test_one_field_too_many_is_431_and_the_last_allowed_is_not() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * 9 + b"\r\n"
    for packets in cuts(data):
        assert len(list(read(packets, max_count=10)[0].headers.items())) == 10
    error = refusal(data, max_count=9)
    assert error.status == 431
    assert "max_header_count=9" in error.message


def test_the_count_limit_holds_before_the_head_is_whole() -> None:
    head = RequestHead(max_count=3)
    assert head.feed(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3) is None
    with pytest.raises(BadRequest) as caught:
        head.feed(b"a: b\r\n")
    assert caught.value.status == 431


def test_without_limits_long_heads_pass() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000 + b"Z: " + b"z" * 70000 + b"\r\n\r\n"
    for packets in ([data], [data[:40], data[40:]]):
        request, _ = read(packets, max_size=None, max_count=None)
        assert len(request.headers["z"]) == 70000


# --- responses


def answer(
    packets: list[bytes], max_size: int | None = 16384, max_count: int | None = 128
) -> tuple[ResponseInfo, bytes]:
    head = ResponseHead(max_size, max_count)
    for number, packet in enumerate(packets):
        info = head.feed(packet)
        if info is not None:
            return info, head.rest + b"".join(packets[number + 1 :])
    raise AssertionError("the head is not whole")


@pytest.mark.parametrize("behind", BEHIND)
def test_an_answer_is_read_however_it_is_cut_and_what_is_behind_is_kept(behind: bytes) -> None:
    for packets in cuts(ANSWER + behind):
        info, rest = answer(packets)
        assert (info.status, info.reason, info.http_version) == (101, "Switching Protocols", "1.1")
        assert list(info.headers.items()) == [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        assert rest == behind


def test_interim_answers_are_passed_over() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER + b"\x81"
    for packets in cuts(data):
        info, rest = answer(packets)
        assert info.status == 101
        assert "link" not in info.headers
        assert rest == b"\x81"


def test_interim_answers_without_end_are_refused() -> None:
    again = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer([again * 16 + ANSWER])[0].status == 101
    with pytest.raises(HandshakeError, match="more than 16 interim"):
        answer([again * 17])


@pytest.mark.parametrize("line", ["HTTP/1.1 101", "HTTP/1.1 101 ", "HTTP/1.0 101 Old"])
def test_the_reason_may_be_missing_and_the_version_is_told(line: str) -> None:
    for packets in cuts(line.encode() + b"\r\nUpgrade: websocket\r\n\r\n"):
        info, _ = answer(packets)
        assert info.status == 101
        assert info.http_version == line[5:8]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/2 101 x\r\n\r\n",
        b"HTTP/2.0 101 x\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"HTTP/1.1 1010 x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 x\nA: b\n\n",
        b"HTTP/1.1 101 x\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 101 x\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 101 x\r\nA : b\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_a_handshake_error(data: bytes) -> None:
    for packets in cuts(data):
        with pytest.raises(HandshakeError, match=r"no HTTP/1\.1 response") as caught:
            answer(packets)
        assert caught.value.status == 0


def test_an_answer_above_a_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(HandshakeError, match="max_header_size=50"):
        answer([ANSWER], max_size=50)
    assert answer([ANSWER], max_size=len(ANSWER))[0].status == 101
    for packets in ([ANSWER], [ANSWER[:-1], ANSWER[-1:]]):
        with pytest.raises(HandshakeError, match=f"max_header_size={len(ANSWER) - 1}"):
            answer(packets, max_size=len(ANSWER) - 1)
    many = ANSWER[:-2] + b"a:b\r\n" * 9 + b"\r\n"
    for packets in cuts(many):
        assert answer(packets, max_count=11)[0].status == 101
        with pytest.raises(HandshakeError, match="max_header_count=10"):
            answer(packets, max_count=10)


def test_without_limits_long_answers_pass() -> None:
    info, _ = answer([ANSWER[:-2] + b"X: y\r\n" * 5000 + b"\r\n"], max_size=None, max_count=None)
    assert len(info.headers.get_all("x")) == 5000
    assert repr(info) == "<ResponseInfo 101 Switching Protocols>"


# --- bodies of refusals

REFUSALS = {
    "length": (b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n", b"hello", True),
    "chunks": (
        b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        True,
    ),
    "until the end": (b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n", b"hello", False),
    "426": (
        b"HTTP/1.1 426 No\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\n",
        b"hello",
        True,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusals_body_is_read_however_it_is_framed_and_cut(name: str) -> None:
    head, body, ends = REFUSALS[name]
    for packets in cuts(body):
        info, rest = answer([head])
        reader = info.body()
        assert not reader.feed(rest)
        complete = [reader.feed(packet) for packet in packets]
        assert complete[-1] is ends
        assert reader.data == b"hello"


def test_a_body_of_no_length_is_complete_at_once() -> None:
    info, rest = answer([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])
    assert info.body().feed(rest)
    assert info.body().data == b""


def test_a_body_stops_at_its_limit() -> None:
    info, _ = answer([b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n"])
    reader = info.body(limit=10)
    assert not reader.feed(b"123456")
    assert reader.feed(b"789abc")
    assert reader.feed(b"more")
    assert reader.data == b"123456789a"


def test_a_malformed_body_ends_where_it_breaks() -> None:
    info, _ = answer([b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"])
    reader = info.body()
    assert not reader.feed(b"2\r\nhe\r\n")
    assert reader.feed(b"zz\r\n")
    assert reader.data == b"he"
