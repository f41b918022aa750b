"""`StaticFiles` asked without a connection: which names are plain, which part of a file is meant, what is not sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from every import for_each

from firefly_ws import Request, Response
from firefly_ws.http.headers import Headers
from firefly_ws.http.static import PIECE, StaticFiles

# 2 s behind a minute of 2020, so that its date in a header is known.
CHANGED = 1577836862
DATE = "Wed, 01 Jan 2020 00:01:02 GMT"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("SECRET")
    root = tmp_path / "root"
    for name, content in (("index.html", b"home"), ("ten.txt", b"0123456789"), ("sub/x.tar.gz", b"x"), (".env", b"S")):
        (root / name).write_bytes(content)
        os.utime(root / name, (CHANGED, CHANGED))
    (root / "out").symlink_to(tmp_path / "secret")
    return root


async def ask(root: Path, target: str, method: str = "GET", **fields: str) -> Response:
    headers = Headers({name.replace("_", "-"): value for name, value in fields.items()})
    return await StaticFiles("/files", root)(Request(method, target, headers))


async def test_a_directory_must_exist(root: Path) -> None:
    for path in (root / "none", root / "ten.txt"):
        with pytest.raises(ValueError, match="must be an existing directory") as caught:
            StaticFiles("/", path)
        assert str(path) in str(caught.value)


async def test_a_short_file_is_answered_whole_with_its_validators(root: Path) -> None:
    got = await ask(root, "/files/ten.txt")
    assert (got.status, got.body, got.content_type) == (200, b"0123456789", "text/plain; charset=utf-8")
    assert got.headers["last-modified"] == DATE
    assert got.headers["etag"] == f'"{CHANGED * 10**9:x}-a"'
    assert (await ask(root, "/files/")).body == b"home"
    assert (await ask(root, "/files/sub/x.tar.gz")).content_type == "application/gzip"


async def test_a_long_file_is_a_stream_of_pieces(root: Path) -> None:
    content = os.urandom(PIECE * 2 + 5)
    (root / "long").write_bytes(content)
    got = await ask(root, "/files/long", range="bytes=3-")
    assert got.stream is not None
    pieces = [piece async for piece in got.stream]
    assert [len(piece) for piece in pieces] == [PIECE, PIECE, 2]
    assert b"".join(pieces) == content[3:]
    assert got.content_length == len(content) - 3


@for_each(
    "name",
    ["..", "../secret", "%2e%2e/secret", "%2E./secret", "..%2fsecret", "..%5csecret", "sub/../../secret", "out", ".env",
     "%2eenv", "%00", "ten.txt%00", "%ff", "//ten.txt", "sub//x.tar.gz", "ten.txt/", "none", "sub/", "sub/.",
     "%252e%252e/secret", "%2fetc%2fpasswd", "x" * 300],
)  # fmt: skip
async def test_what_is_no_plain_name_of_a_file_below_is_404(root: Path, name: str) -> None:
    got = await ask(root, "/files/" + name)
    assert got.status == 404
    assert b"SECRET" not in got.body


@for_each(
    ("asked", "status", "body"),
    [
        ("bytes=0-0", 206, b"0"), ("bytes=2-4", 206, b"234"), ("bytes=8-", 206, b"89"), ("bytes=-3", 206, b"789"),
        ("bytes=0-99", 206, b"0123456789"), ("bytes=-99", 206, b"0123456789"), ("bytes=9-9", 206, b"9"),
        ("bytes=10-", 416, None), ("bytes=-0", 416, None),
        # RFC 9110 §14.2: a server may pass over the field, as it must what it does not understand.
        ("bytes=0-1,4-5", 200, b"0123456789"), ("bytes=5-2", 200, b"0123456789"), ("bytes=-", 200, b"0123456789"),
        ("lines=0-1", 200, b"0123456789"), ("bytes=a-", 200, b"0123456789"), ("", 200, b"0123456789"),
    ],
)  # fmt: skip
async def test_a_range_is_a_part_and_several_are_the_whole(
    root: Path, asked: str, status: int, body: bytes | None
) -> None:
    got = await ask(root, "/files/ten.txt", range=asked)
    assert got.status == status
    assert body is None or got.body == body
    assert ("content-range" in got.headers) == (status != 200)
    assert (await ask(root, "/files/ten.txt", "HEAD", range=asked)).status == 200


@for_each(
    ("field", "value", "status"),
    [
        ("if_none_match", '"x", W/{tag}', 304), ("if_none_match", "*", 304), ("if_none_match", '"x"', 200),
        ("if_modified_since", DATE, 304), ("if_modified_since", "Wed, 01 Jan 2020 00:01:01 GMT", 200),
        ("if_modified_since", "yesterday", 200), ("if_modified_since", "Wed, 99 Jan 2020 00:01:02 GMT", 200),
        ("if_range", "{tag}", 206), ("if_range", DATE, 206), ("if_range", '"x"', 200), ("if_range", "W/{tag}", 200),
    ],
)  # fmt: skip
async def test_conditions_are_held_against_tag_and_date(root: Path, field: str, value: str, status: int) -> None:
    tag = (await ask(root, "/files/ten.txt")).headers["etag"]
    fields = {field: value.format(tag=tag)} | ({"range": "bytes=0-0"} if field == "if_range" else {})
    got = await ask(root, "/files/ten.txt", **fields)
    assert got.status == status
    assert got.headers["etag"] == tag
