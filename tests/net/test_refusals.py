"""What a refusal says: to the peer which rule or limit, and to our log what came and the option that changes it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from http_support import request
from support import (
    echo,
    eventually,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    upgrade,
)

from firefly_ws import HttpConfig, Request, http_server
from firefly_ws.seldom import seldom


@pytest.fixture(autouse=True)
def _informed() -> Iterator[None]:
    logger = logging.getLogger("firefly_ws")
    level = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(level)


async def body(request: Request) -> bytes:
    return await request.body()


async def never(request: Request) -> None:
    await asyncio.sleep(60)


LATE = HttpConfig(open_timeout=0.05)

# The server's config, whether on_upgrade decides, what is sent; the status, what the peer and what the log is told.
CASES: dict[str, tuple[HttpConfig, bool, bytes, int, str, str]] = {
    "nothing comes": (
        LATE, False, b"", 408, "the request did not arrive within open_timeout=0.05 s",
        r"within open_timeout=0\.05 s, but nothing; \.open_timeout\(seconds\) sets it",
    ),
    "half a head": (
        LATE, False, b"GET / HTTP/1.1\r\n", 408, "within open_timeout=0.05 s",
        r"within open_timeout=0\.05 s, but 16 bytes of its head; \.open_timeout\(seconds\) sets it",
    ),
    "no decision": (
        LATE, True, upgrade(), 408, "nothing was decided within open_timeout=0.05 s",
        r"within open_timeout=0\.05 s, by on_upgrade, a selector or the application; \.open_timeout\(seconds\) sets it",
    ),
    "half of a second head": (
        LATE, False, request() + b"GET /", 408, "within open_timeout=0.05 s",
        r"within open_timeout=0\.05 s, but 5 bytes of its head; \.open_timeout\(seconds\) sets it",
    ),
    "a long head": (
        HttpConfig(max_header_size=200), False, upgrade(x="x" * 200), 431, "max_header_size=200",
        r"max_header_size=200 bytes; raise it with \.max_header_size\(bytes\)",
    ),
    "many fields": (
        HttpConfig(max_header_count=3), False, upgrade(), 431, "max_header_count=3",
        r"max_header_count=3 fields; raise it with \.max_header_count\(number\)",
    ),
    "a long body": (
        HttpConfig(max_body_size=5), False, request("POST", "/", b"123456"), 413, "max_body_size=5",
        r"at least 6 bytes is longer than max_body_size=5; raise it with \.max_body_size\(bytes\)",
    ),
    "a long body in chunks": (
        HttpConfig(max_body_size=5), False, request("POST", "/", b"9\r\n", transfer_encoding="chunked"), 413,
        "max_body_size=5", r"at least 9 bytes is longer than max_body_size=5",
    ),
    "an odd chunk": (
        HttpConfig(), False, request("POST", "/", b"x1\r\n", transfer_encoding="chunked"), 400, "hexadecimal",
        r"must be a hexadecimal number, not 'x1'",
    ),
    "an odd length": (
        HttpConfig(), False, request("POST", "/", content_length="+5"), 400, "Content-Length", "in Content-Length",
    ),
    "an odd coding": (
        HttpConfig(), False, request("POST", "/", transfer_encoding="gzip, chunked"), 501, "chunked is the only",
        r"not 'gzip, chunked'",
    ),
    "an odd expectation": (
        HttpConfig(), False, request("POST", "/", b"1", expect="wonders"), 417, "100-continue", r"not 'wonders'",
    ),
    "TLS": (
        HttpConfig(), False, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed request line",
        r"request line '\\x16': TLS, at a port without it",
    ),
    "a token": (
        HttpConfig(), False, b"GET /?token=secret\r\n\r\n", 400, "malformed", r"malformed",
    ),
    "an odd version": (
        HttpConfig(), False, upgrade(version="1.7"), 505, "only HTTP/1.1", r"only HTTP/1\.1 is served",
    ),
    "an odd host": (
        HttpConfig(), False, upgrade(host="a b"), 400, "no host and port", r"no host and port: 'a b'",
    ),
    "nothing is there": (
        HttpConfig(), False, upgrade("/x"), 404, "no websocket at /x",
        r"nothing is at '/x'; \.websocket\(path\) serves",
    ),
    "another origin": (
        HttpConfig(), False, upgrade(origin="https://b.example"), 403, "'https://b.example'",
        r"\.origins\(\.\.\.\) sets",
    ),
    "a proxy that passes on half": (
        HttpConfig(), False, upgrade(connection="close"), 400, "without Connection: Upgrade",
        r"which a proxy has to pass on; Connection is 'close'",
    ),
    "a short key": (
        HttpConfig(), False, upgrade(sec_websocket_key="eA=="), 400, "16 bytes in base64", r"in base64, not 'eA=='",
    ),
    "an old version": (
        HttpConfig(), False, upgrade(sec_websocket_version="8"), 426, "version '8' is unknown", r"only 13 is served",
    ),
    "a list that is none": (
        HttpConfig(), False, upgrade(sec_websocket_protocol="a, a"), 400, "different tokens", r"not 'a, a'",
    ),
}  # fmt: skip


async def test_each_refusal_tells_the_peer_the_rule_and_the_log_what_came_and_the_option() -> None:
    for name, (config, hooked, data, status, told, line) in CASES.items():
        seldom._last.clear()
        app = http_server(config).get("/", lambda _: "page").post("/", body)
        if hooked:
            app.on_upgrade(never)
        app.websocket("/").on_message(echo)
        records: list[Any]
        async with app.listen("127.0.0.1", 0) as server, raw_client(server.port) as peer:
            with logged(level=logging.INFO) as records:
                peer.send(data)
                answer = (await peer.rest()).decode()
                await eventually(lambda records=records: records)
        assert f"HTTP/1.1 {status} " in answer, name
        assert told in answer, (name, answer)
        lines = [record.getMessage() for record in records]
        assert len(lines) == 1, (name, lines)
        assert re.search(rf"^refused .* from \('127\.0\.0\.1', \d+\): {status}, .*{line}", lines[0]), (name, lines)
        assert ".open_timeout(" not in answer, name
        assert "secret" not in lines[0], name
