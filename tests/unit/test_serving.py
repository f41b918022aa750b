"""`Serving` over a transport and a host that are lists: keep-alive, pipelining, bodies, errors, ends."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

from every import for_each
from fakes import turns

from firefly_ws import Request, Response
from firefly_ws.http.exchange import Endpoint
from firefly_ws.http.head import RequestHead
from firefly_ws.http.serving import Serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Clock(set[Any]):
    """Deadlines that never come by themselves."""


class Transport:
    """Keeps what it was given."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.sent = b""
        self.left = 0

    def write(self, data: bytes) -> None:
        self.sent += data

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 5) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return self.left

    def can_write_eof(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.said.append(name)


class Host:
    """Answers each request with *handler*."""

    timeout: float | None = 5
    open_timeout: float | None = 5
    max_header_size = 1000
    max_header_count = 10

    def __init__(self, handler: Any, limit: int | None = 100) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle, self.heads = Clock(), Clock()
        self.handler = handler
        self.limit = limit
        self.errors: list[Exception] = []
        self.gone: list[Serving] = []
        self.answers: list[tuple[str, int]] = []
        self.failures = 0
        self.durations: list[float] = []

    def find(self, request: Request, serving: Serving) -> Endpoint | Response:
        if request.path == "/none":
            return Response(404, "none")
        return Endpoint(self.handler, self.limit)

    def failed(self, request: Request, error: Exception) -> Response:
        self.errors.append(error)
        return Response(500, "failed")

    def answered(self, method: str, status: int) -> None:
        self.answers.append((method, status))

    def took(self, seconds: float) -> None:
        self.durations.append(seconds)

    def ended(self, serving: Serving) -> None:
        self.gone.append(serving)


class Wire:
    """One connection whose first request is *first*."""

    def __init__(self, handler: Any, first: bytes = GET, limit: int | None = 100) -> None:
        self.host = Host(handler, limit)
        self.transport = Transport()
        self.serving = Serving(self.host, self.transport, False)
        head = RequestHead()
        request = head.feed(first)
        assert request is not None
        self.serving.begin(request, head.rest)

    @property
    def answers(self) -> list[tuple[int, str]]:
        """Status and body of each answer."""
        found = []
        for one in self.transport.sent.split(b"HTTP/1.1 ")[1:]:
            head, _, body = one.partition(b"\r\n\r\n")
            found.append((int(head[:3]), body.decode()))
        return found

    @property
    def said(self) -> list[str]:
        return self.transport.said


def path(request: Request) -> str:
    return request.path


async def body(request: Request) -> bytes:
    return await request.body()


def get(target: str) -> bytes:
    return GET.replace(b"/", target.encode(), 1)


def post(data: bytes, *fields: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + data


async def test_requests_of_one_read_are_answered_in_their_order_and_the_connection_stays() -> None:
    wire = Wire(path, get("/1") + get("/2") + get("/none") + get("/3"))
    assert wire.answers == [(200, "/1"), (200, "/2"), (404, "none"), (200, "/3")]
    assert wire.said == []
    assert wire.host.idle == {wire.serving}


async def test_a_request_may_come_a_byte_at_a_time_and_its_head_is_on_the_clock_of_heads() -> None:
    wire = Wire(path)
    for number, byte in enumerate(get("/2")):
        assert bool(wire.host.heads) == (number > 0)
        wire.serving.data_received(bytes([byte]))
    assert wire.answers == [(200, "/"), (200, "/2")]
    assert not wire.host.heads


async def test_what_comes_ahead_of_an_async_answer_waits_unread_and_is_answered_in_order() -> None:
    gates = {f"/{number}": asyncio.Event() for number in range(3)}

    async def handler(request: Request) -> str:
        await gates[request.path].wait()
        return request.path

    wire = Wire(handler, get("/0") + get("/1"))
    wire.serving.data_received(get("/2"))
    assert wire.said == ["pause_reading"]
    for gate in reversed(gates.values()):
        assert wire.answers == []
        gate.set()
    await turns(10)
    assert wire.answers == [(200, "/0"), (200, "/1"), (200, "/2")]
    assert wire.said == ["pause_reading", "resume_reading"]


@for_each(
    ("first", "header"),
    [
        (GET, None),
        (get("/").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), "close"),
        (GET.replace(b"1.1", b"1.0"), "close"),
        (GET.replace(b"1.1\r\n", b"1.0\r\nConnection: keep-alive\r\n"), "keep-alive"),
    ],
)
async def test_whether_the_connection_stays_is_in_the_answer(first: bytes, header: str | None) -> None:
    wire = Wire(path, first)
    assert (f"Connection: {header}".encode() in wire.transport.sent) == (header is not None)
    assert wire.said == (["close"] if header == "close" else [])


async def test_a_body_by_length_or_in_chunks_is_read_and_the_next_request_found_behind_it() -> None:
    for data in (post(b"abc", b"Content-Length: 3"), post(b"3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")):
        wire = Wire(body, data + get("/none"))
        await turns()
        assert wire.answers == [(200, "abc"), (404, "none")]
        wire = Wire(body, data[:-2])
        await turns()
        assert wire.answers == []
        wire.serving.data_received(data[-2:])
        await turns()
        assert wire.answers == [(200, "abc")]


async def test_a_body_beyond_its_limit_is_413_and_the_end() -> None:
    for data in (post(b"", b"Content-Length: 101"), post(b"65\r\n" + b"x" * 101, b"Transfer-Encoding: chunked")):
        wire = Wire(body, data)
        await turns()
        assert [status for status, _ in wire.answers] == [413]
        assert "write_eof" in wire.said or "close" in wire.said
        wire.serving.connection_lost(None)


async def test_a_body_nobody_reads_is_read_over_if_it_is_short_and_ends_the_connection_if_not() -> None:
    wire = Wire(path, post(b"x" * 50, b"Content-Length: 100"))
    wire.serving.data_received(b"x" * 50 + get("/2"))
    assert wire.answers == [(200, "/"), (200, "/2")]
    wire = Wire(path, post(b"", b"Content-Length: 1000000"), limit=None)
    assert wire.answers == [(200, "/")]
    assert b"Connection: close" in wire.transport.sent
    wire.serving.connection_lost(None)


async def test_100_continue_is_sent_when_the_body_is_asked_for_and_only_then() -> None:
    wire = Wire(body, post(b"", b"Content-Length: 3", b"Expect: 100-continue"))
    await turns()
    assert wire.transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.serving.data_received(b"abc")
    await turns()
    assert wire.answers[1:] == [(200, "abc")]
    wire = Wire(path, post(b"", b"Content-Length: 3", b"Expect: 100-continue"))
    assert wire.answers == [(200, "/")]
    wire.serving.connection_lost(None)


async def test_what_a_handler_raises_is_for_the_host_to_answer_and_the_connection_stays() -> None:
    def raises(request: Request) -> str:
        raise KeyError(request.path)

    async def raises_later(request: Request) -> str:
        raise KeyError(request.path)

    for handler in (raises, raises_later):
        wire = Wire(handler, get("/1") + get("/none"))
        await turns()
        assert wire.answers == [(500, "failed"), (404, "none")]
        assert [error.args for error in wire.host.errors] == [("/1",)]
        assert wire.host.answers == [("GET", 500), ("GET", 404)]


async def test_behind_what_is_no_request_nothing_is_answered() -> None:
    wire = Wire(path, GET + b"NONSENSE\r\n\r\n" + get("/2"))
    wire.serving.data_received(get("/3"))
    assert [status for status, _ in wire.answers] == [200, 400]
    assert wire.said == ["write_eof"]
    wire.serving.connection_lost(None)
    assert wire.host.gone == [wire.serving]


async def test_a_handler_under_way_outlives_the_clients_end_and_not_its_reset() -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> str:
        await gate.wait()
        return "late"

    wire = Wire(handler)
    assert wire.serving.eof_received() is True
    gate.set()
    await turns()
    assert wire.answers == [(200, "late")]
    assert wire.said == ["close"]

    gate.clear()
    wire = Wire(handler)
    task = wire.serving.task
    await turns()
    wire.serving.connection_lost(ConnectionResetError())
    await turns()
    assert task is not None
    assert task.cancelled()
    assert wire.answers == []
    assert not wire.host.idle


async def test_a_handler_whose_client_left_in_the_turn_of_its_request_is_not_said_to_be_never_awaited() -> None:
    begun: list[str] = []

    async def handler(request: Request) -> str:
        begun.append(request.path)
        return "nobody reads it"

    ends: list[Callable[[Wire], object]] = [
        lambda wire: wire.serving.connection_lost(ConnectionResetError()),
        lambda wire: wire.serving.abort(),
        lambda wire: wire.serving.due(),
    ]
    for end in ends:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            wire = Wire(handler)
            end(wire)
            await turns()
            gc.collect()
        assert [str(one.message) for one in said] == []
    assert begun == []


async def test_a_handler_that_never_answers_is_cancelled_with_503(caplog: Any) -> None:
    wire = Wire(lambda request: asyncio.Event().wait())
    task = wire.serving.task
    assert task is not None
    assert wire.host.idle == {wire.serving}
    await turns()
    wire.serving.due()
    await turns()
    assert task.cancelled()
    assert [status for status, _ in wire.answers] == [503]
    assert "did not answer within timeout=5" in caplog.text
    wire.serving.connection_lost(None)


async def test_a_body_that_came_in_the_turn_of_its_deadline_is_not_late_though_its_reader_had_no_turn_yet() -> None:
    wire = Wire(body, post(b"", b"Content-Length: 6000"), limit=None)
    await turns()
    wire.serving.data_received(b"x" * 3000)
    wire.host.idle.clear()
    wire.serving.due()
    assert wire.host.idle == {wire.serving}
    await turns()
    wire.host.idle.clear()
    wire.serving.data_received(b"x" * 3000)  # all of it: the answer's time begins
    assert wire.host.idle == {wire.serving}
    await turns()
    assert wire.answers == [(200, "x" * 6000)]
    wire.serving.connection_lost(None)


async def test_a_head_that_dribbles_is_408_and_an_idle_connection_ends_without_a_word() -> None:
    wire = Wire(path)
    wire.serving.data_received(b"GET / HT")
    wire.serving.head_due()
    assert [status for status, _ in wire.answers] == [200, 408]
    wire.serving.connection_lost(None)
    wire = Wire(path)
    wire.serving.due()
    assert wire.said == ["close"]
    assert wire.answers == [(200, "/")]


async def test_a_stream_waits_while_the_client_does_not_read_and_ends_where_it_goes() -> None:
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    wire = Wire(lambda request: Response(200, pieces()))
    wire.serving.pause_writing()
    await turns()
    sent = wire.transport.sent
    assert sent.count(b"1\r\nx\r\n") == 1
    await turns()
    assert wire.transport.sent == sent
    wire.serving.connection_lost(ConnectionResetError())
    await turns()
    assert closed.is_set()


async def test_a_server_that_closes_ends_idle_connections_and_lets_the_others_answer() -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> str:
        await gate.wait()
        return "late"

    idle, busy = Wire(path), Wire(handler)
    idle.serving.shut()
    busy.serving.shut()
    assert idle.said == ["close"]
    assert busy.said == []
    gate.set()
    await turns()
    assert busy.answers == [(200, "late")]
    assert b"Connection: close" in busy.transport.sent
    assert busy.said == ["close"]
