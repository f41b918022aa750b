"""Extensions over sockets, our client at our server: alone, in chains, with parameters, over ws and wss."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from support import (
    Inbox,
    echo,
    nothing_leaks,  # noqa: F401
    url_of,
)

from firefly_ws import DeflateFrame, Fragment, Frame, http_client, http_server

CHAINS: list[list[str]] = [
    [],
    ["permessage-deflate"],
    ["deflate-frame"],
    ["x-webkit-deflate-frame"],
    ["fragment;maxLength=20"],
    ["identity"],
    ["identity", "permessage-deflate"],
    ["fragment;maxLength=20", "identity", "permessage-deflate"],
    ["permessage-deflate", "fragment;maxLength=20"],
]
HUNDRED: list[str | bytes] = [
    f"message {number}: " + "ä€😀 " * number if number % 2 else bytes((number,)) * number * 37 for number in range(100)
]


def names(extensions: list[str]) -> list[str]:
    return [text.partition(";")[0] for text in extensions]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("extensions", CHAINS, ids=",".join)
async def test_a_hundred_messages_each_way_in_order_through_every_chain(
    extensions: list[str], scheme: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:  # F7, F12, K3
    at_server, at_client, frames = Inbox(), Inbox(), list[Frame]()

    def push(connection: Any) -> None:
        for message in HUNDRED:
            connection.send(message)

    app = http_server()
    client = http_client().websocket("ws://127.0.0.1/")
    if scheme == "wss":
        app.secure(contexts[0])
    route = app.websocket("/").extensions(extensions).compression_threshold(10)
    route.on_open(push).on_text(at_server).on_binary(at_server)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server, scheme=scheme)).extensions(extensions)
        client.compression_threshold(10).on_text(at_client).on_binary(at_client)
        client.on_frame(lambda frame, connection: frames.append(frame))
        if scheme == "wss":
            client.ssl(contexts[1])
        async with client.connect() as connection:
            push(connection)
            assert await at_server.take(100) == HUNDRED
            assert await at_client.take(100) == HUNDRED
            assert [one.name for one in connection.extensions] == names(extensions)
            ours, theirs = connection.extensions, next(iter(server.connections)).extensions
            assert [str(one) for one in ours] == [str(one) for one in theirs]
    if "fragment;maxLength=20" in extensions:
        assert "maxLength=20" in ", ".join(map(str, ours))
        assert len(frames) > 150
        if extensions[0] != "fragment;maxLength=20" or len(extensions) == 1:
            assert max(len(one) for one in frames) == 20
    else:
        assert len(frames) == 100
    assert any(one.rsv1 for one in frames) == any("deflate" in name for name in extensions)


async def agreed(server_extensions: list[Any], client_extensions: list[Any]) -> list[str]:
    """What a handshake ends with; a message goes there and back."""
    inbox = Inbox()
    route = http_server().websocket("/").extensions(server_extensions).on_message(echo)
    async with route.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server)).extensions(client_extensions).on_text(inbox)
        async with client.connect() as connection:
            connection.send("hello " * 100)
            assert await inbox.next() == "hello " * 100
            return [str(one) for one in connection.extensions]


@pytest.mark.parametrize(
    ("at_server", "at_client", "ends_with"),
    [
        (["fragment;maxLength=20"], ["fragment"], ["fragment; maxLength=20"]),
        (["fragment"], ["fragment;maxLength=20"], ["fragment; maxLength=20"]),
        (["fragment;maxLength=30"], ["fragment;maxLength=20"], ["fragment; maxLength=20"]),
        (["fragment;maxLength=20"], [Fragment(30)], ["fragment; maxLength=20"]),
        (["fragment"], ["fragment"], ["fragment"]),
        (["deflate-frame"], ["deflate-frame;max_window_bits=10"], ["deflate-frame; max_window_bits=10"]),
        (["deflate-frame;no_context_takeover"], ["deflate-frame"], ["deflate-frame; no_context_takeover"]),
        ([DeflateFrame(max_window_bits=9)], ["deflate-frame"], ["deflate-frame; max_window_bits=9"]),
        # The client's order is the chain's.
        (["permessage-deflate", "identity"], ["identity", "permessage-deflate"], ["identity", "permessage-deflate"]),
        # Two that claim RSV1 are alternatives: the client's first stays.
        (["permessage-deflate", "deflate-frame"], ["deflate-frame", "permessage-deflate"], ["deflate-frame"]),
        (["permessage-deflate", "deflate-frame"], ["permessage-deflate", "deflate-frame"], ["permessage-deflate"]),
        (["deflate-frame"], ["permessage-deflate", "deflate-frame"], ["deflate-frame"]),
    ],
)  # fmt: skip
async def test_what_both_ends_agree_on(at_server: list[Any], at_client: list[Any], ends_with: list[str]) -> None:  # F7
    got = await agreed(at_server, at_client)
    assert [one.partition("; server_no")[0] for one in got] == ends_with
