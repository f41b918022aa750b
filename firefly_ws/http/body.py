"""The body of a request, from bytes as they arrive to whoever reads it; knows framing and limits, no socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable

from .head import BadRequest
from .request import Request

__all__ = ["RequestBody", "body_length", "expects_100"]

HIGH = 65536
"""Bytes waiting for a reader, beyond which reading the connection pauses."""

_OWS = " \t"
_number = re.compile(r"[0-9]{1,18}").fullmatch
# RFC 9112 §7.1. llhttp would take this syntax apart too, but does not tell where a message ended.
_size_line = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?").fullmatch
_trailer_line = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*").fullmatch
_MAX_LINE = 4096
_SPARE = 16384
_PARTS = 1024  # sizes, data and ends of chunks that are taken apart at once: a millisecond


def body_length(request: Request) -> int | None:
    """How long the body is; 0 where there is none, ``None`` where it comes in chunks.

    Raises `BadRequest` for every framing that two readers could understand differently (RFC 9112 §6.3, §11.2).
    """
    fields = request.headers.fields()
    length = fields.get("content-length")
    coding = fields.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "a request has Content-Length or Transfer-Encoding, not both")
        if request.http_version == "1.0":
            raise BadRequest(400, "HTTP/1.0 has no Transfer-Encoding")
        coding = coding.strip(_OWS).lower()
        if coding == "chunked":
            return None
        if coding.rpartition(",")[2].strip(_OWS) == "chunked" and not coding.startswith("chunked"):
            raise _not("chunked is the only transfer coding that is served", coding, 501)
        raise _not("the transfer coding of a request must end with chunked, once", coding)
    if length is None:
        return 0
    length = length.strip(_OWS)
    if not _number(length) or request.headers.is_repeated("content-length"):
        raise _not("Content-Length must be one number", length)
    return int(length)


def expects_100(request: Request) -> bool:
    """Whether the client waits for 100 before it sends the body (RFC 9110 §10.1.1). `BadRequest` for other wishes."""
    expects = request.headers.get("expect", "").lower()
    if expects and expects != "100-continue":
        raise _not("100-continue is the only expectation that is met", expects.strip(_OWS), 417)
    return bool(expects)


class RequestBody:
    """Takes the bytes of one body and keeps them until they are read.

    ``limit`` (bytes, ``None`` for none) holds for what has come in all. ``wanted`` is
    called when a reader first asks, ``taken`` whenever one has made room.
    """

    __slots__ = (
        "_chunk", "_discards", "_error", "_left", "_limit", "_line", "_overhead", "_parts", "_place", "_taken",
        "_waiter", "_wanted", "complete", "is_asked_for", "received", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        length: int | None,
        limit: int | None,
        wanted: Callable[[], object] | None = None,
        taken: Callable[[], object] = lambda: None,
    ) -> None:
        if length is not None and limit is not None and length > limit:
            raise _too_big(limit, length)
        self._limit = limit
        self._left = length  # None: chunked
        self._chunk = 0  # bytes that the chunk under way still has
        self._place = "size"  # of the chunked syntax: "size", "data", "end", "trailer"
        self._line = b""  # begun and not ended
        self._overhead = 0  # bytes of chunked syntax
        self._parts: list[bytes] = []
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = wanted
        self._taken = taken
        self._discards = False
        self.is_asked_for = False  # somebody has begun to read
        self.waiting = 0
        self.received = 0
        self.complete = length == 0

    @property
    def left(self) -> int | None:
        """Bytes still to come; ``None`` where nobody knows."""
        return 0 if self.complete else self._left

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for bytes right now."""
        return self._waiter is not None

    @property
    def at_end(self) -> bool:
        """Whether all of it has been read."""
        return self.complete and not self._parts

    # --- what comes

    def feed(self, data: bytes) -> bytes:
        """Take *data*; returns what stands behind the body's end, or behind many chunks that have been taken.

        Raises `BadRequest`; the body is at its end then.
        """
        try:
            return self._feed_chunked(data) if self._left is None else self._feed_sized(data, self._left)
        except BadRequest as error:
            self.fail(error)
            raise

    def _feed_sized(self, data: bytes, left: int) -> bytes:
        mine = data if len(data) <= left else data[:left]
        self._left = left - len(mine)
        self._put(mine)
        if not self._left:
            self._finish()
        return data[len(mine) :]

    def _feed_chunked(self, data: bytes) -> bytes:
        at = parts = 0
        while at < len(data):
            parts += 1
            if parts > _PARTS:
                return data[at:]
            if self._place == "data":
                piece = data[at : at + self._chunk]
                at += len(piece)
                self._chunk -= len(piece)
                if not self._chunk:
                    self._place = "end"
                if self._limit is not None and self.received + len(piece) > self._limit:
                    raise _too_big(self._limit, self.received + len(piece))
                self._put(piece)
                continue
            end = data.find(b"\n", at) + 1
            part = data[at : end or len(data)]
            at += len(part)
            self._overhead += len(part)
            self._line += part
            # Extensions and trailers are thrown away, and must not be the whole of what a client sends.
            if len(self._line) > _MAX_LINE or self._overhead > _SPARE + 8 * self.received:
                raise BadRequest(400, "the chunks of the body are mostly not data")
            if end:
                line, self._line = self._line, b""
                if line[-2:] != b"\r\n":
                    raise BadRequest(400, "a line of the chunked body ends without CRLF")
                if self._take_line(line[:-2]):
                    self._finish()
                    return data[at:]
        return b""

    def _take_line(self, line: bytes) -> bool:
        """Whether it was the last one."""
        if self._place == "size":
            found = _size_line(line)
            if found is None:
                raise _not("the size of a chunk must be a hexadecimal number", line.decode("latin-1"))
            self._chunk = int(found[1], 16)
            self._place = "data" if self._chunk else "trailer"
            if self._limit is not None and self.received + self._chunk > self._limit:
                raise _too_big(self._limit, self.received + self._chunk)
        elif self._place == "end":
            if line:
                raise BadRequest(400, "a chunk is longer than its size")
            self._place = "size"
        elif not line:
            return True
        elif not _trailer_line(line):
            raise BadRequest(400, "malformed trailer")
        return False

    def _put(self, piece: bytes) -> None:
        self.received += len(piece)
        if piece and not self._discards:
            self._parts.append(piece)
            self.waiting += len(piece)
            self._wake()

    def _finish(self) -> None:
        self.complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more comes, for *error*: it is raised behind what had come."""
        if not self.complete and self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def discard(self) -> None:
        """Nobody will read it: keep nothing."""
        self._discards = True
        self._parts.clear()
        self.waiting = 0

    # --- who reads

    async def next(self) -> bytes | None:
        """What has come, as soon as there is something; ``None`` at the end. Raises what `fail` was given."""
        if not self.is_asked_for:
            self.is_asked_for = True
            if self._wanted is not None and not self.complete and self._error is None:
                self._wanted()
        while True:
            if self._parts:
                piece, self._parts = b"".join(self._parts), []
                self.waiting = 0
                self._taken()
                return piece
            if self.complete:
                return None
            if self._error is not None:
                raise self._error
            if self._waiter is not None:
                raise RuntimeError("the request's body is being read already")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def pieces(self) -> AsyncIterator[bytes]:
        """What has come and what comes, to the end. Raises what `fail` was given."""
        while (piece := await self.next()) is not None:
            yield piece


def _too_big(limit: int, size: int) -> BadRequest:
    why = f"a body of at least {size} bytes is longer than max_body_size={limit}; raise it with .max_body_size(bytes)"
    return BadRequest(413, f"the body is longer than max_body_size={limit} bytes", why=why)


def _not(rule: str, what: str, status: int = 400) -> BadRequest:
    """*rule* is broken by *what*."""
    return BadRequest(status, rule, why=f"{rule}, not {what[:100]!r}")
