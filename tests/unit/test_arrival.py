"""From accept to open: the quick way gives the verdict of the slow one, and who is late is told so. Without sockets."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from every import for_each
from fakes import Transport, turns
from heads import CLIENTS, ENDS, ODD, PLAIN, head, mutated
from hypothesis import given, settings

from firefly_ws import HttpConfig, HttpServer, Response, http_server
from firefly_ws.accepting import ServerHandshake
from firefly_ws.arrival import Arrival, Entrance, Lobby
from firefly_ws.testing.in_memory import MemoryServer

ADDRESS = ("192.0.2.7", 4711)


class Line(Transport):
    """As asyncio's: it knows its peer, and may be paused twice."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ADDRESS if name == "peername" else default

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Place:
    """A server without a socket, and what its hooks and callbacks hear."""

    def __init__(self, change: Callable[[HttpServer], object] = lambda app: None, config: HttpConfig | None = None):
        self.heard: list[Any] = []
        self.app = http_server(config)
        self.connections: list[Any] = []
        heard = self.heard
        for path in ("/", "/chat", "/both", "/refused", "/raises", "/slow", "/slowly-refused"):
            self.route(path)
        self.route("/room/{name}").sub_protocols(["superchat", "chat"]).extensions(["permessage-deflate"])
        self.route("/chosen").on_sub_protocol_select(self.choose)
        self.app.get("/page", lambda request: f"page for {request.headers.get('host')}")
        self.app.get("/both", lambda request: "both").post("/both", lambda request: "posted")
        change(self.app)
        self.server = MemoryServer(self.app, asyncio.get_running_loop())
        self.heard = heard

    def route(self, path: str) -> Any:
        """A websocket there."""
        route = self.app.websocket(path)
        route.on_open(self.connections.append)
        return route.on_message(lambda frame, connection: self.heard.append((frame.opcode, frame.payload)))

    def choose(self, offered: tuple[str, ...], request: Any) -> str | None:
        self.heard.append(("offered", offered, facts(request)))
        if "raises" in offered:
            raise RuntimeError("chosen")
        return offered[-1]

    def hook(self, request: Any) -> Any:
        """For on_upgrade."""
        self.heard.append(("asked", facts(request)))
        if request.path == "/raises":
            raise RuntimeError("asked")
        if request.path == "/refused":
            return Response(403, "not you", headers=[("X-Why", "because")])
        if request.path in ("/slow", "/slowly-refused"):
            return self.slowly(request)
        return None

    async def slowly(self, request: Any) -> Any:
        await asyncio.sleep(0)
        return Response(401, "later") if request.path == "/slowly-refused" else None

    def arrive(self, *, secure: bool = False) -> tuple[ServerHandshake, Line]:
        """Somebody connects."""
        transport = Line(self.server._loop)
        handshake = ServerHandshake(self.server._waiting, secure)
        transport.set_protocol(handshake)
        handshake.connection_made(transport)
        return handshake, transport

    async def verdict(self, packets: list[bytes], *, quickly: bool, secure: bool = False) -> dict[str, Any]:
        """All that can be told from outside of what becomes of a client that sends this."""
        self.heard.clear()
        self.connections.clear()
        before = self.server.stats()
        handshake, transport = self.arrive(secure=secure)
        for packet in packets:
            if transport.protocol is handshake and not quickly:
                handshake._read(packet)
            elif not transport.lost:
                transport.protocol.data_received(packet)
            if not transport.reading:
                await turns(4)
        if handshake._task is not None or transport.protocol is not handshake:
            await turns(6)
        after = self.server.stats()
        said = {
            "answer": re.sub(rb"Date: [^\r]*", b"Date", b"".join(transport.writes)),
            "ended": transport.ended,
            "eof": transport.eof_written,
            "heard": list(self.heard),
            "opened": after["opened"] - before["opened"],
            "refused": after["refused"] - before["refused"],
            "here": handshake._here,
            "silent": handshake.is_silent,
            "connections": [about(connection) for connection in self.connections],
            "protocol": type(transport.protocol).__name__,
        }
        for connection in self.connections:
            connection.terminate()
        handshake._leave()
        transport.abort()
        transport.lose()
        await turns(2)
        return said


