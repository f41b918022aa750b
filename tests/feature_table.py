"""What the library promises, and which tests prove it: writes `docs/features.md` from the ids in the tests.

A test names what it proves at the end of the line of its `def`: `async def test_x() -> None:  # F3, C4`.
`python tests/feature_table.py` prints the page, `--write` writes it.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "features.md"

ROWS = {
    "F1": "Firefly's first program, line by line in Python, is an example that runs as a plain script",
    "F2": "Server and client in one process, on one loop, from chained calls",
    "F3": "`on_message(frame, connection)`, `TextFrame.payload_as_utf8`, `DONE`",
    "F4": "`on_accept`, `on_accept_async` on the server; `connect`, `connect_async` on the client",
    "F5": "`send_text`, `send_data`, `send_frame`, `close_async`, each awaitable",
    "F6": "`ws` and `wss` URLs by the generic syntax of URIs; a fragment (`#`) is refused",
    "F7": "`permessage-deflate`, `deflate-frame`, `x-webkit-deflate-frame`, `fragment`, `identity`, and chains of them",
    "F8": "Extension and subprotocol selectors on the server, subprotocol offers on the client",
    "F9": "Every field of `WebSocketPolicy` has its effect",
    "F10": "Facts of a connection: id, URL, addresses, times, bytes, attributes; timeouts settable while it is open",
    "F11": "Several websocket routes and HTTP routes on one port, a hook that refuses an upgrade, own error pages",
    "F12": "Both ends stream at the same time without deadlock, on one connection and on fifty",
    "C1": "Settings of a whole client: ping interval, frame size, converter, extensions",
    "C2": "A session from a URL, from host, port and path, and with headers of its own",
    "C3": "`async with` closes with 1000; the short forms `ws` and `wss`",
    "C4": "`incoming` and `outgoing`, `extensions`, `send` by type, `close(reason)`, `flush()`",
    "C5": "Frames by type, with `match`; Pongs by themselves; a raw session that shows every frame",
    "C6": "`is_supported(WebSocketCapability)`, `is_supported(WebSocketExtensionsCapability)`",
    "C7": "Converters: `send_serialized`, `receive_deserialized(T)`, JSON and MessagePack; what does not fit is told",
    "C8": "Exceptions with a base and a cause, close codes by name, `CloseReason(code, message)`",
    "S1": "Ping interval, timeout, frame size, masking and extensions as options and on an open connection",
    "S2": 'A handler that loops over incoming frames, answers, and closes on "bye"',
    "S3": "The same as a stream of texts",
    "S4": "`flush()`, also behind close; `terminate()`; `close_reason`; the request's host and headers",
    "S5": "A conversation under test without a socket: real handshake, extensions and codec",
    "S6": "Open, message, close and error, in this order, with the reason set in the last two",
    "S7": "Frames marked incomplete or final; the RSV bits visible",
    "W1": "HTTP and WebSocket on one port; a plain GET on a websocket path gets 426, never a hang",
    "W2": "An echo server for testing clients, as one command",
    "W3": "Its page on the same port, for trying it in a browser",
    "W4": "Two pages are two clients; a connection stays until someone disconnects",
    "W5": "The server pushes without being asked, to one and to all",
    "W6": "Default ports 80 and 443; through an HTTP proxy",
    "K1": "Version 13 only; any other gets 426 with `Sec-WebSocket-Version: 13`",
    "K2": "Works with Chromium's client and with npm's `ws` and `websocket`",
    "K3": "`ws` and `wss`",
    "K4": "Messages of one or many frames, both ways; headers of every length, masked and not",
    "K5": "A service object, registered on a path and unregistered; `connection_timeout`",
    "K6": "A simple echo server on the first page of the documentation",
}

# These alone may be without a test.
PENDING: set[str] = set()

# Where a test drives what it proves over a real socket.
OVER_SOCKETS = ("net/", "interop/", "test_examples.py", "test_docs.py")

# These alone need no such test, for this reason.
WITHOUT_A_SOCKET = {"S5": "is the promise that there is none"}

SECTIONS = {
    "F": "What a Firefly user expects",
    "C": "What a user of Ktor's client expects",
    "S": "What a user of Ktor's server expects",
    "W": "What someone new to WebSocket expects",
    "K": "What a Kitura user expects",
}

HEAD = """\
# Features

What is promised, and the tests that prove it: those below `net/` and `interop/`, and those of the examples and of
these pages, over real sockets, those below `unit/` where there is no wire to look at. Each promise is driven over a
socket by one of its tests at least, but for S5, which promises that none is needed. Written by
`python tests/feature_table.py --write` from the ids in the tests; a test compares.
"""

MARK = re.compile(r"#\s*(?=[FCSWK]\d)(.*)$")


class UnknownId(ValueError):
    """A test names what is no row."""


def marks(text: str) -> Iterator[tuple[str, str]]:
    """Each id in the text of a file of tests, with the name of the test that proves it."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            for line in lines[node.lineno - 1 : node.body[0].lineno]:
                if found := MARK.search(line):
                    for row in map(str.strip, found[1].split(",")):
                        if row not in ROWS:
                            raise UnknownId(f"{node.name}: {row!r} is none of {', '.join(ROWS)}")
                        yield row, node.name


@functools.cache
def proofs() -> dict[str, dict[str, list[str]]]:
    """Row to file to the names of tests."""
    found: dict[str, dict[str, list[str]]] = {row: defaultdict(list) for row in ROWS}
    for path in sorted(TESTS.rglob("test_*.py")):
        for row, name in marks(path.read_text()):
            found[row][path.relative_to(TESTS).as_posix()].append(name)
    return found


def page() -> str:
    """The text of `docs/features.md`."""
    proven = proofs()
    text = HEAD
    for letter, title in SECTIONS.items():
        text += f"\n## {title}\n\n| | promise | proven by |\n|---|---|---|\n"
        for row, promise in ROWS.items():
            if row[0] == letter:
                tests = "<br>".join(
                    f"[{where}](../tests/{where}): {', '.join(f'`{name}`' for name in sorted(names))}"
                    for where, names in sorted(proven[row].items())
                )
                text += f"| {row} | {promise} | {tests or 'none yet'} |\n"
    return text


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page())
    else:
        print(page(), end="")
