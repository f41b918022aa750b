"""Selectors on the server: which extensions and which subprotocol, of those a client offers."""

from __future__ import annotations

from typing import Any

import pytest
from support import (
    Inbox,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    upgrade,
    url_of,
)

from firefly_ws import PerMessageDeflate, http_client, http_server

DEFLATE = "permessage-deflate"


async def answered(route: Any, **fields: str) -> Any:
    """The head of the answer to an upgrade with these fields."""
    server = await route.discard().listen("127.0.0.1", 0)
    async with raw_client(server.port) as peer:
        peer.send(upgrade(**fields))
        answer = await peer.head()
    await server.close()
    return answer


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
        (lambda offered, request: 1 / 0, "division by zero"),
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
