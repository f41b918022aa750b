"""Connections in memory over links that are cut, silent, slow, or split what flows."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from fakes import turns
from hypothesis import given, settings
from hypothesis import strategies as st
from in_memory import Client, Run, echo, idle
from judge import judge
from test_transports import Ear
from wire_cases import cases

from firefly_ws import (
    HandshakeError,
    Response,
    WebSocketConnectionException,
    http_client,
    http_server,
    ws,
)
from firefly_ws.testing import Link, connect_in_memory, listen_in_memory


def test_the_link_is_cut_at_every_byte_of_the_handshake_and_of_what_follows(run: Run) -> None:
    async def main() -> None:
        whole = Link()
        client = Client()
        async with connect_in_memory(echo(), client.builder, link=whole) as connection:
            connection.send("hello")
            await client.has(1)
            asked, said = whole.to_server.passed, whole.to_client.passed
        for direction, size in (("to_server", asked), ("to_client", said)):
            # The answer to a whole request is lost in the cut; a whole answer has opened the connection.
            head = size - 10 if direction == "to_server" else size - 7
            for after in range(size):
                link = Link()
                getattr(link, direction).cut(after, reset=bool(after % 2))
                await cut_off(link, opened=after >= head)
        await idle()

    async def cut_off(link: Link, opened: bool) -> None:
        client = Client()
        try:
            connection = await connect_in_memory(echo(), client.builder, link=link)
        except HandshakeError:
            assert not opened
            return
        assert opened
        connection.send("hello")
        assert (await connection.wait_closed()).code == 1006
        assert "hello" not in client.heard

    run(main)


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_ends_with_1006_and_only_a_reset_is_an_error(run: Run, reset: bool) -> None:
    async def main() -> None:
        link, client = Link(), Client()
        await connect_in_memory(echo(), client.builder, link=link)
        link.cut(reset=reset)
        heard = await client.has(2 if reset else 1)
        assert heard[-1] == 1006
        assert [type(one) for one in heard[:-1]] == [ConnectionResetError] * reset
        await idle()

    run(main)


def test_a_client_that_reconnects_tries_until_it_is_open(run: Run) -> None:
    async def main() -> None:
        answers: list[Response | None] = [Response(503), None]
        tokens = iter(["none", "old", "new"])
        link = Link()
        link.to_client.cut(after=10)
        server = echo().on_upgrade(lambda request: answers.pop(0) if link.to_client.passed else Response(500))
        builder = http_client().websocket("ws://example.com/echo")
        builder.reconnect(base_delay=0, max_tries=3, before_try=lambda builder: builder.bearer(next(tokens)))
        async with connect_in_memory(server, builder, link=link) as connection:
            connection.send("hello")
            assert await connection.receive() == "hello"
            assert connection.request.headers["authorization"] == "Bearer new"
        assert connection.close_reason == (1000, "")

        refusing = echo().on_upgrade(lambda request: Response(503))
        trying = connect_in_memory(refusing, ws("ws://example.com/echo").reconnect(base_delay=0, max_tries=2))
        with pytest.raises(WebSocketConnectionException, match="gave up after 2 tries") as raised:
            await trying
        assert raised.value.tries == 2

    run(main)


def test_a_silent_network_ends_the_handshake_with_open_timeout(run: Run) -> None:
    async def main() -> None:
        builder = http_client().websocket("ws://example.com/echo").open_timeout(0.01)
        with pytest.raises(WebSocketConnectionException, match=r"open_timeout=0\.01"):
            await connect_in_memory(echo(), builder, link=Link().hold())
        await idle()

    run(main)


def test_a_silent_network_keeps_async_with_no_longer_than_close_timeout(run: Run) -> None:
    async def main() -> None:
        link = Link()
        async with connect_in_memory(
            echo().close_timeout(0.01), http_client().websocket("ws://x/echo").close_timeout(0.01), link=link
        ) as connection:
            link.hold()
        assert connection.close_reason.code == 1006
        await idle()

    run(main)


messages = st.lists(st.one_of(st.text(max_size=60), st.binary(max_size=200)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(messages, st.integers(1, 100), st.integers(8, 2000), st.booleans(), st.integers(0, 3))
def test_no_split_and_no_delay_changes_the_sequence_of_messages(
    sent: list[str | bytes], size: int, capacity: int, compressed: bool, delayed: int
) -> None:
    async def main() -> None:
        dice = random.Random(delayed)
        link = Link(capacity=capacity).split(size, seed=capacity)
        if delayed:
            link.delay(lambda: dice.random() / 2000)
        client = Client()
        if compressed:
            client.builder.extensions(["permessage-deflate"]).compression_threshold(0)
        async with connect_in_memory(echo(), client.builder, link=link) as connection:
            for message in sent:
                connection.send(message)
            assert await client.has(len(sent)) == sent
        assert client.heard == [*sent, 1000]

    asyncio.run(main())


CORPUS = {name: case for name, case in cases().items() if case.role == "server" and not case.options}


@pytest.mark.parametrize("seed", range(4))
def test_the_wire_cases_come_out_the_same_whatever_the_cuts(run: Run, seed: int) -> None:
    """A raw client behind the real handshake; what the server hears is what the corpus says."""

    async def main() -> None:
        chosen = random.Random(seed).sample(sorted(CORPUS), 60)
        for name in chosen:
            case = CORPUS[name]
            heard: list[Any] = []
            server = (
                http_server()
                .websocket("/")
                .on_text(lambda text, _, heard=heard: heard.append(("text", text)))
                .on_binary(lambda data, _, heard=heard: heard.append(("binary", data)))
                .on_ping(lambda data, _, heard=heard: heard.append(("ping", data)))
                .on_pong(lambda data, _, heard=heard: heard.append(("pong", data)))
                .on_close(lambda connection, _, heard=heard: heard.append(end_of(connection)))
            )
            async with listen_in_memory(server) as listening:
                raw = Ear()
                link = Link()
                link.to_server.split(97, seed=seed)
                listening.accept(link, raw)
                await turns()
                raw.transport.write(REQUEST + case.data)
                raw.transport.write_eof()
                async with asyncio.timeout(5):
                    while "lost" not in raw.heard:  # noqa: ASYNC110
                        await asyncio.sleep(0)
            assert [event for event in heard if event is not None] == case.events, name
            answer, _, frames = raw.got.partition(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101")
            judge(frames, "client")

    run(main)


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def end_of(connection: Any) -> Any:
    """The corpus's last event: a Close, a broken rule, or neither."""
    if connection.close_received is not None:
        code, reason = connection.close_received
        return "close", None if code == 1005 else code, reason
    return None if connection.error is None else ("error", connection.error.code)
