"""Files below a directory as answers; knows paths, types, validators and ranges, and nothing of connections.

The path is taken apart as sent: a segment is decoded once and must be a plain name, so no
spelling of ``..`` or ``/`` reaches the file system. Links are followed as long as they stay
below the directory. Files are opened and read in the loop's executor.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from email.utils import formatdate, parsedate_to_datetime
from mimetypes import MimeTypes
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from .answers import error_page
from .headers import split_list
from .request import Request
from .response import Response

__all__ = ["StaticFiles"]

PIECE = 262144
"""Bytes read at a time: what one download keeps in memory. A file up to this is read with its opening."""

_types = MimeTypes()  # the table of the language, not of the machine
for _suffix, _kind in ((".mjs", "text/javascript"), (".js", "text/javascript"), (".wasm", "application/wasm"),
                       (".webp", "image/webp"), (".woff2", "font/woff2"), (".md", "text/markdown")):  # fmt: skip
    _types.add_type(_kind, _suffix)
_range = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})").fullmatch
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EISDIR, errno.EINVAL)


class StaticFiles:
    """A handler for what lies below *directory*, asked for below *prefix*.

    Raises ``ValueError`` where it is no directory.
    """

    def __init__(self, prefix: str, directory: str | os.PathLike[str], index: str = "index.html") -> None:
        self._skip = len(prefix.rstrip("/")) + 1
        self._root = os.path.realpath(os.fspath(directory))
        self._index = index
        if not os.path.isdir(self._root):
            raise ValueError(f"directory={os.fspath(directory)!r} must be an existing directory")

    async def __call__(self, request: Request) -> Response:
        """The file's answer, or 404."""
        names = _names(request.raw_path[self._skip :])
        if names is None:
            return error_page(request, 404, f"nothing is at {request.path}")
        return await asyncio.get_running_loop().run_in_executor(None, self._answer, request, names)

    def _answer(self, request: Request, names: list[str]) -> Response:
        """In a thread: look for the file, and open it if it is to be sent."""
        path = os.path.join(self._root, *names)
        try:
            if os.path.isdir(path):
                if not request.raw_path.endswith("/"):
                    # A page's relative links hang on the slash.
                    query = "?" + request.query_string if "?" in request.target else ""
                    return Response.redirect(quote(request.raw_path, safe="/%") + "/" + query, 301)
                path = os.path.join(path, self._index)
            elif names and request.raw_path.endswith("/"):
                raise FileNotFoundError(errno.ENOENT, "a file is no directory", path)
            real = os.path.realpath(path)
            if not real.startswith(os.path.join(self._root, "")):
                raise FileNotFoundError(errno.ENOENT, "outside of the directory", path)
            # A pipe must not hold the thread until somebody writes to it.
            file = _File(os.open(real, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)))
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return error_page(request, 404, f"nothing is at {request.path}")
        facts = os.fstat(file.fd)
        if not stat.S_ISREG(facts.st_mode):
            return error_page(request, 404, f"nothing is at {request.path}")
        return _answer(request, file, facts, path)


def _names(rest: str) -> list[str] | None:
    """The path's segments, decoded; ``None`` where one is no plain name of a file that may be seen."""
    names = []
    segments = rest.split("/")
    if segments[-1] == "":
        segments.pop()
    for segment in segments:
        try:
            name = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            return None
        if not name or any(mark in name for mark in "/\\\0") or (os.name == "nt" and ":" in name):
            return None
        if name[0] == "." and name != ".well-known":
            return None  # "..", and .git, .env and their like
        names.append(name)
    return names


def _answer(request: Request, file: _File, facts: os.stat_result, path: str) -> Response:
    """The whole file, a part of it, or that it has not changed (RFC 9110 §13, §14)."""
    tag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    changed = int(facts.st_mtime)
    headers = [
        ("ETag", tag),
        ("Last-Modified", formatdate(changed, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if _is_known(request, tag, changed):
        return Response(304, headers=headers)
    size = facts.st_size
    start, end, status = 0, size, 200
    wanted = request.headers.get("range")
    if wanted is not None and request.method == "GET" and _is_same(request, tag, changed):
        found = _range(wanted.replace(" ", ""))
        # What we do not understand, and several ranges at once, may be answered with the whole.
        if found and (found[1] or found[2]):
            if found[1]:
                start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
                understood = not found[2] or int(found[2]) >= start
            else:
                start, end, understood = max(0, size - int(found[2])), size, True
            if not understood:
                start, end = 0, size
            elif start >= size:
                answer = error_page(request, 416, f"the file has {size} bytes", [("Content-Range", f"bytes */{size}")])
                return answer
            else:
                status = 206
                headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
    length = end - start
    if length <= PIECE:
        body = b"" if request.method == "HEAD" and length == 0 else os.pread(file.fd, length, start)
        if len(body) == length:
            return Response(status, body, headers, _type(path))
    file.begin(start, length)
    return Response(status, file, headers, _type(path), content_length=length)


def _type(path: str) -> str:
    kind, coding = _types.guess_type(path)
    if coding is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            coding, "application/octet-stream"
        )
    if kind is None:
        return "application/octet-stream"
    return kind + "; charset=utf-8" if kind.startswith("text/") or kind.endswith(("json", "+xml")) else kind


def _is_known(request: Request, tag: str, changed: int) -> bool:
    """Whether the client has it already."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or tag in [one.removeprefix("W/") for one in split_list(tags)]
    since = _seconds(request.headers.get("if-modified-since"))
    return since is not None and changed <= since


def _is_same(request: Request, tag: str, changed: int) -> bool:
    """Whether a part would fit to what the client has (If-Range)."""
    condition = request.headers.get("if-range")
    return condition is None or condition == tag or _seconds(condition) == changed


def _seconds(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


class _File:
    """An open file, sent piece by piece; closed behind the answer, or with its last reference."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._at = 0
        self._left = 0

    def begin(self, at: int, length: int) -> None:
        """What is to be sent."""
        self._at, self._left = at, length

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        loop = asyncio.get_running_loop()
        piece = await loop.run_in_executor(None, os.pread, self.fd, min(PIECE, self._left), self._at)
        if not piece:
            raise StopAsyncIteration  # it has shrunk; its length tells
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def __del__(self) -> None:
        os.close(self.fd)