def facts(request: Any) -> dict[str, Any]:
    """Of a request."""
    names = (
        "method", "target", "http_version", "raw_path", "path", "query", "path_params", "host", "cookies",
        "remote_address", "is_secure",
    )  # fmt: skip
    return {name: getattr(request, name) for name in names} | {"headers": request.headers.raw}


def about(connection: Any) -> dict[str, Any]:
    """Of a connection."""
    names = (
        "sub_protocol", "is_secure", "url", "path", "path_params", "remote_address", "bytes_read", "is_client", "state",
    )  # fmt: skip
    agreed = [(one.name, one.params) for one in connection.extensions]
    request = facts(connection.request)
    return {name: getattr(connection, name) for name in names} | {"agreed": agreed, "request": request}


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the library logs, also where it would say it only once a second."""
    said: list[str] = []
    logger = logging.getLogger("firefly_ws")

    def always(kind: str, level: int, message: str, *args: object) -> None:
        logger.log(level, message, *args)

    for module in ("accepting", "answering", "http.exchange", "http.ending"):
        monkeypatch.setattr(f"firefly_ws.{module}.seldom", always)
    handler = logging.Handler(logging.INFO)
    handler.addFilter(lambda record: record.name == "firefly_ws")  # not the end of each connection
    handler.emit = lambda record: said.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield said
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = True


async def same(place: Place, records: list[str], packets: list[bytes], **how: Any) -> dict[str, Any]:
    """The verdict, which must be the same by both ways, and with the request in one packet or in several."""
    records.clear()
    slowly = await place.verdict([b"".join(packets)], quickly=False, **how)
    logged = list(records)
    records.clear()
    assert await place.verdict(packets, quickly=True, **how) == slowly
    assert records == logged
    return slowly


# --- the two ways


async def test_every_request_by_hand_gets_the_same_verdict_by_both_ways(records: list[str]) -> None:
    plain, hooked = Place(), Place()
    hooked.app.on_upgrade(hooked.hook)
    told = {"opened": 0, "refused": 0, "served": 0}
    for name, data in (PLAIN | ODD).items():
        for place in (plain, hooked):
            try:
                verdict = await same(place, records, [data])
            except AssertionError as error:
                error.add_note(f"in the case {name!r}, hooked={place is hooked}")
                raise
            told["opened"] += verdict["opened"]
            told["refused"] += verdict["refused"]
            told["served"] += verdict["protocol"] == "Serving"
    assert told["opened"] > 60, told
    assert told["refused"] > 100, told
    assert told["served"] > 5, told


@for_each(
    ("allowed", "of_route"),
    [(["*"], False), (["https://evil.example"], False), (["http://server.example.com"], True), (["https://b"], True)],
)
async def test_allowed_origins_are_the_same_by_both_ways(
    records: list[str], allowed: list[str], of_route: bool
) -> None:
    def change(app: HttpServer) -> None:
        (app.websocket("/origins").discard() if of_route else app).origins(*allowed)

    place = Place(change)
    statuses = set()
    for origin in (
        "http://server.example.com", "http://server.example.com:80", "https://evil.example", "null", "", "HTTPS://B",
    ):  # fmt: skip
        line = "GET /origins HTTP/1.1" if of_route else "GET /chat HTTP/1.1"
        verdict = await same(place, records, [head(f"Origin: {origin}", line=line)])
        statuses.add(verdict["answer"][9:12])
    assert statuses == ({b"101"} if allowed == ["*"] else {b"101", b"403"})


async def test_a_limit_is_reached_by_both_ways_at_the_same_byte_and_field(records: list[str]) -> None:
    data = head("X: y", line="GET /chat HTTP/1.1")
    for more in (-1, 0, 1):
        for limit in ({"max_header_size": len(data) - more}, {"max_header_count": 6 - more}):
            verdict = await same(Place(config=HttpConfig(**limit)), records, [data])
            assert verdict["answer"][9:12] == (b"431" if more == 1 else b"101"), limit
    unlimited = Place(config=HttpConfig(max_header_size=None, max_header_count=None))
    assert (await same(unlimited, records, [head(*["X: y" * 500] * 200)]))["opened"] == 1


async def test_a_limit_that_is_set_later_holds_for_who_comes_later(records: list[str]) -> None:
    place = Place()
    data = head(line="GET /chat HTTP/1.1")
    assert (await same(place, records, [data]))["opened"] == 1
    place.app.max_header_size(100)
    assert (await same(place, records, [data]))["answer"][9:12] == b"431"


@for_each("name", ["Chromium", "curl", "malformed extensions", "HTTP and a websocket", "a path that is refused"])
async def test_a_head_cut_at_any_byte_gets_the_verdict_of_the_whole_one(records: list[str], name: str) -> None:
    place = Place()
    place.app.on_upgrade(place.hook)
    for behind in ENDS[:3]:
        data = PLAIN[name] + behind
        whole = await same(place, records, [data])
        logged = list(records)
        for at in range(1, len(data), 1 if behind is ENDS[1] else 13):
            records.clear()
            cut = await place.verdict([data[:at], data[at:]], quickly=True)
            assert cut == whole, at
            assert records == logged, at


async def test_frames_behind_the_head_are_the_websockets(records: list[str]) -> None:
    place = Place()
    place.app.on_upgrade(place.hook)
    for path in ("/chat", "/slow"):
        for behind in ENDS:
            verdict = await same(place, records, [head(line=f"GET {path} HTTP/1.1") + behind])
            assert verdict["opened"] == 1
            assert verdict["connections"][0]["bytes_read"] == len(behind)


async def test_tls_and_address_are_the_same_by_both_ways(records: list[str]) -> None:
    verdict = await same(Place(), records, [PLAIN["Firefox"]], secure=True)
    (connection,) = verdict["connections"]
    assert (connection["is_secure"], connection["remote_address"]) == (True, ADDRESS)
    assert (connection["sub_protocol"], connection["path_params"]) == ("chat", {"name": "garden"})
    assert [name for name, _ in connection["agreed"]] == ["permessage-deflate"]
    assert connection["url"] == "wss://server.example.com/room/garden"


def test_mutated_requests_get_the_same_verdict_by_both_ways(records: list[str]) -> None:
    with asyncio.Runner() as runner:

        async def begin() -> tuple[Place, Place]:
            plain, hooked = Place(), Place()
            hooked.app.on_upgrade(hooked.hook)
            return plain, hooked

        places = runner.run(begin())

        @settings(max_examples=100, deadline=None)
        @given(mutated())
        def check(data: bytes) -> None:
            for place in places:
                runner.run(same(place, records, [data]))

        check()


# --- who is asked, and what it costs


async def test_a_plain_hook_makes_no_task_and_an_async_one_makes_one() -> None:
    place = Place()
    place.app.on_upgrade(place.hook)
    made: list[str] = []
    loop = asyncio.get_running_loop()

    def factory(loop: Any, coroutine: Any, **how: Any) -> Any:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **how)

    loop.set_task_factory(factory)
    try:
        for path in ("/chat", "/room/garden", "/refused", "/raises"):
            await place.verdict([head(line=f"GET {path} HTTP/1.1")], quickly=True)
            assert made == [], path
        await place.verdict([head(line="GET /slow HTTP/1.1")], quickly=True)
        assert len(made) == 1
    finally:
        loop.set_task_factory(None)


async def test_a_plain_request_is_never_read_by_the_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every other test here would compare the slow way with itself."""
    place = Place()

    def read(self: ServerHandshake, data: bytes) -> None:
        raise AssertionError("the slow way")

    monkeypatch.setattr(ServerHandshake, "_read", read)
    for data in CLIENTS.values():
        assert (await place.verdict([data], quickly=True))["opened"] == 1


