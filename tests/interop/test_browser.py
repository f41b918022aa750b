"""Chromium's own WebSocket client at our server, over ws and wss; its DevTools server with our client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from certificates import Issued
from chromium import Chromium, Page
from support import (
    Inbox,
    echo,
    nothing_leaks,  # noqa: F401
    soon,
)

from firefly_ws import CloseReason, PerMessageDeflate, Server, WebSocketConnection, http_server
from firefly_ws.seldom import seldom

pytestmark = pytest.mark.peers

Serve = Callable[..., Any]
ELSEWHERE = "http://elsewhere.example"
REFUSED = "const next = events(new WebSocket(url)); return [await next(), await next()]"
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 2**20]


@pytest.fixture(params=["ws", "wss"])
def serve(request: pytest.FixtureRequest, certificate: Issued) -> Serve:
    """Serve a route at "/" with options by name; gives the server and its URL. Any page may connect."""

    @asynccontextmanager
    async def one(**options: Any) -> AsyncIterator[tuple[Server, str]]:
        app = http_server()
        if request.param == "wss":
            app.secure(certificate.server_context())
        route = app.websocket("/")
        for name, value in {"origins": "*", **options}.items():
            if value is not None:
                getattr(route, name)(value)
        async with route.listen("127.0.0.1", 0) as server:
            yield server, f"{request.param}://127.0.0.1:{server.port}/"

    return one


@pytest.fixture
async def page(chromium: Chromium, nothing_leaks: None) -> AsyncIterator[Page]:  # noqa: F811
    """An empty page of another site."""
    async with chromium.page(ELSEWHERE) as opened:
        yield opened


async def test_text_and_binary_of_every_size_come_back(page: Page, serve: Serve) -> None:  # F5, K2, K3, K4
    async with serve(on_message=echo, max_message_size=2**22) as (_, url):
        code = """
            const socket = new WebSocket(url), next = events(socket);
            await next();
            for (const size of sizes) {
                const text = 'ä€😀'.slice(0, size % 3) + 'a'.repeat(size);
                socket.send(text);
                const [kind, data] = await next();
                if (kind !== 'text' || data !== text) return `text of ${size}: ${kind}, ${data.length}`;
                const bytes = new Uint8Array(size).map((_, i) => i * 7);
                for (const form of [bytes, bytes.buffer, new Blob([bytes])]) {
                    socket.send(form);
                    const [kind, data] = await next();
                    const same = new Uint8Array(data).every((byte, i) => byte === bytes[i]);
                    if (kind !== 'binary' || data.byteLength !== size || !same) return `binary of ${size}: ${kind}`;
                }
            }
            socket.close();
            return await next();
        """
        assert await page.run(code, url=url, sizes=SIZES) == ["close", 1005, "", True]


@pytest.mark.parametrize("extensions", [[], [PerMessageDeflate(threshold=0)]], ids=["plain", "deflate"])
async def test_our_fragments_are_one_message(page: Page, serve: Serve, extensions: list[Any]) -> None:  # K2, K4
    async def push(connection: WebSocketConnection) -> None:
        await connection.send_stream(["a", "", "ä", "b" * 70000])

    async with serve(on_accept_async=push, extensions=extensions) as (_, url):
        code = "const next = events(new WebSocket(url)); await next(); return await next()"
        assert await page.run(code, url=url) == ["text", "aä" + "b" * 70000]


@pytest.mark.parametrize("takeover", [False, True])
async def test_compression_is_agreed_and_used(page: Page, serve: Serve, takeover: bool) -> None:  # K2
    deflate = PerMessageDeflate(context_takeover=takeover, threshold=0)
    accepted = Inbox()
    async with serve(on_message=echo, extensions=[deflate], on_accept=accepted) as (_, url):
        code = """
            const socket = new WebSocket(url), next = events(socket), got = [await next()];
            for (let i = 0; i < 100; i++) socket.send(`message ${i}, ` + 'a'.repeat(1000));
            for (let i = 0; i < 100; i++) got.push(await next());
            return got;
        """
        (_, _, extensions), *messages = await page.run(code, url=url)
        assert extensions.startswith("permessage-deflate")
        assert ("server_no_context_takeover" in extensions) != takeover
        assert messages == [["text", f"message {number}, " + "a" * 1000] for number in range(100)]
        connection: WebSocketConnection = await accepted.next()
        assert connection.bytes_read < 10000
        assert connection.bytes_written < 10000


async def test_without_extensions_of_ours_there_are_none(page: Page, serve: Serve) -> None:  # K2
    async with serve(on_message=echo, extensions=[]) as (_, url):
        code = "const socket = new WebSocket(url), next = events(socket); return await next()"
        assert await page.run(code, url=url) == ["open", "", ""]


@pytest.mark.parametrize("code", [1000, 3000, 4999])
async def test_the_pages_close_reaches_us(page: Page, serve: Serve, code: int) -> None:  # K2
    closes = Inbox()
    async with serve(on_close=lambda connection, reason: closes(reason)) as (_, url):
        script = """
            const socket = new WebSocket(url), next = events(socket);
            await next();
            socket.close(number, 'warum nicht? ä');
            return await next();
        """
        assert await page.run(script, url=url, number=code) == ["close", code, "warum nicht? ä", True]
        assert await closes.next() == CloseReason(code, "warum nicht? ä")


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 1012, 3000, 4999])
async def test_our_close_reaches_the_page(page: Page, serve: Serve, code: int) -> None:  # K2
    accepted = Inbox()
    async with serve(on_accept=accepted) as (_, url):
        script = """
            globalThis.socket = new WebSocket(url);
            globalThis.next = events(socket);
            await next();
        """
        await page.run(script, url=url)
        connection: WebSocketConnection = await accepted.next()
        reason = CloseReason(code, "warum nicht? ä")
        assert await soon(connection.close(reason)) == reason
        assert await page.run("return await next()") == ["close", code, "warum nicht? ä", True]


async def test_a_page_that_goes_away_says_1001(page: Page, serve: Serve) -> None:  # K2
    closes = Inbox()
    async with serve(on_close=lambda connection, reason: closes(reason)) as (_, url):
        await page.run("globalThis.socket = new WebSocket(url); await events(socket)()", url=url)
        await page.open(ELSEWHERE)
        assert (await closes.next()).code == 1001


async def test_a_connection_cut_by_us_is_1006_in_the_page(page: Page, serve: Serve) -> None:  # K2
    async with serve(on_accept=lambda connection: connection.terminate()) as (_, url):
        code = """
            const next = events(new WebSocket(url));
            while (true) {
                const event = await next();
                if (event[0] === 'close') return event;
            }
        """
        assert await page.run(code, url=url) == ["close", 1006, "", False]


async def test_fifty_sockets_of_one_page_each_get_their_own(page: Page, serve: Serve) -> None:  # K2
    async with serve(on_message=echo) as (server, url):
        code = """
            const one = async number => {
                const socket = new WebSocket(url), next = events(socket), got = [];
                await next();
                for (let i = 0; i < 20; i++) socket.send(`${number}.${i}`);
                for (let i = 0; i < 20; i++) got.push(await next());
                globalThis.all = [...globalThis.all || [], socket];
                return got.every(([kind, data], i) => data === `${number}.${i}`);
            };
            return await Promise.all([...Array(50).keys()].map(one));
        """
        assert await page.run(code, url=url) == [True] * 50
        assert len(server.connections) == 50


async def test_the_page_is_told_the_sub_protocol(page: Page, serve: Serve) -> None:  # F8, K2
    async with serve(sub_protocols=["chat", "soap"]) as (_, url):
        code = """
            const open = protocols => events(new WebSocket(url, protocols))();
            return [await open(['x', 'soap']), await open(['soap', 'chat']), await open([])];
        """
        soap, chat, none = await page.run(code, url=url)
        assert (soap[:2], chat[:2], none[:2]) == (["open", "soap"], ["open", "soap"], ["open", ""])


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the log says of requests: all of it, not a line a second."""
    caplog.set_level(logging.INFO, "firefly_ws")
    monkeypatch.setattr(seldom, "_seconds", 0.0)
    return caplog


