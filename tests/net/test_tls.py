"""TLS, both ends: certificates verified by default, names, authorities, contexts of the user's, and mixed-up ports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import resource
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, Issued
from support import (
    Inbox,
    RawPeer,
    echo,
    eventually,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    raw_server,
    soon,
    switching,
    upgrade,
    url_of,
)

from firefly_ws import HttpConfig, Server, WebSocketConnectionException, client_builder, http_client, http_server, wss
from firefly_ws import server as servers
from firefly_ws._core.listening import _starving
from firefly_ws._core.poll import available
from firefly_ws.seldom import seldom


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Issued:
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture(autouse=True)
def system_authorities(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default context as a machine has it: it verifies, and knows none of our authorities."""
    monkeypatch.setattr(client_builder, "_context", None)


async def listening(secure: Any, key: Any = None, **config: Any) -> Server:
    route = http_server(HttpConfig(**config)).secure(secure, key).websocket("/").on_message(echo)
    server: Server = await route.listen("127.0.0.1", 0)
    return server


async def answers(url: str, context: ssl.SSLContext) -> bool:
    inbox = Inbox()
    async with http_client().websocket(url).ssl(context).on_text(inbox).connect() as connection:
        assert connection.is_secure
        assert connection.url == url
        connection.send("there?")
        return bool(await inbox.next() == "there?")


async def refusal(server: Server, context: ssl.SSLContext | None, host: str = "127.0.0.1") -> Any:
    """Why a client refuses, or is refused by, *server*; nothing is logged that was raised."""
    client = http_client().websocket(url_of(server, scheme="wss", host=host)).discard()
    if context is not None:
        client.ssl(context)
    with logged() as records, pytest.raises(WebSocketConnectionException) as raised:
        await soon(client.connect())
    assert not records
    assert f"wss://{host}:{server.port}/" in str(raised.value)
    await eventually(lambda: server.stats()["handshaking"] == 0)
    await server.close()
    return raised.value


# --- what works


async def test_a_server_from_pem_files_and_a_client_that_trusts_its_authority(  # K3
    authority: Authority, ours: Issued
) -> None:
    async with await listening(ours.certificate, ours.key) as server:
        assert await answers(url_of(server, scheme="wss"), authority.client_context())
        assert await answers(url_of(server, scheme="wss", host="localhost"), authority.client_context())


async def test_a_server_from_a_context(authority: Authority, ours: Issued) -> None:
    async with await listening(ours.server_context()) as server:
        assert await answers(url_of(server, scheme="wss"), authority.client_context())


async def test_contexts_may_be_defaults_of_server_and_client(authority: Authority, ours: Issued) -> None:
    inbox = Inbox()
    app = http_server(HttpConfig(ssl=ours.server_context()))
    app.websocket("/").on_accept(lambda connection: inbox((connection.is_secure, connection.url)))
    client = http_client(HttpConfig(ssl=authority.client_context()))
    async with app.listen("127.0.0.1", 0) as server:
        async with client.wss("127.0.0.1", server.port, "/").discard().connect() as connection:
            assert connection.is_secure
        assert await inbox.next() == (True, url_of(server, scheme="wss"))


@pytest.mark.parametrize("make", [wss, http_client().wss])
async def test_wss_is_a_short_form_with_tls(  # C3
    make: Callable[..., Any], authority: Authority, ours: Issued
) -> None:
    context = authority.client_context()
    async with await listening(ours.server_context()) as server:
        async with make("127.0.0.1", server.port, "/").ssl(context).discard().connect() as connection:
            assert connection.url == url_of(server, scheme="wss")
        async with make(url_of(server, scheme="wss")).ssl(context).discard() as connection:
            assert connection.is_secure


async def test_the_server_is_told_the_name_it_is_asked_for(authority: Authority, ours: Issued) -> None:
    names: list[str | None] = []
    context = ours.server_context()
    context.sni_callback = lambda sock, name, own: names.append(name)
    async with await listening(context) as server:
        assert await answers(url_of(server, scheme="wss", host="localhost"), authority.client_context())
    assert names == ["localhost"]


