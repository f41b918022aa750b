"""Changed requests are read as h11 reads them, or refused: two readers of one stream must see the same requests."""

from __future__ import annotations

import contextlib
import random

import h11
from http_support import serving
from support import logged, nothing_leaks, raw_client, soon  # noqa: F401

from firefly_ws import HttpServer, Request

WHOLE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nxyz\r\n0\r\n\r\n",
    b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: v\r\n\r\n",
    b"POST /d HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
    b"GET http://x/e HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"HEAD /g HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
]
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b"\0", b"chunked", b"0", b"5", b"+", b"-", b"0x", b";", b'"',
    b"\x0b", b"\x80", b"HTTP/1.0", b"X: y\r\n", b" \r\n", b"\r\n ", b"ffffffffffffffff", b"GET / HTTP/1.1\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
]  # fmt: skip
IN_HEADS = [*PIECES, b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n"]

Seen = list[tuple[str, str, bytes]]


def changed(data: bytes, chance: random.Random) -> bytes:
    """One to three changes, or none."""
    some = bytearray(data)
    # A transfer coding among the trailers is dropped with them here, and refused by h11.
    pieces = PIECES if b"T: v" in data else IN_HEADS
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        at, what = chance.randrange(len(some) + 1), chance.random()
        line = some.find(b"\r\n", at)
        if what < 0.5:
            some[at:at] = chance.choice(pieces)
        elif what < 0.7:
            del some[at : at + chance.randrange(1, 4)]
        elif what < 0.85 and line >= 0:
            some[line + 2 : line + 2] = chance.choice(pieces)
        elif at < len(some):
            some[at] = chance.randrange(256)
    return bytes(some)


def judged(data: bytes) -> tuple[Seen, str]:
    """The requests that h11 sees, the last perhaps in part, and why it stopped."""
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(data)
    judge.receive_data(b"")
    seen: Seen = []
    try:
        while True:
            event = judge.next_event()
            if isinstance(event, h11.Request):
                seen.append((event.method.decode(), event.target.decode(), b""))
            elif isinstance(event, h11.Data):
                method, target, body = seen.pop()
                seen.append((method, target, body + bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                judge.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                judge.send(h11.EndOfMessage())
                if (judge.our_state, judge.their_state) != (h11.DONE, h11.DONE):
                    return seen, "it is to be the last"
                judge.start_next_cycle()
            else:
                return seen, "the end"
    except h11.RemoteProtocolError as error:
        return seen, str(error)


async def test_what_is_served_of_changed_requests_is_what_another_reader_sees() -> None:
    chance = random.Random(2026)
    ours: Seen = []

    async def keep(request: Request) -> str:
        ours.append((request.method, request.target, await request.body()))
        return "ok"

    def change(app: HttpServer) -> None:
        app.on_not_found(keep)

    with logged() as log:
        async with serving(change) as (server, _):
            for _ in range(250):
                data = b"".join(changed(chance.choice(WHOLE), chance) for _ in range(chance.randrange(1, 4)))
                ours.clear()
                async with raw_client(server.port) as peer:
                    with contextlib.suppress(OSError):
                        peer.send(data)
                        peer.writer.write_eof()
                        await soon(peer.reader.read())
                theirs, why = judged(data)
                # h11 knows no empty line before a request, which RFC 9112 §2.2 has us skip.
                same = len(theirs) if why == "no request line received" else len(ours)
                assert ours[:same] == theirs[:same], (data, why)
    assert log == []