async def test_a_hook_may_end_the_connection_it_is_asked_about() -> None:
    place = Place()
    ends: list[Callable[[], object]] = []

    def hook(request: Any) -> Response | None:
        ends.pop()()
        return None if request.path == "/chat" else Response(403, "no")

    place.app.on_upgrade(hook)
    for path in ("/chat", "/refused"):
        for leaves in (True, False):
            handshake, transport = place.arrive()
            ends.append(handshake.abort if leaves else transport.abort)
            handshake.data_received(head(line=f"GET {path} HTTP/1.1"))
            assert transport.writes == []
            assert place.connections == []
            await turns()
            assert not handshake._here
    assert place.server.stats()["opened"] == 0


async def test_the_table_of_a_request_that_somebody_has_read_is_dropped_with_the_handshake() -> None:
    place = Place()
    seen: list[Any] = []
    place.app.on_upgrade(lambda request: seen.append(request.headers.fields()))
    await place.verdict([head()], quickly=True)
    handshake, _ = place.arrive()
    handshake.data_received(head())
    request = place.connections[-1].request
    assert request.headers._index is None
    assert request.headers["host"] == "server.example.com"
    place.connections[-1].terminate()
    await turns()


async def test_an_error_behind_the_answer_is_the_transports_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is open by then: nothing can be refused any more."""
    place = Place()
    handshake, transport = place.arrive()

    def write(data: bytes) -> None:
        raise OSError("no more")

    monkeypatch.setattr(transport, "write", write)
    with pytest.raises(OSError, match="no more"):
        handshake.data_received(head())
    assert not handshake._here


async def test_what_comes_behind_a_refusal_is_nobodys() -> None:
    place = Place()
    handshake, transport = place.arrive()
    handshake.data_received(head(line="GET /nowhere HTTP/1.1"))
    before = list(transport.writes)
    handshake.data_received(head())
    assert transport.writes == before
    assert place.connections == []


async def test_an_arrival_is_freed_when_it_has_become_a_connection() -> None:
    place = Place()
    handshake, transport = place.arrive()
    gone = weakref.ref(handshake)
    gc.collect()
    gc.disable()
    try:
        handshake.data_received(head())
        del handshake
        assert gone() is None
    finally:
        gc.enable()
    place.connections[0].terminate()
    await turns()
    assert transport.lost


async def test_a_class_that_decides_nothing_says_so() -> None:
    one = Arrival(Place().server._waiting, False)
    for call in (
        lambda: one._read(b""),
        lambda: one._settle(None, None, None),  # type: ignore[arg-type]
        lambda: one._hook_raised(None, ValueError()),  # type: ignore[arg-type]
        lambda: one._failed(None, ValueError()),  # type: ignore[arg-type]
        one.too_slow,
    ):
        with pytest.raises(NotImplementedError):
            call()


# --- who waits, and for how long


class Timer:
    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self.delay, self.callback, self.cancelled = delay, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Waiting:
    """A lobby on a loop whose timers the test calls."""

    def __init__(self, seconds: float | None = 10) -> None:
        place = Place(config=HttpConfig(open_timeout=seconds))
        self.timers: list[Timer] = []
        self.server = place.server
        self.server._loop = self  # type: ignore[assignment]
        self.lobby = Lobby(self.server)
        self.late: list[Any] = []
        waiting = self

        class Late(Arrival):
            __slots__ = ()

            def too_slow(self) -> None:
                waiting.late.append(self)
                if self in waiting.failing:
                    raise RuntimeError("of this one")

        self.failing: list[Any] = []
        self.entrance = Entrance(Late, self.lobby, False)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay, callback))
        return self.timers[-1]

    def come(self) -> Any:
        one = self.entrance()
        one.connection_made(Transport(asyncio.get_running_loop()))
        return one

    def turn(self) -> None:
        """The timer's time has come."""
        self.timers.pop(0).callback()