async def test_a_context_may_switch_verification_off(ours: Issued) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with await listening(ours.server_context()) as server:
        assert await answers(url_of(server, scheme="wss"), context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_messages_of_every_size_over_each_version(  # K3, K4
    authority: Authority, ours: Issued, version: ssl.TLSVersion
) -> None:
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    inbox = Inbox()
    async with await listening(ours.server_context()) as server:
        client = http_client().websocket(url_of(server, scheme="wss")).ssl(context)
        async with client.on_binary(inbox).connect() as connection:
            sizes = [0, 1, 125, 126, 16383, 16384, 65535, 65536, 2**20]
            for size in sizes:
                connection.send(b"x" * size)
            assert [len(data) for data in await inbox.take(len(sizes))] == sizes


async def test_frames_behind_the_handshake_in_one_tls_record(authority: Authority, ours: Issued) -> None:
    tls = {"ssl": authority.client_context(), "server_hostname": "127.0.0.1"}
    async with await listening(ours.server_context()) as server, raw_client(server.port, **tls) as peer:
        peer.send(upgrade(), frame(1, "hello"))
        assert (await peer.head()).status == 101
        assert await peer.frame() == (0x81, b"hello")

    async def accept(peer: RawPeer) -> None:
        _, fields = await peer.request()
        peer.send(switching(fields["sec-websocket-key"]), frame(1, "hello", mask=None))
        await peer.frame()

    inbox = Inbox()
    async with raw_server(accept, ssl=ours.server_context()) as port:
        client = http_client().wss("127.0.0.1", port).ssl(authority.client_context())
        async with client.on_text(inbox).connect():
            assert await inbox.next() == "hello"


async def test_a_client_certificate_may_be_asked_for(authority: Authority, ours: Issued) -> None:
    context = ours.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.pem)
    known = authority.client_context()
    mine = authority.issue("ada")
    known.load_cert_chain(mine.certificate, mine.key)
    server = await listening(context)
    assert await answers(url_of(server, scheme="wss"), known)
    with pytest.raises(WebSocketConnectionException):
        await soon(answers(url_of(server, scheme="wss"), authority.client_context()))
    await server.close()


# --- what is refused


async def test_an_authority_that_is_not_known_is_refused_by_default(ours: Issued) -> None:
    error = await refusal(await listening(ours.server_context()), None)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert "the certificate is not valid for 127.0.0.1" in str(error)
    assert "unable to get local issuer certificate" in str(error)
    assert ".ssl(context)" in str(error)


async def test_a_certificate_of_another_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    theirs = Authority(tmp_path, "another authority").issue("127.0.0.1")
    error = await refusal(await listening(theirs.server_context()), authority.client_context())
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    other = authority.issue("example.com")
    for host in ("127.0.0.1", "localhost"):
        error = await refusal(await listening(other.server_context()), authority.client_context(), host)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
        assert "mismatch" in str(error)
        assert host in str(error)


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    expired = authority.issue("127.0.0.1", expired=True)
    error = await refusal(await listening(expired.server_context()), authority.client_context())
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert "expired" in str(error)


async def test_versions_that_do_not_meet_are_told(authority: Authority, ours: Issued) -> None:
    old = ours.server_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    new = authority.client_context()
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    error = await refusal(await listening(old), new)
    # OpenSSL's alert or a reset, as the server's loop has it.
    assert isinstance(error.__cause__, OSError)
    assert re.search("TLS failed: .+", str(error))


# --- mixed up, slow, or gone


async def test_a_tls_client_at_a_plain_server_is_told(authority: Authority) -> None:
    server = await http_server().websocket("/").on_message(echo).listen("127.0.0.1", 0)
    error = await refusal(server, authority.client_context())
    assert isinstance(error.__cause__, OSError)
    assert "TLS failed" in str(error)


