"""Files over HTTP: what lies below the directory, in whole, in part or not again; and nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from every import for_each
from http_support import answer, request, serving
from support import (
    nothing_leaks,  # noqa: F401
    raw_client,
)

from firefly_ws import http_server

BIG = bytes(range(256)) * 8000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "index.html").write_text("<p>home")
    (root / "sub" / "index.html").write_text("<p>sub")
    (root / "a b.txt").write_text("ä")
    (root / "none").write_bytes(b"")
    (root / "big.bin").write_bytes(BIG)
    (root / ".env").write_text("SECRET")
    (root / "inside").symlink_to("sub")
    (root / "outside").symlink_to(tmp_path)
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("SECRET")
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "x.txt").write_text("SECRET")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
async def client(root: Path, nothing_leaks: None) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811
    app = http_server().static("/files", root).get("/files/own", lambda _: "own")
    async with (
        app.listen("127.0.0.1", 0) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        yield client


@for_each(
    ("path", "body", "kind"),
    [
        ("/files/", b"<p>home", "text/html; charset=utf-8"),
        ("/files/index.html", b"<p>home", "text/html; charset=utf-8"),
        ("/files/sub/", b"<p>sub", "text/html; charset=utf-8"),
        ("/files/inside/", b"<p>sub", "text/html; charset=utf-8"),
        ("/files/a%20b.txt", "ä".encode(), "text/plain; charset=utf-8"),
        ("/files/none", b"", "application/octet-stream"),
        ("/files/big.bin", BIG, "application/octet-stream"),
        ("/files/own", b"own", "text/plain; charset=utf-8"),
    ],
)
async def test_a_file_comes_with_its_type(client: httpx.AsyncClient, path: str, body: bytes, kind: str) -> None:
    got = await client.get(path)
    assert (got.status_code, got.content) == (200, body)
    assert got.headers.get("content-type", kind) == kind
    assert (await client.head(path)).headers["content-length"] == f"{len(body)}"
    assert (await client.post(path)).status_code == 405


async def test_a_directory_without_its_slash_is_redirected(client: httpx.AsyncClient) -> None:
    for path in ("/files", "/files/sub"):
        got = await client.get(path)
        assert (got.status_code, got.headers["location"]) == (301, path + "/")
    assert (await client.get("/files/sub?a=b")).headers["location"] == "/files/sub/?a=b"
    assert (await client.get("/files/empty/")).status_code == 404
    assert (await client.get("/files/index.html/")).status_code == 404


@for_each(
    "path",
    [
        "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "%2E%2E%2Fsecret.txt", ".%2e/secret.txt",
        "sub/../../secret.txt", "sub/..%2f..%2fsecret.txt", "./../secret.txt", "..\\secret.txt", "..%5csecret.txt",
        "%252e%252e/secret.txt", "..%00/secret.txt", "%c0%ae%c0%ae/secret.txt", "..;/secret.txt", "//etc/passwd",
        "/etc/passwd", "%2fetc%2fpasswd", "../root-too/x.txt", "link.txt", "outside/secret.txt", "outside/", ".env",
        "%2eenv", "sub/.", "sub/..", "index.html%00.txt", "pipe", "x" * 5000, "a/" * 2000, "C:/x", "~/x", "/",
    ],
)  # fmt: skip
async def test_nothing_outside_of_the_directory_is_reached(root: Path, path: str) -> None:
    async with serving(lambda app: app.static("/files", root)) as (_, peer):
        peer.send(request(path="/files/" + path))
        got = await answer(peer)
        assert got.status == 404
        assert b"SECRET" not in got.body


async def test_what_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, root: Path) -> None:
    path = "/files/big.bin"
    first = await client.get(path)
    tag, date = first.headers["etag"], first.headers["last-modified"]
    for headers in ({"If-None-Match": tag}, {"If-None-Match": f'"x", W/{tag}'}, {"If-None-Match": "*"},
                    {"If-Modified-Since": date}):  # fmt: skip
        got = await client.get(path, headers=headers)
        assert (got.status_code, got.content, got.headers["etag"]) == (304, b"", tag)
    for headers in ({"If-None-Match": '"x"', "If-Modified-Since": date}, {"If-Modified-Since": "nonsense"},
                    {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}):  # fmt: skip
        assert (await client.get(path, headers=headers)).status_code == 200
    (root / "big.bin").write_bytes(b"new")
    assert (await client.get(path, headers={"If-None-Match": tag})).content == b"new"


@for_each(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=100-", 100, len(BIG)), ("bytes=-7", len(BIG) - 7, len(BIG)),
        ("bytes=0-99999999999", 0, len(BIG)), ("bytes=-99999999999", 0, len(BIG)), ("bytes=10-600000", 10, 600001),
    ],
)  # fmt: skip
async def test_a_part_is_sent_where_asked(client: httpx.AsyncClient, asked: str, start: int, end: int) -> None:
    got = await client.get("/files/big.bin", headers={"Range": asked})
    assert (got.status_code, got.content) == (206, BIG[start:end])
    assert got.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BIG)}"


async def test_a_part_that_is_not_there_gets_416_and_what_is_no_range_the_whole(client: httpx.AsyncClient) -> None:
    path = "/files/big.bin"
    for asked in (f"bytes={len(BIG)}-", "bytes=-0"):
        got = await client.get(path, headers={"Range": asked})
        assert (got.status_code, got.headers["content-range"]) == (416, f"bytes */{len(BIG)}")
    for asked in ("bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=a-b", "bytes=" + "9" * 30 + "-"):
        assert (await client.get(path, headers={"Range": asked})).status_code == 200
    tag = (await client.head(path)).headers["etag"]
    for condition, status in ((tag, 206), ('"other"', 200)):
        got = await client.get(path, headers={"Range": "bytes=0-1", "If-Range": condition})
        assert got.status_code == status


async def test_a_long_file_is_sent_as_it_is_read_and_closed_when_the_client_goes(tmp_path: Path) -> None:
    (tmp_path / "long").touch()
    os.truncate(tmp_path / "long", 3_000_000_000)
    before = len(os.listdir("/proc/self/fd"))
    async with serving(lambda app: app.static("/", tmp_path)) as (server, _), raw_client(server.port) as peer:
        peer.send(request(path="/long"))
        assert (await peer.head()).headers["content-length"] == "3000000000"
        for _ in range(100):
            await peer.reader.readexactly(100_000)
        peer.writer.transport.abort()
    assert len(os.listdir("/proc/self/fd")) <= before + 8  # the loop's own


async def test_the_root_may_be_served_beside_routes_and_websockets(root: Path) -> None:
    async with serving(lambda app: app.static("/", root).get("/api", lambda _: "api").websocket("/ws").discard()) as (
        _, peer,
    ):  # fmt: skip
        for path, body in (("/", b"<p>home"), ("/sub/", b"<p>sub"), ("/api", b"api")):
            peer.send(request(path=path))
            assert (await answer(peer)).body == body
        peer.send(request(path="//evil.example/.."), request(path="//evil.example"))
        for _ in range(2):
            got = await answer(peer)
            assert (got.status, "location" in got.headers) == (404, False)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be an existing directory"):
        http_server().static("/", tmp_path / "none")
    with pytest.raises(TypeError, match="directory=5"):
        http_server().static("/", 5)  # type: ignore[arg-type]
