"""`firefly-ws check`: what it says of our own server, of another library's, and of servers that break the rules."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

from careless import Careless
from command import Command, Inside, served
from script import once
from support import (
    nothing_leaks,  # noqa: F401
    raw_server,
)
from websockets.asyncio.server import ServerConnection, serve

from firefly_ws import Request, Response, http_server
from firefly_ws.cli.checking.peer import Target
from firefly_ws.cli.checking.suite import RULES, ask_all
from firefly_ws.cli.checking.verdicts import Result, Verdict
from firefly_ws.echo import echo_server
from firefly_ws.self_signed import self_signed
from firefly_ws.url import parse

OK, WARN, FAIL, SKIPPED = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.SKIPPED
PATIENT = 10.0  # seconds: where nothing is waited for in vain


async def asked(port: int, *, echo: bool = True, wait: float = PATIENT, only: str = "") -> dict[str, Result]:
    """The results by the names of the rules; *only*: of this one, and of the first."""
    target = Target(parse(f"ws://127.0.0.1:{port}/"), timeout=wait)
    rules = RULES if not only else tuple(rule for rule in RULES if rule is RULES[0] or rule.name == only)
    return {result.rule.name: result async for result in ask_all(target, echo=echo, rules=rules)}


def test_our_echo_server_keeps_every_rule() -> None:  # W2
    with served(echo_server()) as url:
        code, said, errors = Command("check", url, "--timeout", f"{PATIENT}", "--strict").end()
    assert (code, errors) == (0, ""), said
    lines = said.splitlines()
    assert len([line for line in lines if line.startswith("  OK  ")]) == len(RULES)
    assert f"{len(RULES)} rules: {len(RULES)} OK, in " in lines[-1]
    groups = [line for line in lines if line and not line.startswith(" ")][:-1]
    assert groups == list(dict.fromkeys(rule.group for rule in RULES))
    assert all("RFC " in line and "§" in line for line in lines if line.startswith("  OK  "))


def test_json_has_every_verdict_and_nothing_else_is_on_stdout(inside: Inside, tmp_path: Path) -> None:
    seen: list[str | None] = []

    def ask(request: Request) -> Response | None:
        seen.append(request.headers.get("authorization"))
        return None if request.headers.get("sec-websocket-protocol") == "chat" else Response(400, "chat alone")

    app = http_server().on_upgrade(ask)
    app.websocket("/").sub_protocols(["chat"]).discard()
    with served(app) as url:
        target = url.replace("//", "//me:secret@")
        arguments = ["--subprotocol", "chat", "--no-echo", "--timeout", f"{PATIENT}", "--json"]
        code, said, errors = inside("check", target, *arguments)
        assert (code, errors) == (0, ""), said
        found = json.loads(said)
        assert inside("check", target, *arguments, str(tmp_path / "out"))[0] == 0
        assert json.loads((tmp_path / "out").read_text())["rules"] == found["rules"]
        assert inside("check", url, *arguments, "/nowhere/out")[::2] == (
            1,
            "firefly-ws: --json /nowhere/out: No such file or directory\n",
        )
    assert (found["url"], found["ok"], found["counts"]["FAIL"]) == (url, True, 0)
    assert [rule["name"] for rule in found["rules"]] == [rule.name for rule in RULES]
    skipped = {rule["name"] for rule in found["rules"] if rule["verdict"] == "SKIPPED"}
    assert skipped == {rule.name for rule in RULES if rule.echo} | {"no_subprotocol"}
    assert set(seen) == {"Basic bWU6c2VjcmV0", None}  # None: the last run had no user in its URL


@once
async def test_websockets_upgrades_without_host_and_is_right_in_all_else() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        results = await asked(server.sockets[0].getsockname()[1])
    found = {name: (result.verdict, result.detail) for name, result in results.items() if result.verdict is not OK}
    assert found == {
        "other_version": (WARN, "answered '400 Bad Request'; expected 426"),
        "no_host": (FAIL, "upgraded all the same"),
        "long_length": (WARN, "16 bits for 5: accepted: the server went on, and answered the next Ping"),
    }


@once
async def test_a_server_that_looks_at_nothing_fails_each_rule_that_it_breaks() -> None:
    async with raw_server(Careless().serve) as port:
        results = await asked(port, wait=2)
    assert {name for name, result in results.items() if result.verdict is FAIL} == {
        *("other_version", "no_version", "no_key", "bad_key", "no_host", "no_upgrade", "other_upgrade"),
        *("no_connection", "post", "http_1_0", "reserved_bits", "reserved_opcodes", "unmasked", "long_control"),
        *("fragmented_control", "continuation_alone", "message_in_message", "invalid_text", "invalid_fragment"),
        *("invalid_across_fragments", "close_codes", "close_of_one_byte", "close_reason", "behind_a_violation"),
    }
    assert {name for name, result in results.items() if result.verdict is WARN} == {
        *("huge_length", "negative_length", "long_length"),
    }


def _with(**fields: str) -> Callable[[bytes], bytes]:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return lambda head: head[:-2] + lines.encode() + b"\r\n"


HEADS = {
    "Sec-WebSocket-Accept is": lambda head: head.replace(b"Accept: ", b"Accept: x"),
    "Upgrade is None": lambda head: head.replace(b"Upgrade: websocket\r\n", b""),
    "Connection is 'close'": lambda head: head.replace(b"Connection: Upgrade", b"Connection: close"),
    "answered '200 OK', not 101": lambda head: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "the answer is no HTTP: 'SSH-2.0": lambda head: b"SSH-2.0-OpenSSH\r\n\r\n",
}
OFFERS = {
    ("subprotocol", "'other' was not offered"): _with(Sec_WebSocket_Protocol="other"),
    ("no_extension", "'x' was not offered"): _with(Sec_WebSocket_Extensions="x"),
    ("unknown_extension", "Sec-WebSocket-Extensions: x"): _with(Sec_WebSocket_Extensions="x"),
    ("deflate_answer", "client_max_window_bits was not offered"): _with(
        Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits=9"
    ),
    ("deflate_answer", "the answer has server_max_window_bits=7"): _with(
        Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=7"
    ),
    ("deflate_bad_offer", "the server agreed"): _with(Sec_WebSocket_Extensions="permessage-deflate"),
    ("deflate_no_context", "without server_no_context_takeover"): _with(Sec_WebSocket_Extensions="permessage-deflate"),
    ("deflate_echo", "came back, not"): _with(Sec_WebSocket_Extensions="permessage-deflate"),
}
FRAMES = {
    ("text", "is masked"): lambda frame: frame[:1] + bytes([frame[1] | 0x80, 0, 0, 0, 0]) + frame[2:],
    ("binary", "reserved opcode 3"): lambda frame: b"\x83" + frame[1:],
    ("text", "reserved bits: 001"): lambda frame: bytes([frame[0] | 0x10]) + frame[1:],
    ("text", "longer length field"): lambda frame: frame[:1] + b"\x7e\0" + frame[1:],
    ("text", "'Hellx' came instead"): lambda frame: frame.replace(b"o", b"x") + b"\x88\0",
    ("text", "mixed up"): lambda frame: b"\x80" + frame[1:],
    ("ping", "the Pong has"): lambda frame: frame.replace(b"fly", b"fly"[::-1]),
    ("ping", "the server closed with 1000 instead"): lambda frame: b"\x88\x02\x03\xe8",
    ("ping", "fragmented or longer"): lambda frame: bytes([frame[0] & 0x7F]) + frame[1:],
    ("pings", "after one with 0"): lambda frame: frame + frame,
    ("close_without_code", "1005"): lambda frame: b"\x88\x02\x03\xed",
    ("close_of_applications", "with 1002"): lambda frame: b"\x88\x02\x03\xea",
    ("close_1000", "without a Close frame"): lambda frame: b"",
}


@once
async def test_what_a_server_writes_wrong_is_named() -> None:
    for said, head in HEADS.items():
        async with raw_server(Careless(head=head).serve) as port:
            results = await asked(port)
        first, *rest = results.values()
        assert first.verdict is FAIL, said
        assert said in first.detail
        assert {result.verdict for result in rest if result.rule.group != first.rule.group} == {SKIPPED}, said
    for (name, said), head in OFFERS.items():
        async with raw_server(Careless(head=head).serve) as port:
            result = (await asked(port, only=name))[name]
        assert (result.verdict, said in result.detail) == (FAIL, True), (name, said, result.detail)
    for (name, said), out in FRAMES.items():
        async with raw_server(Careless(out=out).serve) as port:
            result = (await asked(port, only=name))[name]
        assert (result.verdict, said in result.detail) == (FAIL, True), (name, said, result.detail)


@once
async def test_a_frame_that_came_too_early_may_be_lost() -> None:
    async with raw_server(Careless(out=lambda frame: b"\x88\0").serve) as port:
        result = (await asked(port, only="early_frame"))["early_frame"]
    assert (result.verdict, result.detail) == (WARN, "the server closed instead of sending b'early' back")


def test_the_exit_code_is_1_where_a_rule_is_broken_and_where_nobody_listens(inside: Inside) -> None:
    with served(http_server().get("/", lambda request: Response(200, "no websocket"))) as url:
        code, said, errors = inside("check", url, "--timeout", f"{PATIENT}")
    assert (code, errors) == (1, "")
    assert "  FAIL     a correct request is upgraded" in said
    assert "           answered '200 OK', not 101\n" in said
    assert "SKIPPED  text comes back" in said
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, said, errors = inside("check", f"ws://me:secret@127.0.0.1:{port}/")
    assert (code, said) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith(f"firefly-ws: cannot connect to ws://127.0.0.1:{port}/: ")
    assert "secret" not in line


def test_tls_is_checked_by_the_authorities_given(inside: Inside, tmp_path: Path) -> None:
    pem, _ = self_signed(["127.0.0.1"])
    (tmp_path / "both.pem").write_bytes(pem)
    with served(echo_server().secure(tmp_path / "both.pem")) as url:
        secure = url.replace("ws:", "wss:")
        code, said, errors = inside("check", secure)
        assert (code, said) == (1, "")
        assert "certificate" in errors
        for option in (["--cacert", str(tmp_path / "both.pem")], ["--insecure"]):
            code, said, errors = inside("check", secure, "--timeout", f"{PATIENT}", *option)
            assert (code, errors) == (0, ""), said


def test_a_reader_that_goes_away_ends_it_in_silence() -> None:
    with served(echo_server()) as url:
        command = Command("check", url)
        process = command.process
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "Opening handshake\n"
        process.stdout.close()
        assert process.wait() == 1
        assert process.stderr.read() == ""
        process.stderr.close()
        command.timer.cancel()
        command.timer.join()
