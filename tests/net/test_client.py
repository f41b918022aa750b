"""Clients: the ways to connect, what the request says, and what is raised when no connection comes about."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from support import (
    Inbox,
    echo,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    soon,
    url_of,
)

from firefly_ws import (
    ConnectionState,
    HttpConfig,
    Server,
    WebSocketConnection,
    WebSocketConnectionException,
    WebSocketPolicy,
    http_client,
    http_server,
    websocket,
    ws,
)


async def listening(requests: Inbox | None = None) -> Server:
    """An echo server; each request goes to *requests*."""
    route = http_server().websocket("/").on_message(echo).sub_protocols(["chat", "superchat"]).origins("*")
    if requests is not None:
        route.on_accept(lambda connection: requests(connection.request))
    server: Server = await route.listen("127.0.0.1", 0)
    return server


# --- ways to connect


async def test_awaiting_connect_gives_an_open_connection() -> None:  # F4, F10, C2
    server = await listening()
    connection = await http_client().websocket(url_of(server)).discard().connect()
    assert isinstance(connection, WebSocketConnection)
    assert connection.state is ConnectionState.OPEN
    assert connection.url == url_of(server)
    assert connection.response is not None
    assert connection.response.status == 101
    assert connection.remote_address == ("127.0.0.1", server.port)
    assert connection.local_address[0] == "127.0.0.1"
    assert connection.client is not None
    assert connection.server is None
    assert (await soon(connection.close())).code == 1000
    await server.close()


async def test_async_with_connect_closes_with_1000() -> None:  # C3
    inbox = Inbox()
    server = await http_server().websocket("/").on_close(lambda c, reason: inbox(reason.code)).listen("127.0.0.1", 0)
    async with http_client().websocket(url_of(server)).discard().connect() as connection:
        assert connection.is_open
    assert connection.is_closed
    assert await inbox.next() == 1000
    await server.close()


async def test_an_exception_inside_async_with_sends_1011_and_is_raised() -> None:  # C3
    inbox = Inbox()
    server = await http_server().websocket("/").on_close(lambda c, reason: inbox(reason.code)).listen("127.0.0.1", 0)
    with pytest.raises(KeyError, match="mine"):
        async with http_client().websocket(url_of(server)).discard().connect():
            raise KeyError("mine")
    assert await inbox.next() == 1011
    await server.close()


async def test_async_with_a_builder_connects_again_each_time() -> None:  # C3
    server = await listening()
    builder = http_client().websocket(url_of(server)).discard()
    async with builder as first:
        pass
    async with builder as second:
        assert second.is_open
    assert first.is_closed
    assert first is not second
    await server.close()


async def test_async_with_a_builder_raises_while_it_is_entered() -> None:
    server = await listening()
    builder = http_client().websocket(url_of(server)).discard()
    async with builder as connection:
        with pytest.raises(RuntimeError, match=r"entered already.*connect\(\)"):
            await builder.__aenter__()
        assert connection.is_open
        async with builder.connect() as other:
            assert other.is_open
    await server.close()


async def test_a_builder_that_could_not_connect_may_be_entered_again(unused_tcp_port: int) -> None:
    builder = http_client().websocket(f"ws://127.0.0.1:{unused_tcp_port}/").discard()
    for _ in range(2):
        with pytest.raises(WebSocketConnectionException):
            await builder.__aenter__()


async def test_one_builder_connects_several_times_at_once() -> None:
    inbox = Inbox()
    server = await listening()
    builder = http_client().websocket(url_of(server)).on_text(lambda text, c: inbox((c.id, text)))
    connections = await soon(asyncio.gather(*(builder.connect() for _ in range(20))))
    assert len({connection.id for connection in connections}) == 20
    for connection in connections:
        connection.send(f"{connection.id}")
    assert sorted(await inbox.take(20)) == sorted((one.id, f"{one.id}") for one in connections)
    await soon(asyncio.gather(*(connection.close() for connection in connections)))
    await server.close()


@pytest.mark.parametrize("make", [ws, websocket, http_client().ws, http_client().websocket])
async def test_host_port_and_path_are_as_good_as_a_url(make: Callable[..., Any]) -> None:  # C2
    requests = Inbox()
    server = await listening(requests)
    async with make("127.0.0.1", server.port, "/?a=1").discard().connect() as connection:
        assert connection.url == f"ws://127.0.0.1:{server.port}/?a=1"
    assert (await requests.next()).query == {"a": "1"}
    await server.close()


def test_default_ports_and_ipv6_addresses() -> None:  # C3, W6
    assert "ws://[::1]/x" in str(http_client().ws("::1", path="/x")._url)
    assert http_client().ws("example.com")._url.port == 80
    assert http_client().wss("example.com")._url.port == 443
    assert http_client().wss("wss://example.com/chat")._url.target == "/chat"


async def test_a_clients_frame_size_is_for_all_its_connections_and_theirs_wins() -> None:  # C1
    inbox = Inbox()
    route = http_server().websocket("/").on_open(lambda connection: connection.send(bytes(100)))
    server = await route.on_close(lambda connection, reason: inbox(reason.code)).listen("127.0.0.1", 0)
    client = http_client(HttpConfig(policy=WebSocketPolicy(max_frame_size=99)))
    for _ in range(2):
        connection = await client.websocket(url_of(server)).discard().connect()
        await soon(connection.wait_closed())
        assert await inbox.next() == 1009
    async with client.websocket(url_of(server)).max_frame_size(100).on_binary(inbox).connect():
        assert await inbox.next() == bytes(100)
    await server.close()


# --- connect_async


async def test_connect_async_ends_when_its_callback_has_ended() -> None:  # F4
    server = await listening()
    go_on = asyncio.Event()
    inbox = Inbox()

    async def callback(connection: WebSocketConnection) -> None:
        inbox(connection)
        await go_on.wait()

    connecting = http_client().websocket(url_of(server)).discard().connect_async(callback)
    connection = await inbox.next()
    await asyncio.sleep(0.02)
    assert not connecting.done()
    go_on.set()
    assert await soon(connecting) is connection
    assert connection.is_open  # it stays open
    await soon(connection.close())
    await server.close()


async def test_connect_async_takes_a_plain_function() -> None:  # F4
    server = await listening()
    inbox = Inbox()
    connection = await soon(http_client().websocket(url_of(server)).discard().connect_async(inbox))
    assert await inbox.next() is connection
    await soon(connection.close())
    await server.close()


async def test_connect_async_runs_beside_on_accept() -> None:
    server = await listening()
    inbox = Inbox()
    builder = http_client().websocket(url_of(server)).discard().on_accept(lambda connection: inbox("on_accept"))
    connection = await soon(builder.connect_async(lambda connection: inbox("connect_async")))
    assert await inbox.take(2) == ["on_accept", "connect_async"]
    await soon(connection.close())
    await server.close()


async def fail_later(connection: WebSocketConnection) -> None:
    await asyncio.sleep(0)
    raise KeyError("mine")


async def fail_first(connection: WebSocketConnection) -> None:
    raise KeyError("mine")


def fail_plain(connection: WebSocketConnection) -> None:
    raise KeyError("mine")


@pytest.mark.parametrize("callback", [fail_later, fail_first, fail_plain])
async def test_an_error_of_the_callback_is_raised_where_connect_async_is_awaited(callback: Any) -> None:
    closes = Inbox()
    server = await http_server().websocket("/").on_close(lambda c, reason: closes(reason)).listen("127.0.0.1", 0)
    with logged() as records:
        with pytest.raises(KeyError, match="mine"):
            await soon(http_client().websocket(url_of(server)).discard().connect_async(callback))
        assert (await closes.next()) == (1011, "")
    assert not records
    await server.close()


@pytest.mark.parametrize("callback", [fail_later, fail_first, fail_plain])
async def test_an_error_of_the_callback_that_nobody_awaits_is_logged_once(callback: Any) -> None:
    server = await listening()
    with logged() as records:
        http_client().websocket(url_of(server)).discard().connect_async(callback)
        await eventually(lambda: records)
        await server.close()
    assert [(record.levelname, record.exc_info is not None) for record in records] == [("ERROR", True)]
    assert "mine" in records[0].getMessage()


async def test_a_connect_error_that_nobody_awaits_is_logged_once_when_it_happens(unused_tcp_port: int) -> None:
    with logged() as records:
        http_client().websocket(f"ws://127.0.0.1:{unused_tcp_port}/").connect_async(lambda connection: None)
        await eventually(lambda: records)
    assert [record.levelname for record in records] == ["ERROR"]
    assert str(unused_tcp_port) in records[0].getMessage()


async def test_connect_waits_for_listens_begun_earlier(unused_tcp_port: int) -> None:  # F2
    server = http_server().websocket("/").on_message(echo).listen("127.0.0.1", unused_tcp_port)
    builder = http_client().websocket(f"ws://127.0.0.1:{unused_tcp_port}/").discard()
    first, second = builder.connect(), builder.connect_async(lambda connection: None)
    for connection in await soon(asyncio.gather(first, second)):
        await soon(connection.close())
    await server.close()


# --- what the request says


async def request_of(change: Callable[[Any], object]) -> Any:
    requests = Inbox()
    server = await listening(requests)
    builder = http_client().websocket(url_of(server)).discard()
    change(builder)
    async with builder.connect():
        request = await requests.next()
    await server.close()
    return request


async def test_headers_go_with_the_request_as_given() -> None:  # C2
    request = await request_of(
        lambda builder: builder.header("X-One", "1").headers({"X-Two": "2"}).headers([("x-many", "a"), ("x-many", "b")])
    )
    assert request.headers["x-one"] == "1"
    assert request.headers["X-TWO"] == "2"
    assert request.headers.get_all("x-many") == ["a", "b"]


async def test_cookies_are_one_header_and_read_as_a_dict() -> None:  # C2
    request = await request_of(lambda builder: builder.cookies({"session": "abc", "theme": "dark"}))
    assert request.headers["cookie"] == "session=abc; theme=dark"
    assert request.cookies == {"session": "abc", "theme": "dark"}


async def test_basic_auth_is_sent_in_utf8() -> None:  # C2
    request = await request_of(lambda builder: builder.basic_auth("ada", "gärten:1"))
    scheme, value = request.headers["authorization"].split()
    assert scheme == "Basic"
    assert base64.b64decode(value).decode() == "ada:gärten:1"


async def test_basic_auth_from_the_url_is_decoded_and_not_part_of_the_address() -> None:  # C2
    requests = Inbox()
    server = await listening(requests)
    url = f"ws://ada:p%40ss%3A@127.0.0.1:{server.port}/"
    async with http_client().websocket(url).discard().connect() as connection:
        assert connection.url == url_of(server)
    request = await requests.next()
    assert base64.b64decode(request.headers["authorization"].split()[1]) == b"ada:p@ss:"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    await server.close()


async def test_the_last_authorization_wins() -> None:  # C2
    request = await request_of(lambda builder: builder.basic_auth("ada", "secret").bearer("abc.def"))
    assert request.headers.get_all("authorization") == ["Bearer abc.def"]


async def test_the_origin_is_sent() -> None:  # C2
    assert (await request_of(lambda builder: builder.origin("https://example.com"))).headers["origin"] == (
        "https://example.com"
    )


async def test_sub_protocols_are_offered_in_order_and_the_servers_choice_is_told() -> None:  # F8
    server = await listening()
    builder = http_client().websocket(url_of(server)).discard().sub_protocols(["other", "superchat", "chat"])
    async with builder.connect() as connection:
        assert connection.sub_protocol == "superchat"
        assert connection.request.headers["sec-websocket-protocol"] == "other, superchat, chat"
        (ours,) = server.connections
        assert ours.sub_protocol == "superchat"
    async with http_client().websocket(url_of(server)).discard().connect() as connection:
        assert connection.sub_protocol is None
    await server.close()


async def test_a_sub_protocol_may_be_chosen_by_the_server() -> None:  # F8
    route = http_server().websocket("/").discard().sub_protocols(["a", "b"])
    server = await route.on_sub_protocol_select(lambda offered, request: offered[-1]).listen("127.0.0.1", 0)
    async with http_client().websocket(url_of(server)).discard().sub_protocols(["a", "c"]).connect() as connection:
        assert connection.sub_protocol == "c"
    await server.close()
