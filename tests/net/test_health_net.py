"""The health page over sockets: beside what else is served, and while the server drains and closes."""

from __future__ import annotations

import asyncio
import json

from http_support import answer, request
from support import nothing_leaks, raw_client, soon, url_of  # noqa: F401

from firefly_ws import http_client, http_server


async def test_a_server_is_well_until_it_drains() -> None:
    app = http_server().health().health("/ready", checks={"db": lambda: asyncio.sleep(0)}).websocket("/").discard()
    async with (
        app.listen("127.0.0.1", 0) as server,
        raw_client(server.port) as peer,
        http_client().websocket(url_of(server)).connect(),
    ):
        peer.send(request(path="/healthz"))
        got = await answer(peer)
        assert (got.status, got.body) == (200, b'{"status":"ok"}')
        assert got.headers["cache-control"] == "no-store"
        peer.send(request("HEAD", "/ready"))
        got = await answer(peer, "HEAD")
        assert (got.status, got.body) == (200, b"")
        peer.send(request(path="/ready", accept="text/plain"))
        assert (await answer(peer)).body == b"ok\ndb: ok\n"
        server.drain()
        peer.send(request(path="/ready"))
        got = await answer(peer)
        assert (got.status, json.loads(got.body)) == (503, {"status": "draining"})


async def test_a_check_still_under_way_when_its_server_closes_is_answered_or_ended() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def check() -> None:
        begun.set()
        await go_on.wait()

    async with http_server().health(checks=[check]).listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
        peer.send(request(path="/healthz"))
        await soon(begun.wait())
        closing = server.close()
        go_on.set()
        assert (await answer(peer)).status == 200
        await soon(closing)


async def test_two_servers_of_one_builder_tell_each_of_itself() -> None:
    app = http_server().health()
    async with (
        app.listen("127.0.0.1", 0) as one,
        app.listen("127.0.0.1", 0) as other,
        raw_client(one.port) as first,
        raw_client(other.port) as second,
    ):
        for drain, status in ((False, 200), (True, 503)):
            if drain:
                one.drain()
            for peer, expected in ((first, status), (second, 200)):
                peer.send(request(path="/healthz"))
                assert (await answer(peer)).status == expected