async def test_a_plain_client_at_a_tls_server_is_told_and_the_server_goes_on(
    authority: Authority, ours: Issued
) -> None:
    async with await listening(ours.server_context()) as server:
        with pytest.raises(WebSocketConnectionException, match=url_of(server)):
            await soon(http_client().websocket(url_of(server)).discard().connect())
        assert await answers(url_of(server, scheme="wss"), authority.client_context())


async def test_a_tls_handshake_that_does_not_go_on_ends_with_open_timeout(ours: Issued) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    async with await listening(ours.server_context(), open_timeout=0.1) as server:
        # In silence, behind a whole hello, and a byte now and then.
        for begin, dribble in ((b"", b""), (hello, b""), (b"", hello)):
            async with raw_client(server.port) as peer:
                peer.send(begin)
                sent = 0
                for byte in dribble:
                    peer.send(bytes((byte,)))
                    sent += 1
                    await asyncio.sleep(0.005)
                    if peer.reader.at_eof() or peer.reader.exception() is not None:
                        break
                assert sent < len(hello)
                with contextlib.suppress(ConnectionResetError):
                    await peer.rest()


async def test_a_tls_handshake_that_ends_behind_the_servers_close_is_not_served(
    authority: Authority, ours: Issued
) -> None:
    server = await listening(ours.server_context())
    async with raw_client(server.port) as peer:
        await asyncio.sleep(0.02)
        await soon(server.close())
        with contextlib.suppress(OSError):
            await soon(peer.writer.start_tls(authority.client_context(), server_hostname="127.0.0.1"))
            peer.send(upgrade())
            assert await peer.rest() == b""


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_client_gives_up_a_tls_handshake_that_does_not_go_on(how: str) -> None:
    came = asyncio.Event()

    async def silent(peer: RawPeer) -> None:
        came.set()
        await peer.rest()

    async with raw_server(silent) as port:
        client = http_client().wss("127.0.0.1", port).discard().open_timeout(0.1 if how == "timeout" else 5)
        connecting = asyncio.ensure_future(client.connect())
        await soon(came.wait())
        if how == "cancel":
            await asyncio.sleep(0.02)
            connecting.cancel()
        with pytest.raises((WebSocketConnectionException, asyncio.CancelledError)) as raised:
            await soon(connecting)
        assert ("open_timeout=0.1" in str(raised.value)) == (how == "timeout")


async def test_a_peer_that_ends_tcp_without_a_word_gives_1006(authority: Authority, ours: Issued) -> None:
    closes = Inbox()
    app = http_server().secure(ours.server_context())
    app.websocket("/").on_close(lambda connection, reason: closes(reason.code))
    async with app.listen("127.0.0.1", 0) as server:
        async with raw_client(server.port, ssl=authority.client_context(), server_hostname="127.0.0.1") as peer:
            peer.send(upgrade())
            assert (await peer.head()).status == 101
            peer.writer.transport.abort()
        assert await closes.next() == 1006


async def test_the_close_handshake_is_whole_over_tls(authority: Authority, ours: Issued) -> None:
    closes = Inbox()
    app = http_server().secure(ours.server_context())
    app.websocket("/").on_close(lambda connection, reason: closes(reason))
    async with app.listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server, scheme="wss")).ssl(authority.client_context()).discard()
        connection = await client.connect()
        assert await soon(connection.close(3001, "client")) == (3001, "client")
        assert await closes.next() == (3001, "client")
        connection = await client.connect()
        (theirs,) = server.connections
        assert await soon(theirs.close(3002, "server")) == (3002, "server")
        assert await soon(connection.wait_closed()) == (3002, "server")