async def test_who_waits_stands_in_the_order_of_coming() -> None:
    waiting = Waiting()
    lobby = waiting.lobby
    assert (len(lobby), list(lobby)) == (0, [])
    first, second, third = waiting.come(), waiting.come(), waiting.come()
    assert list(lobby) == [first, second, third]
    second._leave()
    second._leave()
    assert (len(lobby), list(lobby)) == (2, [first, third])
    third._leave()
    first._leave()
    assert (len(lobby), list(lobby)) == (0, [])
    fourth = waiting.come()
    fifth = waiting.come()
    fourth._leave()
    assert list(lobby) == [fifth]
    assert 0 <= lobby.age(fifth) < 100


async def test_one_timer_serves_them_all_for_the_oldest() -> None:
    waiting = Waiting(10)
    first = waiting.come()
    second = waiting.come()
    (timer,) = waiting.timers
    assert 9 < timer.delay <= 10
    first._leave()
    waiting.turn()
    assert waiting.late == []
    assert len(waiting.timers) == 1
    second._leave()
    waiting.turn()
    assert waiting.timers == []
    waiting.come()
    assert len(waiting.timers) == 1


async def test_who_is_late_is_told_once_and_waits_no_more() -> None:
    waiting = Waiting(0.001)
    first, second = waiting.come(), waiting.come()
    await asyncio.sleep(0.002)
    waiting.turn()  # which has the sockets asked once more
    assert waiting.late == []
    (timer,) = waiting.timers
    assert timer.delay == 0.001
    waiting.turn()
    assert waiting.late == [first, second]
    assert len(waiting.lobby) == 0
    assert waiting.timers == []


