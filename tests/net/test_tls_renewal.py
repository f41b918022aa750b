"""A server's certificate is changed while it runs: new handshakes have the new one, open connections stay."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from certificates import Authority
from support import echo, nothing_leaks, soon, url_of  # noqa: F401

from firefly_ws import Server, WebSocketConnection, http_client, http_server


async def shown(server: Server, context: ssl.SSLContext) -> bytes:
    """The certificate of a new handshake."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


async def echoes(connection: WebSocketConnection) -> bool:
    connection.send("there?")
    return bool(await soon(connection.receive()) == "there?")


async def test_a_new_certificate_is_taken_without_a_restart(tmp_path: Path) -> None:  # K3
    authority = Authority(tmp_path)
    first, second = (authority.issue("localhost", "127.0.0.1") for _ in range(2))
    context, trusting = first.server_context(), authority.client_context()
    async with http_server().secure(context).websocket("/").on_message(echo).listen("127.0.0.1", 0) as server:
        client = http_client().websocket(url_of(server, scheme="wss")).ssl(trusting)
        async with client.connect() as before:
            old = await shown(server, trusting)
            context.load_cert_chain(second.certificate, second.key)
            new = await shown(server, trusting)
            assert [ssl.DER_cert_to_PEM_cert(one).split() for one in (old, new)] == [
                issued.certificate.read_text().split() for issued in (first, second)
            ]
            async with client.connect() as behind:
                assert await echoes(before)
                assert await echoes(behind)


async def test_files_that_do_not_fit_are_found_before_they_spoil_the_context_in_use(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first, second = (authority.issue("localhost", "127.0.0.1") for _ in range(2))
    context, trusting = first.server_context(), authority.client_context()
    async with http_server().secure(context).websocket("/").on_message(echo).listen("127.0.0.1", 0) as server:
        with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(second.certificate, first.key)
        client = http_client().websocket(url_of(server, scheme="wss")).ssl(trusting)
        async with client.connect() as connection:
            assert await echoes(connection)
