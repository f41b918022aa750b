"""`firefly-ws connect` on a terminal: a pseudo-terminal types, and a terminal of our own reads the screen."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import BEGIN, LIMIT, served
from support import echo

import firefly_ws
from firefly_ws import http_server

pty = pytest.importorskip("pty", reason="POSIX alone")
pyte = pytest.importorskip("pyte", reason="the extra test")


class Terminal:
    """A terminal of 100 columns, with the command in it."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.screen = pyte.HistoryScreen(100, 60)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BEGIN, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(firefly_ws.__file__).parents[1]),
                "TERM": "xterm-256color",
                "PYTHONUTF8": "1",
                "PROMPT_TOOLKIT_NO_CPR": "1",
                "COLUMNS": "100",
                "LINES": "60",
                **environment,
            },
        )
        os.close(slave)

    def type(self, line: str, enter: str = "\r") -> None:
        """As from the keyboard."""
        os.write(self._master, (line + enter).encode())

    def shown(self) -> str:
        """The screen's lines, without the times."""
        return "\n".join(re.sub(r"^\d\d:\d\d:\d\d ", "", line.rstrip()) for line in self.screen.display)

    def until(self, text: str) -> str:
        """Read until the screen shows *text*; gives the screen."""
        end = time.monotonic() + LIMIT
        while text not in self.shown():
            assert time.monotonic() < end, self.shown()
            self._read()
        return self.shown()

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(LIMIT)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], LIMIT)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody holds the other side any more
            return False
        self._stream.feed(data)
        return bool(data)

    def close(self) -> None:
        """Whatever happens."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_a_conversation_at_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"firefly\x00\xff")
    app = http_server().websocket("/").on_message(echo)
    with served(app.on_open(lambda connection: connection.send("\x1b[31mred"))) as url:
        terminal = Terminal("connect", url, XDG_STATE_HOME=str(tmp_path))
        try:
            terminal.until("connected to ws://127.0.0.1")
            terminal.until("\n>")
            terminal.until("← \\x1b[31mred")
            terminal.type("hällo")
            assert "→ hällo" in terminal.until("← hällo")
            terminal.type('{"a": [1, 2.50], "b": {}}')
            terminal.until('← {\n             "a": [\n               1,\n               2.50\n             ],\n')
            terminal.type("/ping")
            terminal.until("· Pong after")
            terminal.type("//slash")
            terminal.until("← /slash")
            terminal.type(f"/binary {tmp_path / 'file'}")
            dump = "binary, 9 bytes\n           00000000  66 69 72 65 66 6c 79 00  ff                       |firefly..|"
            assert f"→ {dump}" in terminal.until(f"← {dump}")
            for wrong, said in {
                "/nothing": "there is no command /nothing",
                "/close 999": "code=999 may not be sent",
                "/close x": "'x' is no number",
                "/binary": "which file?",
                "/binary /nowhere/at/all": "No such file",
            }.items():
                terminal.type(wrong)
                terminal.until(said)
            terminal.type("/he", "\t")
            terminal.type("")
            terminal.until("Ctrl-D")
            terminal.type("/close 4001 bye")
            assert terminal.end() == 3
            assert "closed by this side with 4001: bye" in terminal.shown()
        finally:
            terminal.close()
    history = tmp_path / "firefly-ws" / "history"
    assert "+//slash\n" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_ctrl_d_closes_normally_and_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    reasons: list[int] = []
    app = http_server().websocket("/").on_message(echo).on_close(lambda connection, reason: reasons.append(reason.code))
    with served(app) as url:
        terminals = [Terminal("connect", "--binary", url, XDG_STATE_HOME=str(tmp_path / "file")) for _ in range(2)]
        (tmp_path / "file").touch()  # no directory: the history stays in memory
        try:
            for terminal, key, code in zip(terminals, ("\x04", "\x03"), (0, 130), strict=True):
                terminal.until("\n>")
                terminal.type("text")
                terminal.until("← binary, 4 bytes")
                terminal.type(key, "")
                assert terminal.end() == code
        finally:
            for terminal in terminals:
                terminal.close()
    assert reasons == [1000, 1001]


def test_a_server_that_closes_takes_the_prompt_away(tmp_path: Path) -> None:
    app = http_server().websocket("/").on_text(lambda text, connection: connection.close(1011, text))
    with served(app) as url:
        terminal = Terminal("connect", url, XDG_STATE_HOME=str(tmp_path))
        try:
            terminal.until("\n>")
            terminal.type("why not")
            assert terminal.end() == 3
            assert "closed by the server with 1011 (INTERNAL_ERROR): why not" in terminal.shown()
        finally:
            terminal.close()
