"""`firefly-ws connect` in a pipe, as a script uses it: a process of its own, its streams and its exit code."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest
from command import Command, Inside, served
from support import echo

from firefly_ws import ContinuationFrame, Frame, Opcode, Response, WebSocketConnection, http_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

#: The last line on stderr, where nothing went wrong, and where it was broken off.
OURS = "firefly-ws: closed by this side with 1000 (NORMAL)\n"
AWAY = "firefly-ws: closed by this side with 1001 (GOING_AWAY)\n"


def test_lines_become_messages_and_answers_become_lines(inside: Inside) -> None:
    seen: list[Any] = []

    def answer(frame: Any, connection: WebSocketConnection) -> Any:
        seen.append(frame.payload)
        return connection.send(frame)

    def opened(connection: WebSocketConnection) -> None:
        seen.append(connection.request.headers)
        seen.append(connection.extensions)
        seen.append(connection.sub_protocol)

    app = http_server().websocket("/").origins("https://mine.example").sub_protocols(["chat"]).on_open(opened)
    with served(app.on_message(answer)) as url:
        arguments = ["-H", "X-One: 1", "-H", "Authorization: Bearer x", "--origin", "https://mine.example"]
        run = inside("connect", url, *arguments, "--subprotocol", "chat", "--wait", "0.2", typed="one\r\nÄ€😀\n\n last")
    assert run == (0, "one\nÄ€😀\n\n last\n", OURS)
    headers, extensions, sub_protocol, *messages = seen
    assert (headers["x-one"], headers["authorization"], headers["origin"]) == ("1", "Bearer x", "https://mine.example")
    assert "permessage-deflate" in str(extensions[0])
    assert sub_protocol == "chat"
    assert messages == [b"one", "Ä€😀".encode(), b"", b" last"]


def test_many_lines_come_back_in_order_and_none_is_lost_at_the_end(inside: Inside) -> None:
    app = http_server().websocket("/").on_message(echo)
    typed = "".join(f"{number}\n" for number in range(20_000))
    with served(app) as url:
        assert inside("connect", url, "--no-compression", "--wait", "0.2", typed=typed) == (0, typed, OURS)


def test_binary_lines_are_binary_messages_and_come_out_as_they_are() -> None:
    kinds: list[type] = []

    def answer(frame: Frame, connection: WebSocketConnection) -> object:
        kinds.append(type(frame))
        return echo(frame, connection)

    app = http_server().websocket("/").on_message(answer)
    with served(app) as url:
        command = Command("connect", url, "--binary", "--wait", "0.2", stdin=subprocess.PIPE)
        process = command.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.buffer.write(b"\xff\x00\x1b[31m\n")
        process.stdin.close()
        process.stdin = None
        assert process.stdout.buffer.read() == b"\xff\x00\x1b[31m\n"
        assert command.end()[0] == 0
    assert [kind.__name__ for kind in kinds] == ["BinaryFrame"]


def test_the_exit_code_tells_how_it_ended(inside: Inside) -> None:
    def close(text: str, connection: WebSocketConnection) -> None:
        code, _, reason = text.partition(" ")
        if code == "lost":
            connection.terminate()
        else:
            connection.close(int(code), reason)

    def misbehave(frame: Frame, connection: WebSocketConnection) -> object:
        return connection.send_frame(ContinuationFrame() if frame.opcode == Opcode.TEXT else frame)

    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        nobody = f"ws://me:secret@127.0.0.1:{taken.getsockname()[1]}/"
        refuse = {"/refused": Response(401, "who \x1b[31mare\nyou?")}
        app = http_server().on_upgrade(lambda request: refuse.get(request.path))
        app.websocket("/").on_text(close)
        app.websocket("/refused").discard()
        app.websocket("/raw").raw().on_message(misbehave)
        with served(app) as url:
            cases = [
                ((url, "1000 bye\n"), 0, "firefly-ws: closed by the server with 1000 (NORMAL): bye\n"),
                ((url, "1001 away\n"), 3, "firefly-ws: closed by the server with 1001 (GOING_AWAY): away\n"),
                ((url, "4321 mine\x1b[31m\n"), 3, "firefly-ws: closed by the server with 4321: mine\\x1b[31m\n"),
                ((url, "lost\n"), 3, "firefly-ws: the connection was lost, ended by the server: 1006 (ABNORMAL_CLO"),
                ((url + "raw", "x\n"), 3, "firefly-ws: closed by this side for a rule that the server broke with 1002"),
                ((nobody, ""), 1, f"firefly-ws: cannot connect to {nobody.replace('me:secret@', '')}: 127.0.0.1"),
                ((url, b"\xff\n"), 2, "firefly-ws: line 1 of the input is no UTF-8"),
                ((url + "refused", ""), 1, f"firefly-ws: {url}refused answered 401 Unauthorized"),
            ]
            for (target, typed), expected, said in cases:
                code, output, error = inside("connect", target, "--wait", "5", typed=typed)
                assert (code, output) == (expected, ""), typed
                assert error.startswith(said), typed
                assert "secret" not in error
            assert error.endswith("Switching Protocols: 'who [31mare you?'\n")


def test_a_signal_says_1001_to_the_server() -> None:
    reasons: list[int] = []
    app = http_server().websocket("/").on_open(lambda connection: connection.send("up"))
    with served(app.on_close(lambda connection, reason: reasons.append(reason.code))) as url:
        commands = [Command("connect", url, "--wait", "inf") for _ in range(2)]
        for command, number, code in zip(commands, (signal.SIGINT, signal.SIGTERM), (130, 143), strict=True):
            assert command.process.stdout is not None
            assert command.process.stdout.readline() == "up\n"
            command.process.send_signal(number)
            assert command.end() == (code, "", AWAY)
    assert reasons == [1001, 1001]


def test_a_reader_that_goes_away_ends_it_without_an_error() -> None:
    def flood(connection: WebSocketConnection) -> Any:
        async def pieces() -> None:
            while connection.is_open:
                await connection.send("x" * 1000)
                await asyncio.sleep(0)

        return pieces()

    with served(http_server().websocket("/").on_open(flood)) as url:
        command = Command("connect", url, "--wait", "inf")
        assert command.process.stdout is not None
        assert command.process.stdout.readline() == "x" * 1000 + "\n"
        command.process.stdout.close()
        assert command.process.wait() == 0
        assert command.process.stderr is not None
        assert command.process.stderr.read() == AWAY
        command.process.stderr.close()
        command.timer.cancel()
        command.timer.join()
