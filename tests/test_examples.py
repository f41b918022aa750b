"""Every file of examples/ is run as a user runs it, as a script of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx
import pytest

import firefly_ws
from firefly_ws import BinaryFrame, Frame, TextFrame, WebSocketConnection, http_client

ROOT = Path(firefly_ws.__file__).parents[1]
EXAMPLES = Path(__file__).parents[1] / "examples"
LIMIT = 30.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends servers with POSIX signals")


def begin(path: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start an example; what it prints comes as it prints it, warnings are errors."""
    return subprocess.Popen(
        # As `python FILE`, where Ctrl-C is not ignored, as it is in the background of a shell.
        [sys.executable, "-W", "error", "-c", AS_IN_A_TERMINAL, str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
    )


AS_IN_A_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-W", "error", *sys.argv[1:]])
"""


@contextmanager
def server(name: str, warning: str = "") -> Iterator[str]:
    """An example that serves, on a free port; gives its first line, and at the end stops it with Ctrl-C.

    On stderr is one line, with *warning* in it, or nothing.
    """
    process = begin(EXAMPLES / name, "0")
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=LIMIT)
        assert said == ""
        assert warning in errors
        assert errors.count("\n") == bool(warning), errors
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def ending(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    """Exit code, lines and stderr of an example that ends by itself."""
    try:
        lines, errors = process.communicate(timeout=LIMIT)
        return process.returncode, lines.splitlines(), errors
    finally:
        process.kill()
        process.communicate()


def run(name: str, *arguments: str) -> tuple[int, list[str], str]:
    return ending(begin(EXAMPLES / name, *arguments))


def url_in(line: str) -> str:
    found = re.search(r"ws://127\.0\.0\.1:\d+/", line)
    assert found, line
    return found[0]


# --- ten messages


@cache
def ten_messages() -> subprocess.Popen[str]:
    """The document's program on a free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    text = (EXAMPLES / "ten_messages.py").read_text()
    assert "8090" in text
    copy = Path(tempfile.mkdtemp()) / "ten_messages.py"
    copy.write_text(text.replace("8090", f"{port}"))
    return begin(copy, TZ="UTC", LC_ALL="C")


@pytest.mark.begun_early(begin=ten_messages)
def test_ten_messages_prints_twenty_lines_in_the_documents_format_and_ends_by_itself() -> None:  # F1, F2, F5
    process = ten_messages()
    code, lines, errors = ending(process)
    shutil.rmtree(Path(process.args[-1]).parent)  # type: ignore[index, arg-type]
    assert (code, errors) == (0, "")
    assert len(lines) == 20
    assert {lines[0][:6], lines[1][:6]} == {"Server", "Client"}
    for side in ("Server", "Client"):
        theirs = [line for line in lines if line.startswith(side)]
        times = []
        for number, line in enumerate(theirs, 1):
            date = r"(\w{3} \w{3} \d\d \d\d:\d\d:\d\d UTC \d{4})"
            found = re.fullmatch(rf"{side}\. message: {number}, time: {date}", line)
            assert found, line
            times.append(time.mktime(time.strptime(found[1], "%a %b %d %H:%M:%S UTC %Y")))
        assert len(times) == 10
        # One a second: nine seconds from the first to the last.
        assert 8 <= times[-1] - times[0] <= 12


# --- echo


def test_echo_server_and_echo_client() -> None:
    with server("echo_server.py") as line:
        assert line.startswith("echo at ")
        url = url_in(line)
        code, lines, errors = run("echo_client.py", url, "hello", "ä€😀")
        assert (code, errors) == (0, "")
        assert sorted(lines) == ["RECEIVED: hello", "RECEIVED: ä€😀", "SENT: hello", "SENT: ä€😀"]
        assert lines.index("RECEIVED: hello") < lines.index("RECEIVED: ä€😀")
        assert run("echo_client.py", url, "one") == (0, ["SENT: one", "RECEIVED: one"], "")
        assert run("echo_client.py", url) == (0, [], "")


def test_the_echo_server_takes_every_origin_and_binary_messages() -> None:
    async def talk(url: str) -> bytes:
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        client = http_client().websocket(url).origin("https://elsewhere.example")
        async with client.on_binary(lambda data, connection: got.set_result(data)).connect() as connection:
            connection.send(b"\0\xff" * 1000)
            async with asyncio.timeout(LIMIT):
                return await got

    with server("echo_server.py") as line:
        assert asyncio.run(talk(url_in(line))) == b"\0\xff" * 1000


def test_the_echo_client_says_why_it_cannot_connect() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        code, lines, errors = run("echo_client.py", f"ws://127.0.0.1:{port}/", "hello")
    assert (code, lines) == (1, [])
    assert errors == f"cannot connect to ws://127.0.0.1:{port}/: 127.0.0.1 port {port}: Connection refused\n"


def test_pull_echo_answers_and_closes_on_bye() -> None:  # S2
    async def talk(url: str) -> list[str]:
        async with http_client().websocket(url).connect() as connection:
            connection.send("hello")
            connection.send("Bye")
            async with asyncio.timeout(LIMIT):
                heard = [text async for text in connection.texts()]
        assert connection.close_reason == (1000, "Client said BYE")
        return heard

    with server("pull_echo.py") as line:
        assert asyncio.run(talk(url_in(line))) == ["YOU SAID: hello", "YOU SAID: Bye"]


# --- chat


def test_chat_tells_each_room_what_its_members_say() -> None:  # W5
    async def talk(url: str) -> None:
        heard: dict[str, asyncio.Queue[str]] = {}

        def enter(room: str, name: str) -> object:
            queue = heard[name] = asyncio.Queue()
            client = http_client().websocket(f"{url}room/{room}?name={name}")
            return client.on_text(lambda text, connection: queue.put_nowait(text)).connect()

        async def hears(name: str, text: str) -> None:
            async with asyncio.timeout(LIMIT):
                assert await heard[name].get() == text

        ada = await enter("garden", "ada")
        await hears("ada", "welcome, ada")
        eve = await enter("attic", "eve")
        await hears("eve", "welcome, eve")
        bob = await enter("garden", "bob")
        await hears("bob", "welcome, bob")
        await hears("ada", "bob came in")
        ada.send("hello, bob")
        await hears("bob", "ada: hello, bob")
        bob.send("hello, ada")
        await hears("ada", "bob: hello, ada")
        await bob.close()
        await hears("ada", "bob left")
        ada.send("x" * 4097)
        assert (await ada.wait_closed()).code == 1009
        await eve.close()
        assert all(queue.empty() for queue in heard.values())

    with server("chat.py", "exceeds max_message_size=4096") as line:
        assert line.startswith("chat at ")
        asyncio.run(talk(url_in(line)))


# --- values, services


def test_json_orders_confirms_and_refuses_and_stays_open_behind_what_is_no_order() -> None:  # C7
    code, lines, errors = run("json_orders.py")
    assert (code, errors) == (0, "")
    assert lines == [
        "order 1: 7.00",
        "refused: there is no moon",
        "refused: a text message does not fit Order: Expected `int`, got `str` - at `$.count`",
        "order 3: 8.00",
    ]


def test_the_echo_service_echoes_pings_closes_and_drops() -> None:  # K5, K6
    async def talk(url: str) -> None:
        async def says(queue: asyncio.Queue[Frame], expected: str) -> None:
            async with asyncio.timeout(LIMIT):
                assert await queue.get() == TextFrame(expected)

        for word, reason in (("close", (1000, "Closing by request")), ("drop", (1001, "dropped by request"))):
            heard: asyncio.Queue[Frame] = asyncio.Queue()
            client = http_client().websocket(url).on_message(lambda frame, _, queue=heard: queue.put_nowait(frame))
            connection = await client.connect()
            await says(heard, "you are one of 1")
            for text in ("hello", "ä€😀"):
                connection.send(text)
                await says(heard, text)
            connection.send(b"\0\xff")
            async with asyncio.timeout(LIMIT):
                assert await heard.get() == BinaryFrame(b"\0\xff")
            connection.send("ping")
            await says(heard, "you are")
            connection.send(word)
            async with asyncio.timeout(LIMIT):
                assert await connection.wait_closed() == reason

    with server("service.py") as line:
        assert line.startswith("echo service at ")
        asyncio.run(talk(url_in(line)))


# --- http


def test_the_wall_has_a_page_a_websocket_and_http_on_one_port() -> None:  # F11, W1
    async def talk(url: str) -> None:
        async with asyncio.timeout(LIMIT), httpx.AsyncClient(base_url=url) as http:
            assert "new WebSocket" in (await http.get("/")).text
            socket = http_client().websocket(url.replace("http", "ws") + "wall")
            async with socket.connect() as ada, socket.connect() as bob:
                ada.send("hello")
                assert [await ada.receive(), await bob.receive()] == ["hello", "hello"]
                posted = await http.post("/wall", content="from a program")
                assert (posted.status_code, posted.json()) == (201, {"written": 2})
                assert await bob.receive() == "from a program"
            assert (await http.get("/wall")).json() == {"wall": ["hello", "from a program"]}
            assert (await http.post("/wall", content="x" * 1001)).status_code == 413

    with server("http_and_websocket.py") as line:
        assert line.startswith("wall at ")
        asyncio.run(talk(re.search(r"http://\S+/", line)[0]))  # type: ignore[index]


# --- push


def test_push_tells_all_what_happens_and_one_what_is_for_them_alone() -> None:  # W5
    with begin(EXAMPLES / "push.py", "0") as process:
        typed, said = process.stdin, process.stdout
        assert typed is not None
        assert said is not None

        async def talk(url: str) -> None:
            heard: dict[str, asyncio.Queue[str]] = {"ada": asyncio.Queue(), "bob": asyncio.Queue()}

            async def enters(name: str) -> WebSocketConnection:
                client = http_client().websocket(f"{url}news?name={name}")
                return await client.on_text(lambda text, connection: heard[name].put_nowait(text)).connect()

            async def hears(name: str, text: str) -> None:
                async with asyncio.timeout(LIMIT):
                    assert await heard[name].get() == text

            ada = await enters("ada")
            bob = await enters("bob")
            await hears("ada", "bob has logged in")
            print("tea is ready", file=typed, flush=True)
            await hears("ada", "tea is ready")
            await hears("bob", "tea is ready")
            print("@bob yours has sugar", file=typed, flush=True)
            await hears("bob", "yours has sugar")
            print("@eve and yours?", file=typed, flush=True)
            assert await asyncio.to_thread(said.readline) == "eve is not here\n"
            await bob.close()
            await hears("ada", "bob has left")
            typed.close()
            process.stdin = None  # communicate() would flush it
            assert await ada.wait_closed() == (1001, "shutting down for maintenance")
            assert all(queue.empty() for queue in heard.values())

        try:
            line = said.readline()
            assert line.startswith("news at ")
            asyncio.run(talk(url_in(line)))
            assert ending(process) == (0, [], "")
        finally:
            process.kill()


# --- extensions


def test_own_extension_guards_its_frames_beside_compression_and_is_optional() -> None:
    code, lines, errors = run("own_extension.py")
    assert (code, errors) == (0, "")
    assert lines[0] == "agreed: permessage-deflate, x-crc32"
    assert re.fullmatch(r"on the wire: \d\d bytes, RSV2 True", lines[1])
    assert lines[3:5] == ["agreed: nothing", "on the wire: 140 bytes, RSV2 False"]
    assert lines[2] == lines[5] == "answer: " + "hello, " * 20


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in text


# --- files


def test_a_file_is_sent_piece_by_piece_and_kept(tmp_path: Path) -> None:
    kept, path = tmp_path / "kept", tmp_path / "a file.bin"
    kept.mkdir()
    path.write_bytes(bytes(range(256)) * 20_000)
    process = begin(EXAMPLES / "send_file.py", "serve", str(kept), "0")
    try:
        assert process.stdout is not None
        url = url_in(process.stdout.readline())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert run("send_file.py", str(path), url.rstrip("/")) == (0, [f"5120000 bytes, sha256 {digest}"], "")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=LIMIT) == ("", "")
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    assert [one.name for one in kept.iterdir()] == ["a file.bin"]
    assert (kept / "a file.bin").read_bytes() == path.read_bytes()
