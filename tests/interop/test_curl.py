"""curl at our server: HTTP as it is spoken by what everybody has."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import echo, nothing_leaks  # noqa: F401

from firefly_ws import Request, Server, http_server

pytestmark = pytest.mark.peers

FILE = bytes(range(256)) * 4000


class Curl:
    """Runs curl below the server's address; gives what it wrote to stdout. Where it *must* succeed, it does."""

    def __init__(self, server: Server, command: str, protocols: bytes) -> None:
        self._server, self._command, self.protocols = server, command, protocols

    async def __call__(
        self, path: str, *arguments: str, given: bytes = b"", scheme: str = "http", must: bool = True
    ) -> bytes:
        process = await asyncio.create_subprocess_exec(
            self._command, "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *arguments,
            f"{scheme}://127.0.0.1:{self._server.port}{path}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, complaint = await process.communicate(given)
        assert process.returncode == 0 or not must, complaint.decode()
        return out


@pytest.fixture
async def curl(nothing_leaks: None, tmp_path: Path) -> AsyncIterator[Curl]:  # noqa: F811
    command = shutil.which("curl")
    if command is None:
        pytest.skip("curl is not installed")
    about = await asyncio.create_subprocess_exec(command, "--version", stdout=asyncio.subprocess.PIPE)
    protocols, _ = await about.communicate()
    (tmp_path / "file.bin").write_bytes(FILE)

    async def upload(request: Request) -> dict[str, object]:
        body = b"".join([piece async for piece in request.stream()])
        return {"size": len(body), "same": body == FILE, "length": request.headers.get("content-length")}

    async def ticks(request: Request) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"
            await asyncio.sleep(0)

    app = (
        http_server()
        .get("/", lambda request: "home\n")
        .get("/ticks", ticks)
        .post("/upload", upload, max_body_size=2**24)
        .static("/files", tmp_path)
        .websocket("/chat")
        .on_accept(lambda connection: connection.send("hello"))
        .on_message(echo)
    )
    async with app.listen("127.0.0.1", 0) as server:
        yield Curl(server, command, protocols)


async def test_a_page_and_its_head(curl: Curl) -> None:  # F11, W1
    assert await curl("/") == b"home\n"
    head = (await curl("/", "--head")).decode().lower()
    assert head.startswith("http/1.1 200 ok\r\n")
    assert "content-length: 5\r\n" in head
    assert await curl("/nowhere", "--write-out", "%{http_code}", "--output", "/dev/null") == b"404"


async def test_several_requests_share_a_connection(curl: Curl) -> None:
    out = await curl("/[1-3]", "--output", "/dev/null", "--write-out", "%{num_connects} ")
    assert out == b"1 0 0 "


async def test_http_1_0_is_answered_and_closed(curl: Curl) -> None:
    assert await curl("/", "--http1.0") == b"home\n"
    head = (await curl("/ticks", "--http1.0", "--include")).decode().lower()
    assert "transfer-encoding" not in head
    assert head.endswith("\r\n\r\n0\n1\n2\n")


async def test_a_plain_get_of_a_websocket_is_told_to_upgrade(curl: Curl) -> None:  # W1
    said = (await curl("/chat", "--include")).decode().lower()
    assert said.startswith("http/1.1 426 ")
    assert "\r\nupgrade: websocket\r\n" in said


async def test_an_upload_waits_for_100_continue(curl: Curl, tmp_path: Path) -> None:
    file = f"@{tmp_path / 'file.bin'}"
    trace = tmp_path / "trace"
    out = await curl(
        "/upload", "--data-binary", file, "-H", "Expect: 100-continue", "--expect100-timeout", "15",
        "--trace-ascii", str(trace),
    )  # fmt: skip
    assert out == b'{"size":%d,"same":true,"length":"%d"}' % (len(FILE), len(FILE))
    assert "HTTP/1.1 100 Continue" in trace.read_text()


async def test_an_upload_in_chunks(curl: Curl) -> None:
    arguments = ("--request", "POST", "--upload-file", "-", "-H", "Expect:")
    assert await curl("/upload", *arguments, given=FILE) == b'{"size":%d,"same":true,"length":null}' % len(FILE)


async def test_an_answer_in_pieces(curl: Curl) -> None:
    said = await curl("/ticks", "--include")
    assert b"transfer-encoding: chunked" in said.lower()
    assert said.endswith(b"0\n1\n2\n")


async def test_a_file_whole_and_its_parts(curl: Curl, tmp_path: Path) -> None:
    assert await curl("/files/file.bin") == FILE
    assert await curl("/files/file.bin", "--range", "100-199") == FILE[100:200]
    assert await curl("/files/file.bin", "--range", "-7") == FILE[-7:]
    begun = tmp_path / "begun"
    begun.write_bytes(FILE[:500_000])
    await curl("/files/file.bin", "--continue-at", "-", "--output", str(begun))
    assert begun.read_bytes() == FILE
    kept = str(tmp_path / "etag")
    await curl("/files/file.bin", "--etag-save", kept, "--output", "/dev/null")
    again = ("--etag-compare", kept, "--write-out", "%{http_code}", "--output", "/dev/null")
    assert await curl("/files/file.bin", *again) == b"304"


async def test_curl_speaks_websocket_where_it_can(curl: Curl) -> None:
    if b" ws" not in curl.protocols:
        pytest.skip("this curl was built without ws")
    # It reads until its time is over, which is its own kind of failure.
    assert b"hello" in await curl("/chat", "--max-time", "2", scheme="ws", must=False)