async def test_who_has_asked_before_the_second_look_is_not_late() -> None:
    waiting = Waiting(0.001)
    first, second = waiting.come(), waiting.come()
    await asyncio.sleep(0.002)
    waiting.turn()
    third = waiting.come()
    assert len(waiting.timers) == 1
    first._leave()
    waiting.turn()
    assert waiting.late == [second]
    assert list(waiting.lobby) == [third]
    assert len(waiting.timers) == 1


async def test_an_error_of_one_does_not_keep_the_others_waiting_for_ever() -> None:
    waiting = Waiting(0.001)
    first, second = waiting.come(), waiting.come()
    waiting.failing = [first]
    await asyncio.sleep(0.002)
    waiting.turn()
    with pytest.raises(RuntimeError, match="of this one"):
        waiting.turn()
    assert list(waiting.lobby) == [second]
    waiting.turn()
    waiting.turn()
    assert waiting.late == [first, second]


async def test_without_a_limit_there_is_no_timer() -> None:
    waiting = Waiting(None)
    waiting.come()
    assert waiting.timers == []
    waiting.lobby.clear()


async def test_clear_leaves_no_timer() -> None:
    waiting = Waiting()
    waiting.come()
    waiting.lobby.clear()
    assert waiting.timers[0].cancelled
    waiting.lobby.clear()


async def test_who_comes_to_a_closed_server_is_sent_away() -> None:
    place = Place()
    place.server._shut = True
    handshake, transport = place.arrive()
    assert transport.ended == "abort"
    assert not handshake._here
    assert len(place.server._waiting) == 0


async def test_who_has_greeted_in_tls_is_no_longer_greeting() -> None:
    place = Place()
    handshake = ServerHandshake(place.server._waiting, True)
    place.server._greeting.add(handshake)
    transport = Line(place.server._loop)
    transport.set_protocol(handshake)
    handshake.connection_made(transport)
    assert not place.server._greeting
    assert handshake._secure
    assert handshake._transport is transport
    assert handshake._server is place.server


async def test_an_entrance_makes_what_it_was_told_to_make() -> None:
    place = Place()
    one = Entrance(ServerHandshake, place.server._waiting, True)()
    assert type(one) is ServerHandshake
    assert (one._secure, one._rest, one._task, one._head, one._here) == (True, b"", None, None, False)
