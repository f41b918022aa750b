"""The parts of `firefly-ws check`: frames by hand, a peer to whom nothing comes, the report; nothing listens here."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from judge import judge

from firefly_ws import cli
from firefly_ws.cli import check
from firefly_ws.cli.checking import frames
from firefly_ws.cli.checking.peer import Peer, Target, shown
from firefly_ws.cli.checking.suite import RULES
from firefly_ws.cli.checking.verdicts import Finding, Group, Result, Verdict, fail, skip, warn
from firefly_ws.cli.report import Printer, write_json
from firefly_ws.url import parse

HERE = parse("ws://127.0.0.1:1/a?b=c")


def test_its_frames_are_those_of_the_judge_and_read_as_they_were_written() -> None:
    for size in (0, 1, 125, 126, 65535, 65536):
        payload = bytes(size)
        assert judge(frames.frame(frames.BINARY, payload), "server") == [("binary", payload)], size
        for mask in (True, False):
            data = bytearray(frames.frame(frames.BINARY, payload, mask=mask) + b"rest")
            for end in (0, 1, len(data) - 5):
                assert frames.read_frame(data[:end]) is None, (size, end)
            assert frames.read_frame(data) == frames.Frame(frames.BINARY, payload, masked=mask)
            assert data == b"rest"
    for wide in (2, 8):
        found = frames.read_frame(bytearray(frames.frame(frames.TEXT, b"x", fin=False, rsv=5, length=wide)))
        assert found == frames.Frame(frames.TEXT, b"x", False, 5, True, False)
    assert frames.close_frame(1000, b"x")[:2] == b"\x88\x83"
    assert frames.accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3


def test_an_answer_is_read_when_its_head_is_whole() -> None:
    data = bytearray(b"HTTP/1.1 426 No\r\nX-A: 1\r\nx-a: 2\r\n")
    assert frames.read_answer(data) is None
    data += b"\r\nbody"
    assert frames.read_answer(data) == frames.Answer(426, "HTTP/1.1 426 No", {"x-a": "1, 2"})
    assert data == b"body"
    for wrong in (b"SSH-2.0\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"):
        with pytest.raises(ValueError, match="no HTTP"):
            frames.read_answer(bytearray(wrong))


def test_every_rule_has_a_name_of_its_own_and_says_where_it_is_written() -> None:
    assert len({rule.name for rule in RULES}) == len({rule.text for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.section.startswith(("RFC 6455 §", "RFC 7692 §", "RFC 9112 §")), rule.name


async def test_a_peer_to_whom_nothing_comes_says_what_was_waited_for() -> None:
    peer = Peer(Target(HERE, timeout=0.01))
    waiting: list[tuple[Callable[[], Awaitable[object]], str]] = [
        (peer.answer, "no answer came within 0.01 s"),
        (lambda: peer.echoed(1, b"x"), "b'x' did not come back within 0.01 s"),
        (lambda: peer.pong(b"x"), "no Pong came within 0.01 s"),
        (peer.closed, "no Close came within 0.01 s"),
        (peer.ended, "the server left TCP open for 0.01 s"),
        (lambda: peer.refused(1002, ask=False), "nothing happened within 0.01 s; expected: a Close with 1002"),
    ]
    for wait, said in waiting:
        with pytest.raises(Finding) as found:
            await wait()
        assert (found.value.verdict, found.value.detail) == (Verdict.FAIL, said)


async def test_what_a_reset_connection_had_said_still_counts() -> None:
    peer = Peer(Target(HERE, timeout=5))
    peer._stream.data_received(frames.frame(frames.CLOSE, b"\x03\xea", mask=False))
    peer._stream.connection_lost(ConnectionResetError())
    peer._transport = _Gone()
    await peer.refused(1002)
    for payload, said in ((b"\x03", "one byte"), (b"\x03\xed", "1005, which may not"), (b"\x03\xe8\xff", "no UTF-8")):
        peer._stream.data_received(frames.frame(frames.CLOSE, payload, mask=False))
        with pytest.raises(Finding, match=said):
            await peer.closed()


class _Gone(asyncio.Transport):
    def is_closing(self) -> bool:
        return True


def test_a_request_is_written_as_asked_for() -> None:
    peer = Peer(Target(HERE, headers=[("X-A", "ä")], subprotocols=["a", "b"]))
    request = peer.request({"Upgrade": None, "Host": "other"}, method="POST", version="1.0").decode("latin-1")
    assert request.startswith("POST /a?b=c HTTP/1.0\r\nHost: other\r\nConnection: Upgrade\r\n")
    assert request.endswith("\r\nSec-WebSocket-Protocol: a, b\r\nX-A: ä\r\n\r\n")
    assert shown(b"x" * 50) == "50 bytes (b'xxxxxxxxxxxxxxxxxxxx'…)"


def test_a_warning_fails_only_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    group = Group("All")
    for name, find in (("good", None), ("odd", warn), ("absent", skip), ("bad", fail)):
        group.rule("RFC 6455 §1", f"it is {name}")(_asking(name, find))
    results = [Result(group.rules[0], Verdict.OK), Result(group.rules[1], Verdict.WARN, "it \x1b[31mblinks")]
    results.append(Result(group.rules[2], Verdict.SKIPPED, "not seen"))

    async def ask_all(target: Target, *, echo: bool) -> AsyncIterator[Result]:
        for result in results:
            yield result

    async def reach(target: Target) -> None:
        pass

    monkeypatch.setattr(check, "ask_all", ask_all)
    monkeypatch.setattr(check, "reach", reach)
    monkeypatch.setattr(check, "_WIDTH", 12)
    assert cli.main(["check", "ws://h/"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [
        "All",
        "  OK       it is good    RFC 6455 §1",
        "  WARN     it is odd     RFC 6455 §1",
        "           it \\x1b[31mblinks",
        "  SKIPPED  it is absent  RFC 6455 §1",
        "",
    ]
    assert lines[-1].startswith("3 rules: 1 OK, 1 WARN, 1 SKIPPED, in ")
    assert cli.main(["check", "ws://h/", "--strict"]) == 1
    results.append(Result(group.rules[3], Verdict.FAIL, "worse"))
    capsys.readouterr()
    assert cli.main(["check", "ws://h/", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["counts"]) == (False, {"OK": 1, "WARN": 1, "FAIL": 1, "SKIPPED": 1})
    assert found["rules"][3] == {
        "name": "bad",
        "group": "All",
        "rule": "it is bad",
        "section": "RFC 6455 §1",
        "verdict": "FAIL",
        "detail": "worse",
    }


def _asking(name: str, find: Callable[[str], Any] | None) -> Callable[[Peer], Awaitable[None]]:
    async def ask(peer: Peer) -> None:
        if find is not None:
            find(name)

    ask.__name__ = name
    return ask


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_and_without_rich_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    line = (("a", "green"), (" \x07b", ""))
    for stream, expected in ((Terminal(), "\x1b[32ma\x1b[0m \\x07b\n"), (io.StringIO(), "a \\x07b\n")):
        Printer(stream).line(*line)
        assert stream.getvalue() == expected
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    Printer(stream := Terminal()).line(*line)
    assert stream.getvalue() == "a \\x07b\n"
    latin = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Printer(latin).line(("§ …", ""))
    latin.seek(0)
    assert latin.read() == "\\xa7 \\u2026\n"
    write_json({"ä": 1}, str(tmp_path / "out"))
    assert (tmp_path / "out").read_text(encoding="utf-8") == '{\n  "ä": 1\n}\n'
