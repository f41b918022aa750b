"""Service objects over sockets: what they are told, in which order, and paths that come and go under a server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Inbox,
    close_frame,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
    url_of,
)

from firefly_ws import (
    CloseCode,
    CloseReason,
    HandshakeError,
    PingTimeout,
    Server,
    WebSocketConnection,
    WebSocketService,
    http_client,
    http_server,
)


class Told(WebSocketService):
    """Keeps what it is told; says back what it is told to."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.connections: list[WebSocketConnection] = []

    def connected(self, connection: WebSocketConnection) -> None:
        self.connections.append(connection)
        self.inbox(("connected", connection))

    def received(self, message: str | bytes, connection: WebSocketConnection) -> object:
        self.inbox((message, connection))
        return connection.send(message)

    def disconnected(self, connection: WebSocketConnection, reason: CloseReason) -> None:
        self.connections.remove(connection)
        self.inbox((reason, connection))


async def serving(service: object) -> Server:
    server: Server = await http_server().websocket("/").service(service).listen("127.0.0.1", 0)
    return server


async def test_a_service_is_told_of_the_connection_its_messages_and_its_end() -> None:  # K5
    service = Told()
    server = await serving(service)
    async with raw_client(server.port) as peer:
        peer.send(upgrade(), frame(TEXT, "a"), frame(BINARY, b"b"), frame(TEXT, "c", fin=False), frame(0, "d"))
        await peer.head()
        assert [await peer.frame() for _ in range(3)] == [(0x81, b"a"), (0x82, b"b"), (0x81, b"cd")]
        peer.send(close_frame(3000, "bye"))
        first, connection = await service.inbox.next()
        assert first == "connected"
        assert await service.inbox.take(4) == [
            ("a", connection), (b"b", connection), ("cd", connection), (CloseReason(3000, "bye"), connection),
        ]  # fmt: skip
    assert len(service.inbox) == 0
    assert service.connections == []
    await server.close()


async def test_its_methods_may_be_async_and_keep_the_order() -> None:  # K5
    told = Inbox()

    class Slow(WebSocketService):
        async def connected(self, connection: WebSocketConnection) -> None:
            told("connected")

        async def received(self, message: str | bytes, connection: WebSocketConnection) -> None:
            await asyncio.sleep(0)
            await connection.send(message)
            told(message)

        async def disconnected(self, connection: WebSocketConnection, reason: CloseReason) -> None:
            await asyncio.sleep(0)
            told(reason.code)

    server = await serving(Slow())
    async with http_client().ws(url_of(server)).discard().connect() as connection:
        for number in range(5):
            connection.send(f"{number}")
    assert await told.take(7) == ["connected", "0", "1", "2", "3", "4", 1000]
    await server.close()


async def test_any_object_with_a_method_received_will_do() -> None:  # K5
    service = SimpleNamespace(received=lambda message, connection: connection.send(message))
    got = Inbox()
    server = await serving(service)
    async with http_client().ws(url_of(server)).on_message(got).connect() as connection:
        connection.send("hello")
        assert (await got.next()).text == "hello"
    await server.close()


async def test_one_object_serves_two_paths_and_each_connection_is_told_apart() -> None:  # K5
    service = Told()
    app = http_server()
    server = await app.websocket("/a").service(service).websocket("/b/{name}").service(service).listen("127.0.0.1", 0)
    async with (
        http_client().ws(url_of(server, "/a")).discard().connect() as one,
        http_client().ws(url_of(server, "/b/x")).discard().connect() as two,
    ):
        one.send("1")
        told = await service.inbox.take(3)
        two.send("2")
        told.append(await service.inbox.next())
        assert {(message, connection.path) for message, connection in told} == {
            ("connected", "/a"), ("connected", "/b/x"), ("1", "/a"), ("2", "/b/x"),
        }  # fmt: skip
    await service.inbox.take(2)
    await server.close()


async def test_a_client_may_have_a_service_as_well() -> None:
    theirs, ours = Told(), Inbox()
    server = await serving(theirs)
    client = http_client().ws(url_of(server)).service(SimpleNamespace(received=lambda message, _: ours(message)))
    async with client.connect() as connection:
        connection.send(b"x")
        assert await ours.next() == b"x"
    await server.close()


async def test_ping_asks_the_client_and_resolves_with_its_pong() -> None:  # K5
    service = Told()
    server = await serving(service)
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        await peer.head()
        _, connection = await service.inbox.next()
        trip = connection.ping("are you there")
        assert await peer.frame() == (0x80 | PING, b"are you there")
        peer.send(frame(PONG, b"are you there"))
        assert await soon(trip) > 0
        # And the other way round, with nothing said to the service.
        peer.send(frame(PING, b"testing"))
        assert await peer.frame() == (0x80 | PONG, b"testing")
        assert len(service.inbox) == 0
    assert (await service.inbox.next())[0].code == 1006
    await server.close()


