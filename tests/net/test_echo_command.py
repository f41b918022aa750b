"""`firefly-ws echo` as a user starts it, in a process of its own, and clients that speak bytes."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
from hashlib import sha256

import pytest
from command import Command, Echo, echoing
from http_support import answer, request
from script import both_signals, once
from support import (
    BINARY,
    CLOSE,
    TEXT,
    RawPeer,
    close_frame,
    frame,
    nothing_leaks,  # noqa: F401
    raw_client,
    upgrade,
)

from firefly_ws import echo as echo_module
from firefly_ws import http_client

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


async def connected(peer: RawPeer, **fields: str) -> dict[str, str]:
    peer.send(upgrade(**fields))
    head = await peer.head()
    assert head.status == 101
    return head.headers


@once
async def test_text_and_binary_come_back_and_fragments_as_one() -> None:  # W2
    with echoing() as echo:
        assert echo.said == [
            f"echo page    http://127.0.0.1:{echo.port}/",
            f"websocket    ws://127.0.0.1:{echo.port}/",
            "Ctrl-C ends it",
        ]
        async with raw_client(echo.port) as peer:
            await connected(peer)
            for opcode, payload in ((TEXT, "ä€😀".encode()), (BINARY, bytes(range(256))), (TEXT, b""), (BINARY, b"")):
                peer.send(frame(opcode, payload))
                assert await peer.frame() == (0x80 | opcode, payload)
            peer.send(frame(TEXT, "one ", fin=False), frame(0, "two"))
            assert await peer.frame() == (0x80 | TEXT, b"one two")
            peer.send(close_frame(1000))
            assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe8")
        assert echo.stop() == (0, "", "")


@once
async def test_the_page_is_on_the_same_port_and_holds_all_it_needs() -> None:  # W2, W3
    with echoing() as echo:
        async with raw_client(echo.port) as peer:
            peer.send(request())
            page = await answer(peer)
            assert page.status == 200
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert "default-src 'none'" in page.headers["content-security-policy"]
            for text in ("Location", "Connect", "Disconnect", "Rock it with HTML5 WebSocket", "Send", "Clear log"):
                assert text in page.body.decode()
        assert echo.stop() == (0, "", "")


@once
async def test_every_origin_may_connect_and_the_first_subprotocol_is_taken() -> None:  # W2
    with echoing() as echo:
        for origin in ("https://elsewhere.example", "null"):
            async with raw_client(echo.port) as peer:
                headers = await connected(peer, origin=origin, sec_websocket_protocol="chat, soap")
                assert headers["sec-websocket-protocol"] == "chat"
        async with raw_client(echo.port) as peer:
            assert "sec-websocket-protocol" not in await connected(peer)


@once
async def test_a_message_as_large_as_allowed_comes_back() -> None:
    limit = echo_module.MESSAGE_LIMIT
    with echoing() as echo:
        client = http_client().websocket(echo.url).max_message_size(limit).max_write_buffer(2 * limit)
        async with client.connect() as connection:
            for _ in range(2):
                await connection.send(b"x" * limit)
            for _ in range(2):
                assert len(await connection.receive()) == limit


@both_signals
@once
async def test_a_signal_ends_it_with_0_and_its_connections_with_1001(number: int) -> None:  # W2
    with echoing() as echo:
        async with raw_client(echo.port) as peer:
            await connected(peer)
            echo.process.send_signal(number)
            assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe9")
            peer.send(close_frame(1001))
            assert await peer.rest() == b""
        assert echo.end() == (0, "", "")


def test_a_port_that_is_taken_is_one_line_and_1() -> None:  # W2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said, errors = Command("echo", "--port", f"{port}").end()
    assert (code, said) == (1, "")
    assert errors == (
        f"firefly-ws: cannot listen on 127.0.0.1:{port}: Address already in use; --port 0 takes any free one\n"
    )


@once
async def test_tls_makes_a_certificate_that_a_client_can_trust() -> None:  # W2
    with echoing("--tls") as echo:
        assert echo.page == f"https://127.0.0.1:{echo.port}/"
        assert echo.url == f"wss://127.0.0.1:{echo.port}/"
        pem = ssl.get_server_certificate(("127.0.0.1", echo.port))
        fingerprint = next(line.split()[-1] for line in echo.said if line.startswith("certificate"))
        assert fingerprint.replace(":", "").lower() == sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        context = ssl.create_default_context(cadata=pem)
        for name in ("127.0.0.1", "localhost"):
            async with raw_client(echo.port, ssl=context, server_hostname=name) as peer:
                await connected(peer)
                peer.send(frame(TEXT, "secret"))
                assert await peer.frame() == (0x80 | TEXT, b"secret")
        assert echo.stop() == (0, "", "")


def test_on_every_address_it_says_so_and_gives_one_that_can_be_opened() -> None:
    echo = Echo("--host", "0.0.0.0")
    assert echo.stop(signal.SIGINT) == (0, "", "")
    assert echo.said[0] == f"echo page    http://localhost:{echo.port}/"
    assert "listening on every address of this machine" in echo.said
