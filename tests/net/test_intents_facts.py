"""What is known about a connection and how it is reached: facts, URLs, ports, versions, both schemes."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from peers import text
from support import raw_client, upgrade

from firefly_ws import WebSocketConnectionException, http_client, http_server


async def test_both_ends_know_id_url_addresses_and_each_other(net: Any) -> None:  # F10, F6
    server = await net.listen(net.route().discard())
    builder = net.builder(server)
    connection = await builder.connect()
    (accepted,) = server.connections
    scheme = "wss" if net.secure else "ws"
    assert connection.id != accepted.id
    assert connection.url == accepted.url == f"{scheme}://127.0.0.1:{server.port}/"
    assert (connection.path, accepted.path) == ("/", "/")
    assert connection.remote_address == accepted.local_address == ("127.0.0.1", server.port)
    assert connection.local_address == accepted.remote_address
    assert connection.is_secure is accepted.is_secure is net.secure
    assert (connection.server, accepted.server) == (None, server)
    assert connection.client is not None
    assert accepted.client is None
    assert (connection.masking, accepted.masking) == (True, False)  # S1
    await connection.close()


async def test_times_follow_what_happens_and_bytes_are_counted_as_on_the_wire(net: Any) -> None:  # F10
    server = await net.listen(net.route().on_text(lambda data, connection: connection.send(data)))
    got = asyncio.Event()
    connection = await net.connect(server, lambda builder: builder.extensions([]).on_text(lambda *_: got.set()))
    (accepted,) = server.connections
    for one in (connection, accepted):
        assert (one.close_time, one.last_read, one.last_write) == (None, None, None)
    before = accepted.bytes_read
    connection.send("x" * 100)
    await got.wait()
    # A head of 2 bytes, and the client's mask of 4.
    assert accepted.bytes_read - before == connection.bytes_written == 106
    assert connection.bytes_read == accepted.bytes_written == 102
    await connection.close()
    opened, ended, read, written = connection._times()
    assert 0 < opened <= written <= read <= ended
    # Shown as seconds since the epoch; the two clocks are read one behind the other, on a machine that may be busy.
    for shown in (connection.open_time, connection.last_write, connection.last_read, connection.close_time):
        assert shown == pytest.approx(time.time(), abs=60)
    # What has been does not move, whenever it is asked for.
    assert len({(connection.open_time, connection.last_read, connection.close_time) for _ in range(100)}) == 1
    assert connection.stats["messages_sent"] == connection.stats["messages_received"] == 1


async def test_attributes_belong_to_one_connection(net: Any) -> None:  # F10
    def count(data: str, connection: Any) -> None:
        connection.attributes["seen"] = connection.attributes.get("seen", 0) + 1
        connection.send(str(connection.attributes["seen"]))

    server = await net.listen(net.route().on_text(count))
    one, two = await net.peer(server), await net.peer(server)
    one.write(text("a"), text("b"), text("c"))
    assert await one.texts(3) == ["1", "2", "3"]
    two.write(text("a"))
    assert await two.texts(1) == ["1"]


@pytest.mark.parametrize(
    ("path", "query", "seen"),
    [
        ("/", "", "/"),
        ("/a%20b", "", "/a b"),
        ("/gr%C3%BC%C3%9Fe", "", "/grüße"),
        ("/a", "?x=1&y=%26", "/a"),
        ("", "?x=1", "/"),
        ("/semi;colon,comma=x", "", "/semi;colon,comma=x"),
    ],
)
async def test_urls_of_the_generic_syntax_reach_the_server_as_written(
    plain: Any, path: str, query: str, seen: str
) -> None:  # F6
    asked: list[Any] = []
    app = http_server().on_upgrade(lambda request: asked.append(request))
    server = await plain.listen(app.websocket("/*").discard())
    connection = await http_client().websocket(f"ws://127.0.0.1:{server.port}{path}{query}").connect()
    assert asked[0].path == connection.path == seen
    assert asked[0].target == (path or "/") + query
    await connection.close()


@pytest.mark.parametrize("url", ["ws://h/#part", "wss://h/a?b#", "http://h/", "https://h/", "ws:///x", "//h/"])
def test_a_fragment_or_another_scheme_is_refused_before_connecting(url: str) -> None:  # F6
    with pytest.raises(ValueError, match=r"ws|host"):
        http_client().websocket(url).connect()


async def test_without_a_port_both_ends_take_80_and_443(net: Any, certificate: Path) -> None:  # W6, C3, K3
    """At an address of this process alone, as far as it may use these ports."""
    host = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.7"
    try:
        server = await net.route().discard().listen(host)
    except WebSocketConnectionException as error:
        pytest.skip(str(error))
    net.servers.append(server)
    assert server.port == (443 if net.secure else 80)
    if net.secure:
        context = ssl.create_default_context(cafile=str(certificate))
        context.check_hostname = False
        builders = [http_client().websocket(f"wss://{host}/").ssl(context), http_client().wss(host).ssl(context)]
    else:
        builders = [http_client().websocket(f"ws://{host}/"), http_client().ws(host)]
    for builder in builders:
        connection = await builder.connect()
        assert connection.request.headers["host"] == host
        await connection.close()


@pytest.mark.parametrize("version", ["12", "14", "8", "0", "", "13, 8", "thirteen"])
async def test_a_version_other_than_13_gets_426_that_names_13(net: Any, version: str) -> None:  # K1
    server = await net.listen(net.route().discard())
    options = {} if net.server_context is None else {"ssl": net.client_context, "server_hostname": "127.0.0.1"}
    async with raw_client(server.port, **options) as peer:
        peer.send(upgrade(sec_websocket_version=version))
        answer = await peer.head()
        assert answer.status == 426
        assert answer.headers["sec-websocket-version"] == "13"
        assert answer.headers["upgrade"] == "websocket"


async def test_the_client_asks_for_version_13(plain: Any) -> None:  # K1
    seen: list[str] = []
    app = http_server().on_upgrade(lambda request: seen.append(request.headers["sec-websocket-version"]))
    connection = await plain.connect(await plain.listen(app.websocket("/").discard()))
    await connection.close()
    assert seen == ["13"]