async def test_close_tells_the_client_a_reason_and_a_description_and_waits_for_its_close() -> None:  # K5
    service = Told()
    server = await serving(service)
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        await peer.head()
        _, connection = await service.inbox.next()
        closed = connection.close(CloseCode.GOING_AWAY, "Closing by request")
        assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe9Closing by request")
        assert not connection.is_closed
        peer.send(close_frame(1001, "as you wish"))
        assert await peer.rest() == b""
        assert await soon(closed) == CloseReason(1001, "as you wish")
    assert await service.inbox.next() == (CloseReason(1001, "as you wish"), connection)
    await server.close()


async def test_drop_tells_the_client_why_and_ends_tcp_without_waiting_for_its_close() -> None:  # K5
    service = Told()
    server = await serving(service)
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        await peer.head()
        _, connection = await service.inbox.next()
        connection.drop(CloseReason(CloseCode.POLICY_VIOLATION, "enough"))
        assert await peer.frame() == (0x80 | CLOSE, b"\x03\xf0enough")
        assert await peer.rest() == b""
    reason, dropped = await service.inbox.next()
    assert dropped is connection
    assert (reason.code, connection.close_sent) == (1006, CloseReason(1008, "enough"))
    await server.close()


async def test_a_client_that_vanishes_is_disconnected_with_1006() -> None:  # K5
    service = Told()
    server = await serving(service)
    async with raw_client(server.port) as peer:
        peer.send(upgrade(), frame(TEXT, "a"))
        await peer.head()
        await service.inbox.take(2)
    assert (await service.inbox.next())[0].code == 1006
    await server.close()


async def test_an_error_in_received_ends_the_connection_and_disconnected_is_told() -> None:
    class Failing(Told):
        def received(self, message: str | bytes, connection: WebSocketConnection) -> object:
            raise RuntimeError("mine")

    service = Failing()
    server = await serving(service)
    with logged() as records:
        connection = await http_client().ws(url_of(server)).discard().connect()
        connection.send("a")
        assert (await soon(connection.wait_closed())).code == 1011
        assert [(await service.inbox.next())[0] for _ in range(2)] == ["connected", CloseReason(1011, "")]
    assert len(records) == 1
    await server.close()


# --- paths that come and go


@pytest.mark.parametrize("of", ["server", "builder", "another thread"])
async def test_an_unregistered_path_answers_404_and_its_open_connections_stay(of: str) -> None:  # K5
    service = Told()
    app = http_server()
    server = await app.websocket("/a").service(service).websocket("/b/:name").service(service).listen("127.0.0.1", 0)

    async def unregister(path: str) -> None:
        if of == "server":
            server.unregister(path)
        elif of == "builder":
            app.unregister(path)
        else:
            await asyncio.to_thread(lambda: server.threadsafe.unregister(path).result(5))

    got = Inbox()
    for path in ("/a", "/b/x"):
        async with http_client().ws(url_of(server, path)).on_message(got).connect() as connection:
            await unregister(path.replace("x", ":name"))
            with pytest.raises(HandshakeError) as caught:
                await http_client().ws(url_of(server, path)).connect()
            assert caught.value.status == 404
            connection.send("still here")
            assert (await got.next()).text == "still here"
    with pytest.raises(KeyError, match="path '/a' is not registered; registered: none"):
        app.unregister("/a")
    # And it may come back.
    app.websocket("/a").service(service)
    async with http_client().ws(url_of(server, "/a")).on_message(got).connect() as connection:
        connection.send("again")
        assert (await got.next()).text == "again"
    await server.close()


async def test_unregistering_what_is_not_there_raises_from_the_server_too() -> None:
    server = await serving(Told())
    with pytest.raises(KeyError, match="path '/nowhere' is not registered; registered: /"):
        server.unregister("/nowhere")
    assert server.is_listening
    await server.close()


class Timed(Told):
    """Drops who is silent for so long."""

    connection_timeout = 0.2


async def test_a_client_that_is_silent_is_asked_and_then_dropped() -> None:  # K5
    service = Timed()
    server = await serving(service)
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        await peer.head()
        # A Ping first, and then the end of TCP without a Close: nothing says that anybody is there to read one.
        assert (await peer.frame())[0] == 0x80 | PING
        assert await peer.rest() == b""
        (_, connection), (reason, ended) = await service.inbox.take(2)
    assert ended is connection
    assert reason.code == CloseCode.ABNORMAL_CLOSURE
    assert "silent" in reason.message
    assert isinstance(connection.error, PingTimeout)
    await server.close()


async def test_a_client_that_answers_outlasts_connection_timeout() -> None:  # K5
    service = Timed()
    server = await serving(service)
    async with raw_client(server.port) as peer:
        peer.send(upgrade())
        await peer.head()
        for _ in range(4):
            opcode, payload = await peer.frame()
            assert opcode == 0x80 | PING
            peer.send(frame(PONG, payload))
        # Four times half of it in silence is twice as long as a client lives that does not answer.
        peer.send(frame(TEXT, "still here"))
        assert await peer.frame() == (0x81, b"still here")
        peer.send(close_frame())
        await peer.rest()
    await server.close()
