"""`firefly-ws bench`: what it counts is what a server has seen, and what goes wrong is said."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from command import LIMIT, Command, Inside, served
from support import echo

from firefly_ws import Frame, Response, WebSocketConnection, http_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

SHORT = ["--warmup", "0", "--duration", "0.1"]


def test_it_measures_an_echo_server_and_writes_all_it_was_asked_for(tmp_path: Path) -> None:
    app = http_server().websocket("/").on_message(echo)
    with served(app) as url:
        options = ["-c", "3", "--duration", "0.2", "--warmup", "0.05", "--json", str(tmp_path / "out")]
        code, said, errors = Command("bench", url, *options).end()
    assert (code, errors) == (0, ""), said
    lines = said.splitlines()
    assert lines[:3] == [url, "3 connections, 64 bytes of text", ""]
    assert [line[:10].strip() for line in lines[3:]] == ["rate", "latency", "", "messages", "own CPU", "errors"] or (
        "this process was what held it up" in said
    )
    found = json.loads((tmp_path / "out").read_text())
    assert (found["opened"], found["errors"], found["compression"]) == (3, {}, False)
    assert f"messages  {found['messages']:,} in " in said
    assert found["messages"] > 0
    times = list(found["latency"].values())
    assert times == sorted(times)
    assert found["samples"][-1]["messages"] == found["messages"]


def test_messages_are_of_the_type_and_size_and_as_many_in_flight_as_asked_for(inside: Inside) -> None:
    for option, kind in (("--text", "TextFrame"), ("--binary", "BinaryFrame")):
        seen: list[Frame] = []
        extensions: list[str] = []
        closed: list[int] = []

        def opened(connection: WebSocketConnection, extensions: list[str] = extensions) -> None:
            extensions.append(str(connection.extensions))

        def keep(frame: Frame, connection: WebSocketConnection, seen: list[Frame] = seen) -> None:
            seen.append(frame)

        app = http_server().websocket("/").on_open(opened).on_message(keep)
        app.on_close(lambda connection, reason, closed=closed: closed.append(reason.code))  # type: ignore[misc]
        with served(app) as url:
            code, _, errors = inside("bench", url, *SHORT, option, "-c", "4", "-d", "5", "-s", "300", "--compression")
        assert (code, errors) == (1, "firefly-ws: no message came back: is it an echo server?\n")
        assert len(seen) == 4 * 5
        assert {(type(frame).__name__, len(frame.payload)) for frame in seen} == {(kind, 300)}
        assert len(set(extensions)) == 1
        assert "permessage-deflate" in extensions[0]
        assert closed == [1000] * 4


def test_what_goes_wrong_is_counted_and_named(inside: Inside) -> None:
    def shout(frame: Any, connection: WebSocketConnection) -> Any:
        return connection.send(frame.payload_as_utf8.upper())

    cases = [
        (shout, [], "a message came that had not been sent"),
        (lambda frame, connection: connection.close(4000, "enough"), [], "closed with 4000: enough"),
        (lambda frame, connection: connection.terminate(), [], "closed with 1006"),
        (echo, ["-s", "2000"], "closed with 1009 (MESSAGE_TOO_BIG)"),
    ]
    for answer, more, said in cases:
        with served(http_server().websocket("/").max_message_size(1000).on_message(answer)) as url:
            code, output, errors = inside("bench", url, *SHORT, "-c", "2", *more)
        assert (code, errors) == (1, ""), said
        assert f"errors    2 × {said}" in output


def test_a_server_that_is_none_is_one_line_and_1(inside: Inside) -> None:
    with served(http_server().websocket("/other").discard()) as url:
        code, said, errors = inside("bench", url.replace("//", "//me:secret@"), *SHORT)
    assert (code, said) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith(f"firefly-ws: {url} answered 404 Not Found")


def test_a_server_that_takes_some_is_measured_by_these(inside: Inside) -> None:
    app = http_server().websocket("/").on_message(echo)
    taken: list[WebSocketConnection] = []
    app.on_upgrade(lambda request: None if len(taken) < 2 else Response(503, "full")).on_open(taken.append)
    with served(app) as url:
        code, said, errors = inside("bench", url, *SHORT, "-c", "6", "--json")
    assert (code, errors) == (1, "")
    found = json.loads(said)
    ((why, count),) = found["errors"].items()
    assert "answered 503" in why
    assert found["opened"] == 6 - count >= 2
    assert found["messages"] > 0


def test_ctrl_c_shows_what_was_measured_until_then() -> None:
    enough, count = threading.Event(), 0

    def answer(frame: Frame, connection: WebSocketConnection) -> Any:
        nonlocal count
        count += 1
        if count == 100:
            enough.set()
        return connection.send(frame)

    with served(http_server().websocket("/").on_message(answer)) as url:
        command = Command("bench", url, "--warmup", "0", "--duration", "1000")
        assert enough.wait(LIMIT)
        command.process.send_signal(signal.SIGINT)
        code, said, errors = command.end()
    assert (code, errors) == (130, "")
    assert "\nrate      " in said
    assert "\nerrors    none\n" in said
