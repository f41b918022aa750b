"""Server and client without a socket between them: the real handshake, extensions and codec, and ends of all kinds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes import turns
from in_memory import Client, Run, echo, idle

from firefly_ws import (
    HandshakeError,
    PerMessageDeflate,
    Response,
    Server,
    TextFrame,
    WebSocketConnectionException,
    http_client,
    http_server,
)
from firefly_ws.testing import Link, connect_in_memory, listen_in_memory


def test_messages_go_there_and_back(run: Run) -> None:  # S5
    async def main() -> None:
        client = Client()
        async with connect_in_memory(echo(), client.builder) as connection:
            connection.send("text")
            connection.send(b"binary")
            connection.send("x" * 200_000)
            assert await client.has(3) == ["text", b"binary", "x" * 200_000]
        assert connection.close_reason.code == 1000
        assert connection.close_received.code == 1000
        await idle()

    run(main)


def test_the_handshake_is_the_real_one(run: Run) -> None:  # S5
    async def main() -> None:
        seen: list[Any] = []
        server = (
            http_server()
            .on_upgrade(lambda request: None if request.headers.get("authorization") else Response(401, "who?"))
            .websocket("/room/{name}")
            .sub_protocols(["chat"])
            .on_open(lambda connection: seen.append((connection.path_params, connection.request.headers["host"])))
        )
        builder = http_client().websocket("ws://example.com/room/kitchen?x=1").sub_protocols(["chat", "other"])
        with pytest.raises(HandshakeError) as refused:
            await connect_in_memory(server, builder)
        assert (refused.value.status, refused.value.body) == (401, b"who?")
        async with connect_in_memory(server, builder.bearer("secret")) as connection:
            assert connection.sub_protocol == "chat"
            assert connection.response.status == 101
        assert seen == [({"name": "kitchen"}, "example.com")]
        await idle()

    run(main)


def test_extensions_are_negotiated_and_compress(run: Run) -> None:  # S5
    async def main() -> None:
        frames: list[Any] = []
        client = Client()
        client.builder.extensions([PerMessageDeflate(context_takeover=True)])
        client.builder.on_frame(lambda one, _: frames.append(one))
        async with connect_in_memory(echo(), client.builder, link=Link().split(seed=1)) as connection:
            assert [extension.name for extension in connection.extensions] == ["permessage-deflate"]
            connection.send("a" * 1000)
            assert await client.has(1) == ["a" * 1000]
        assert frames[0].rsv1
        assert len(frames[0].payload) < 50
        await idle()

    run(main)


def test_a_path_alone_is_a_client_and_an_unknown_one_is_a_404(run: Run) -> None:
    async def main() -> None:
        connection = await connect_in_memory(echo(), "/echo")
        assert connection.url == "ws://in-memory/echo"
        assert (await connection.close()).code == 1000
        with pytest.raises(HandshakeError, match="404"):
            await connect_in_memory(echo(), "/nothing")
        await idle()

    run(main)


def test_a_server_begun_for_one_connection_ends_with_it_however_it_ends(run: Run) -> None:
    async def main() -> None:
        ended: list[int] = []
        server = echo().on_close(lambda _, reason: ended.append(reason.code))
        connection = await connect_in_memory(server, "/echo")
        connection.terminate()
        await idle()
        with pytest.raises(KeyError):
            async with connect_in_memory(server, "/echo"):
                raise KeyError("x")
        await idle()
        assert ended == [1006, 1011]

    run(main)


def test_a_server_in_memory_has_any_number_of_connections_and_pushes_to_all(run: Run) -> None:  # W5
    async def main() -> None:
        server = await listen_in_memory(http_server().websocket("/echo").discard())
        assert server.is_listening
        assert (server.port, server.addresses) == (None, ())
        clients = [Client() for _ in range(10)]
        connections = [await connect_in_memory(server, client.builder) for client in clients]
        assert len(server.connections) == 10
        for connection in server.connections:
            connection.send("shutting down for maintenance")
        for client in clients:
            assert await client.has(1) == ["shutting down for maintenance"]
        await server.close()
        assert {connection.close_reason.code for connection in connections} == {1001}
        with pytest.raises(WebSocketConnectionException, match="does not listen"):
            await connect_in_memory(server, clients[0].builder)
        await idle()

    run(main)


def test_async_with_ends_a_server_in_memory(run: Run) -> None:
    async def main() -> None:
        async with listen_in_memory(echo()) as server:
            connection = await connect_in_memory(server, "/echo")
        assert connection.is_closed
        await idle()

    run(main)


def test_a_send_above_high_water_waits_until_the_server_reads(run: Run) -> None:
    async def main() -> None:
        async with listen_in_memory(http_server().websocket("/").discard()) as server:
            connection = await connect_in_memory(server, http_client().websocket("ws://x/").write_high_water(300_000))
            (accepted,) = server.connections
            accepted.pause_reading()
            assert connection.send(bytes(200_000)).done()
            waiting = connection.send(bytes(200_000))
            await turns(10)
            assert not waiting.done()
            assert connection.buffered_amount > 300_000
            accepted.resume_reading()
            await waiting
            await connection.flush()
            assert connection.buffered_amount == 0
            await connection.close()
        await idle()

    run(main)


def test_async_callbacks_of_both_ends_run_in_order(run: Run) -> None:
    async def main() -> None:
        order: list[str] = []

        async def on_text(text: str, connection: Any) -> None:
            order.append(f"begin {text}")
            await asyncio.sleep(0)
            order.append(f"end {text}")
            await connection.send(text)

        client = Client()
        async with connect_in_memory(http_server().websocket("/echo").on_text(on_text), client.builder) as connection:
            connection.send("1")
            connection.send("2")
            assert await client.has(2) == ["1", "2"]
        assert order == ["begin 1", "end 1", "begin 2", "end 2"]
        await idle()

    run(main)


def test_both_ends_of_fifty_connections_stream_at_the_same_time(run: Run) -> None:  # F12
    async def main() -> None:
        size, count = 20_000, 20

        async def stream(connection: Any) -> None:
            for _ in range(count):
                await connection.send(bytes(size))

        got: dict[Any, int] = {}
        everything = asyncio.Event()

        def take(data: bytes, connection: Any) -> None:
            got[connection] = got.get(connection, 0) + len(data)
            if sum(got.values()) == 100 * size * count:
                everything.set()

        builder = http_client().websocket("ws://x/").on_binary(take).write_high_water(30_000).write_low_water(10_000)
        route = http_server().websocket("/").on_binary(take).write_high_water(30_000).write_low_water(10_000)
        async with listen_in_memory(route.on_open(stream)) as server:
            connections = [await connect_in_memory(server, builder) for _ in range(50)]
            await asyncio.gather(*map(stream, connections))
            async with asyncio.timeout(10):
                await everything.wait()
        assert len(got) == 100
        assert set(got.values()) == {size * count}
        await idle()

    run(main)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: connect_in_memory(1), TypeError, "server=1"),
        (lambda: connect_in_memory(echo(), "echo"), ValueError, "'echo'"),
        (lambda: connect_in_memory(echo(), 1), TypeError, "client=1"),
        (lambda: connect_in_memory(echo(), link=1), TypeError, "link=1"),
        (lambda: listen_in_memory(1), TypeError, "server=1"),
        (lambda: listen_in_memory(echo()), RuntimeError, "no running event loop"),
    ],
)
def test_a_bad_argument_is_refused_by_the_call_that_got_it(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_server_on_sockets_is_not_connected_to_in_memory(run: Run) -> None:
    async def main() -> None:
        server = Server(http_server(), asyncio.get_running_loop(), "a socket")
        with pytest.raises(TypeError, match="listens on sockets"):
            connect_in_memory(server)  # type: ignore[arg-type]
        assert "ws://in-memory/echo" in repr(connect_in_memory(echo(), "/echo"))

    run(main)


def test_wss_is_believed_and_not_encrypted(run: Run) -> None:
    async def main() -> None:
        secure: list[bool] = []
        server = http_server().websocket("/echo").on_open(lambda connection: secure.append(connection.is_secure))
        link = Link()
        seen = bytearray()
        link.to_server.change(seen.extend)
        builder = http_client().websocket("wss://example.com/echo")
        async with connect_in_memory(server, builder, link=link) as connection:
            assert connection.is_secure
        assert secure == [True]
        assert seen.startswith(b"GET /echo HTTP/1.1")
        await idle()

    run(main)


def test_frame_and_message_types_are_those_of_sockets(run: Run) -> None:
    async def main() -> None:
        got: list[Any] = []
        server = http_server().websocket("/").on_message(lambda frame, _: got.append(frame))
        async with connect_in_memory(server, "/") as connection:
            connection.send(TextFrame("x"))
        assert got == [TextFrame("x")]
        await idle()

    run(main)


async def test_http_is_answered_in_memory_too() -> None:
    class Client(asyncio.Protocol):
        def __init__(self) -> None:
            self.got = b""

        def data_received(self, data: bytes) -> None:
            self.got += data

    app = http_server().get("/", lambda request: "hello").post("/", lambda request: request.body())
    async with listen_in_memory(app) as server:
        client = Client()
        ours, _ = server.accept(Link(), client)
        ours.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        async with asyncio.timeout(5):
            while not client.got.endswith(b"abc"):  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert client.got.count(b"HTTP/1.1 200 OK") == 2
        ours.close()


async def test_the_number_of_connections_is_limited_in_memory_too() -> None:
    for limit, status in (("max_connections", 503), ("max_connections_per_address", 429)):
        server = listen_in_memory(getattr(echo(), limit)(1))
        async with server:
            async with connect_in_memory(server, Client().builder):
                with pytest.raises(HandshakeError) as caught:
                    await connect_in_memory(server, Client().builder)
                assert caught.value.status == status
            async with asyncio.timeout(5):
                while server._connections:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            async with connect_in_memory(server, Client().builder) as connection:
                assert connection.is_open
