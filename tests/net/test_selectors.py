"""Selectors on the server: which extensions and which subprotocol, of those a client offers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support import (
    TEXT,
    Inbox,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    upgrade,
    url_of,
)

from firefly_ws import PerMessageDeflate, http_client, http_server

DEFLATE = "permessage-deflate"


def later(select: Any) -> Any:
    """The same, a step of the loop later."""

    async def selects(offered: Any, request: Any) -> Any:
        await asyncio.sleep(0)
        return select(offered, request)

    return selects


async def answered(route: Any, **fields: str) -> Any:
    """The head of the answer to an upgrade with these fields."""
    async with route.discard().listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(**fields))
        return await peer.head()


async def test_the_selector_is_given_the_offers_in_order_and_the_request() -> None:  # F8
    seen = Inbox()
    route = http_server().websocket("/").on_extension_select(lambda offered, request: seen((offered, request)))
    offer = f"x-mine; a=1; b, {DEFLATE}; client_max_window_bits, {DEFLATE}"
    answer = await answered(route, sec_websocket_extensions=offer)
    offered, request = await seen.next()
    assert [str(one) for one in offered] == ["x-mine; a=1; b", f"{DEFLATE}; client_max_window_bits", DEFLATE]
    assert [one.name for one in offered] == ["x-mine", DEFLATE, DEFLATE]
    assert request.headers["sec-websocket-extensions"] == offer
    # None leaves it to the library.
    assert answer.headers["sec-websocket-extensions"].startswith(DEFLATE)


async def test_it_may_choose_none() -> None:  # F8
    route = http_server().websocket("/").on_extension_select(lambda offered, request: [])
    answer = await answered(route, sec_websocket_extensions=DEFLATE)
    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers


async def test_it_may_choose_one_of_several_alternatives() -> None:  # F8
    route = http_server().websocket("/").extensions([PerMessageDeflate(context_takeover=True)])
    route.on_extension_select(lambda offered, request: offered[1:])
    offer = f"{DEFLATE}; server_max_window_bits=9, {DEFLATE}; server_max_window_bits=12"
    answer = await answered(route, sec_websocket_extensions=offer)
    assert "server_max_window_bits=12" in answer.headers["sec-websocket-extensions"]


async def test_it_may_decide_by_the_request_and_name_what_it_wants() -> None:  # F8
    def select(offered: Any, request: Any) -> list[str]:
        return [DEFLATE] if request.query.get("compress") else []

    got = Inbox()
    route = http_server().websocket("/").on_extension_select(select).on_message(got)
    server = await route.listen("127.0.0.1", 0)
    for query, names in (("?compress=yes", [DEFLATE]), ("", [])):
        client = http_client().websocket(url_of(server) + query).discard().extensions([DEFLATE])
        async with client.connect() as connection:
            assert [one.name for one in connection.extensions] == names
            connection.send("a" * 500)
            assert (await got.next()).text == "a" * 500
    await server.close()


async def test_what_the_route_does_not_have_is_not_agreed_on_though_it_is_chosen() -> None:  # F8
    route = http_server().websocket("/").on_extension_select(lambda offered, request: offered)
    answer = await answered(route, sec_websocket_extensions=f"x-mine, {DEFLATE}")
    assert "x-mine" not in answer.headers["sec-websocket-extensions"]


async def test_without_an_offer_it_is_not_asked() -> None:
    route = http_server().websocket("/").on_extension_select(lambda offered, request: 1 / 0)  # type: ignore[arg-type, return-value]
    assert (await answered(route)).status == 101


@pytest.mark.parametrize(
    ("select", "error"),
    [
        (lambda offered, request: ["identity"], "on_extension_select chose identity, which was not offered"),
        (lambda offered, request: DEFLATE, "on_extension_select returned 'permessage-deflate': it must return a list"),
        (lambda offered, request: 5, "on_extension_select returned 5: it must return a list of offers or names"),
        (lambda offered, request: offered[0], "it must return a list of offers or names, or None"),
        (lambda offered, request: 1 / 0, "division by zero"),
        (later(lambda offered, request: ["identity"]), "on_extension_select chose identity, which was not offered"),
        (later(lambda offered, request: 1 / 0), "division by zero"),
    ],
)
async def test_a_selector_that_fails_refuses_with_500_and_is_logged(select: Any, error: str) -> None:  # F8
    route = http_server().websocket("/").on_extension_select(select)
    with logged() as records:
        answer = await answered(route, sec_websocket_extensions=DEFLATE)
    assert answer.status == 500
    (record,) = records
    assert error in str(record.exc_info)


async def test_a_malformed_offer_is_refused_with_400_whatever_the_selector_would_say() -> None:
    route = http_server().websocket("/").on_extension_select(lambda offered, request: [])
    assert (await answered(route, sec_websocket_extensions=f"{DEFLATE};")).status == 400


def test_a_selector_is_callable_and_set_once() -> None:
    for name in ("on_extension_select", "on_sub_protocol_select"):
        route = http_server().websocket("/")
        with pytest.raises(TypeError, match=rf"{name}\(5\): a callback must be callable"):
            getattr(route, name)(5)
        assert getattr(route, name)(print) is route
        with pytest.raises(ValueError, match=rf"{name}\(\) is set already"):
            getattr(route, name)(print)


async def test_a_subprotocol_is_chosen_by_offers_and_request_and_both_ends_know_it() -> None:  # F8
    def select(offered: tuple[str, ...], request: Any) -> str | None:
        return offered[-1] if request.path == "/" else None

    seen = Inbox()
    route = http_server().websocket("/{any}").discard().on_sub_protocol_select(select)
    route.websocket("/").discard().on_sub_protocol_select(select).on_open(lambda conn: seen(conn.sub_protocol))
    server = await route.listen("127.0.0.1", 0)
    client = http_client()
    async with client.ws(url_of(server)).discard().sub_protocols(["v2.chat", "v1.chat"]).connect() as connection:
        assert connection.sub_protocol == await seen.next() == "v1.chat"
    async with client.ws(url_of(server, "/x")).discard().sub_protocols(["v2.chat"]).connect() as connection:
        assert connection.sub_protocol is None
    await server.close()


@pytest.mark.parametrize("wrap", [later, lambda select: lambda *asked: later(select)(*asked)], ids=["async", "lambda"])
async def test_selectors_may_take_their_time_and_each_is_asked_once(wrap: Any) -> None:  # F8
    got, asked = Inbox(), list[str]()
    route = http_server().websocket("/").extensions(["identity", DEFLATE]).on_message(got)
    route.on_extension_select(wrap(lambda offered, request: asked.append("extensions") or [offered[1]]))
    route.on_sub_protocol_select(wrap(lambda offered, request: asked.append("sub-protocol") or offered[1]))
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        # What comes meanwhile belongs to the websocket.
        peer.send(upgrade(sec_websocket_extensions=f"identity, {DEFLATE}", sec_websocket_protocol="a, b"))
        peer.send(frame(TEXT, "early"))
        answer = await peer.head()
        assert answer.status == 101
        assert answer.headers["sec-websocket-extensions"].startswith(DEFLATE)
        assert answer.headers["sec-websocket-protocol"] == "b"
        assert (await got.next()).text == "early"
    assert sorted(asked) == ["extensions", "sub-protocol"]


async def test_one_selector_may_be_async_and_the_other_not_behind_an_async_on_upgrade() -> None:  # F8
    async def on_upgrade(request: Any) -> None:
        await asyncio.sleep(0)

    for wrap_first, wrap_second in ((later, lambda select: select), (lambda select: select, later)):
        asked = list[str]()
        route = http_server().on_upgrade(on_upgrade).websocket("/").extensions([DEFLATE])
        route.on_extension_select(wrap_first(lambda offered, request, asked=asked: asked.append("e")))
        route.on_sub_protocol_select(wrap_second(lambda offered, request, asked=asked: asked.append("s") or "b"))
        answer = await answered(route, sec_websocket_extensions=DEFLATE, sec_websocket_protocol="a, b")
        assert answer.headers["sec-websocket-protocol"] == "b"
        assert answer.headers["sec-websocket-extensions"].startswith(DEFLATE)
        assert sorted(asked) == ["e", "s"]


async def test_an_async_selector_has_a_task_and_is_cancelled_when_the_client_goes_away() -> None:  # F8
    begun, ended = Inbox(), Inbox()

    async def never(offered: Any, request: Any) -> str:
        begun(asyncio.current_task())
        try:
            return str(await asyncio.get_running_loop().create_future())
        except asyncio.CancelledError:
            ended(None)
            raise

    route = http_server().websocket("/").on_sub_protocol_select(never).discard()
    async with route.listen("127.0.0.1", 0) as server:
        async with raw_client(server.port) as peer:
            peer.send(upgrade(sec_websocket_protocol="a"))
            assert await begun.next() is not None
        await ended.next()
        await eventually(lambda: not server.connections)


async def test_what_arrives_while_a_selector_decides_belongs_to_the_websocket() -> None:  # F8
    begun, decided, got = Inbox(), asyncio.Event(), Inbox()

    async def select(offered: Any, request: Any) -> str:
        begun(None)
        await decided.wait()
        return str(offered[0])

    route = http_server().websocket("/").on_sub_protocol_select(select).on_text(got)
    async with route.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(upgrade(sec_websocket_protocol="a"))
        await begun.next()
        peer.send(frame(TEXT, "early"))
        await asyncio.sleep(0.01)
        decided.set()
        assert (await peer.head()).headers["sec-websocket-protocol"] == "a"
        peer.send(frame(TEXT, "late"))
        assert await got.take(2) == ["early", "late"]


async def test_a_selector_that_fails_behind_its_client_is_logged_and_refuses_nobody() -> None:  # F8
    begun = Inbox()

    async def select(offered: Any, request: Any) -> str:
        try:
            begun(None)
            return str(await asyncio.get_running_loop().create_future())
        except asyncio.CancelledError:
            raise KeyError("mine") from None

    route = http_server().websocket("/").on_sub_protocol_select(select).discard()
    with logged() as records:
        async with route.listen("127.0.0.1", 0) as server:
            async with raw_client(server.port) as peer:
                peer.send(upgrade(sec_websocket_protocol="a"))
                await begun.next()
            await eventually(lambda: records)
            assert server.stats()["refused"] == 0
    assert [str(record.exc_info) for record in records if "KeyError('mine')" not in str(record.exc_info)] == []


async def test_a_selector_that_takes_longer_than_open_timeout_is_cancelled_with_408() -> None:  # F8
    async def never(offered: Any, request: Any) -> str:
        return str(await asyncio.get_running_loop().create_future())

    route = http_server().open_timeout(0.05).websocket("/").on_sub_protocol_select(never)
    answer = await answered(route, sec_websocket_protocol="a")
    assert answer.status == 408