async def test_a_page_of_another_origin_is_refused(  # K2
    page: Page, serve: Serve, refusals: pytest.LogCaptureFixture
) -> None:
    for allowed in (None, "https://example.com"):
        async with serve(origins=allowed) as (server, url):
            assert await page.run(REFUSED, url=url) == [["error"], ["close", 1006, "", False]]
            (record,) = refusals.records
            assert f"origin '{ELSEWHERE}' is not allowed" in record.getMessage()
            assert ".origins(" in record.getMessage()
            assert not server.connections
            refusals.clear()
    async with serve(origins=ELSEWHERE) as (_, url):
        assert (await page.run("return await events(new WebSocket(url))()", url=url))[0] == "open"


async def test_a_page_of_the_servers_own_host_is_taken(page: Page, serve: Serve) -> None:  # K2
    async with serve(origins=None) as (_, url):
        await page.open(url.replace("ws", "http", 1))
        assert (await page.run("return await events(new WebSocket(url))()", url=url))[0] == "open"


async def test_a_document_without_an_origin_is_refused(  # K2
    page: Page, serve: Serve, refusals: pytest.LogCaptureFixture
) -> None:
    await page.open("data:text/html,<!doctype html><title>nobody's</title>")
    async with serve(origins=None) as (_, url):
        assert await page.run(REFUSED, url=url) == [["error"], ["close", 1006, "", False]]
        assert "origin 'null' is not allowed" in refusals.text


async def test_the_server_pushes_to_one_page_and_to_all(chromium: Chromium, serve: Serve) -> None:  # W5, K2
    accepted = Inbox()
    async with (
        serve(on_accept=accepted) as (server, url),
        chromium.page(ELSEWHERE) as one,
        chromium.page(ELSEWHERE) as other,
    ):
        connected = "globalThis.next = events(new WebSocket(url)); return (await next())[0]"
        assert await one.run(connected, url=url) == "open"
        first: WebSocketConnection = await accepted.next()
        assert await other.run(connected, url=url) == "open"
        first.send("for you alone")
        for connection in server.connections:
            connection.send("maintenance at noon")
        push = ["text", "maintenance at noon"]
        both = "return [await next(), await next()]"
        assert await one.run(both) == [["text", "for you alone"], push]
        assert await other.run("return await next()") == push
        await server.close(1001, "shutting down for maintenance")
        ended = ["close", 1001, "shutting down for maintenance", True]
        assert await asyncio.gather(*(page.run("return await next()") for page in (one, other))) == [ended, ended]


async def test_both_stream_at_the_same_time(page: Page, serve: Serve) -> None:  # F12, K2
    count, size = 200, 20000
    inbox = Inbox()

    async def push(connection: WebSocketConnection) -> None:
        for number in range(count):
            await connection.send(bytes([number]) * size)

    async with serve(on_accept_async=push, on_binary=inbox) as (_, url):
        code = """
            const socket = new WebSocket(url), next = events(socket), got = [];
            await next();
            for (let i = 0; i < count; i++) socket.send(new Uint8Array(size).fill(i));
            for (let i = 0; i < count; i++) got.push(new Uint8Array((await next())[1])[0]);
            return got;
        """
        assert await page.run(code, url=url, count=count, size=size) == list(range(count))
        assert [data[0] for data in await inbox.take(count)] == list(range(count))