@pytest.mark.skipif(not available(), reason="the loop's own listening")
async def test_out_of_descriptors_a_server_with_tls_waits_and_goes_on(authority: Authority, ours: Issued) -> None:
    # The loops' own accepting ends whoever comes (uvloop), or tries and logs as often as its backlog is long (asyncio).
    _starving._last.clear()
    tls = authority.client_context()
    clients = [socket.socket() for _ in range(5)]
    async with await listening(ours.server_context()) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
        kept: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:  # holes below the limit
                    kept.append(os.open("/dev/null", os.O_RDONLY))
            with logged() as records, logged("asyncio") as of_the_loop:
                for client in clients:
                    client.connect(("127.0.0.1", server.port))  # the system's queue takes them all
                    client.setblocking(False)
                await eventually(lambda: records)
                await asyncio.sleep(0.02)
                assert len(records) == 1
                assert not of_the_loop
            assert "as many open files as it may" in records[0].getMessage()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in kept:
                os.close(descriptor)
        for client in clients:
            peer = RawPeer(*await soon(asyncio.open_connection(sock=client, ssl=tls, server_hostname="127.0.0.1")))
            peer.send(upgrade())
            assert (await peer.head()).status == 101
            await peer.close()


@pytest.mark.skipif(not available(), reason="the loop's own listening")
async def test_a_tls_handshake_that_fails_is_one_line_that_says_who_and_why_and_is_counted(  # K3
    authority: Authority, ours: Issued
) -> None:
    server = await listening(ours.server_context(), open_timeout=0.1)
    logger = logging.getLogger("firefly_ws")
    level, expected = logger.level, 0
    logger.setLevel(logging.INFO)
    try:
        for bytes_, why in (
            (b"GET / HTTP/1.1\r\n\r\n", "HTTP_REQUEST|WRONG_VERSION|http request"),
            (b"", r"not done within open_timeout=0\.1 s; \.open_timeout\(seconds\) allows more"),
            (None, "ended"),
        ):
            seldom._last.clear()
            with logged(level=logging.INFO) as records:
                async with raw_client(server.port) as peer:
                    if bytes_ is not None:
                        peer.send(bytes_)
                        with contextlib.suppress(ConnectionError):
                            await peer.rest()
                expected += 1
                await eventually(lambda: records)
            (line,) = [record.getMessage() for record in records]
            assert re.search(rf"^TLS's handshake with \('127\.0\.0\.1', \d+\) failed: .*({why})", line), line
            assert server.stats()["tls_failed"] == expected
    finally:
        logger.setLevel(level)
    assert await answers(url_of(server, scheme="wss"), authority.client_context())
    assert server.stats()["tls_failed"] == expected
    await server.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_last_answer_that_is_read_slowly_is_not_cut_off_by_the_farewell_of_tls(  # F11
    authority: Authority, ours: Issued, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    """The loops give an answer and TLS's farewell 30 s together from ``close()``: who read for longer lost its end."""
    of_the_loop = servers._tls
    monkeypatch.setattr(servers, "_tls", lambda *how: {**of_the_loop(*how), "ssl_shutdown_timeout": 0.1})
    body = b"0123456789abcdef" * 800_000

    async def pieces() -> Any:
        yield body[:1_000_000]
        yield body[1_000_000:]

    def reads_late(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            authority.client_context().wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            time.sleep(0.3)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    app = http_server().secure(ours.server_context()).get("/", lambda _: pieces() if streamed else body)
    async with app.listen("127.0.0.1", 0) as server:
        got = await soon(asyncio.to_thread(reads_late, server.port))
    assert got.endswith(b"\r\n0\r\n\r\n" if streamed else body[-1000:])
    assert got.count(body[:16]) == len(body) // 16


async def test_over_tls_a_client_that_takes_nothing_of_its_answer_is_dropped_behind_timeout(
    authority: Authority, ours: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    """As without TLS, which shows less of what waits below it."""
    caplog.set_level(logging.INFO, "firefly_ws")
    seldom._last.clear()
    app = http_server().secure(ours.server_context()).timeout(0.1).get("/", lambda _: bytes(12_000_000))
    tls = {"ssl": authority.client_context(), "server_hostname": "127.0.0.1"}
    async with app.listen("127.0.0.1", 0) as server, raw_client(server.port, limit=1000, **tls) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: "took nothing of its answer for timeout=0.1 s" in caplog.text)
        peer.writer.transport.abort()
