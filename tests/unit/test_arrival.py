"""From accept to open: the quick way gives the verdict of the slow one, and asks and keeps no more than that."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from arrivals import ADDRESS, Place
from every import for_each
from fakes import turns
from heads import CLIENTS, ENDS, ODD, PLAIN, head, mutated
from hypothesis import given, settings

from firefly_ws import HttpConfig, HttpServer, Response
from firefly_ws.accepting import ServerHandshake
from firefly_ws.arrival import Arrival


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
        lambda: one._upgrade(None, None),  # type: ignore[arg-type]
        lambda: one._settle(None, None, None),  # type: ignore[arg-type]
        lambda: one._hook_raised(None, ValueError()),  # type: ignore[arg-type]
        lambda: one._failed(None, ValueError()),  # type: ignore[arg-type]
        one.too_slow,
    ):
        with pytest.raises(NotImplementedError):
            call()
