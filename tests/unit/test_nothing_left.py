"""What a test leaves behind fails it, whatever it is, and every test over sockets is looked at."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NET = ROOT / "tests" / "net"

#: What they do happens in processes of their own, or without any connection.
ELSEWHERE = {"test_plain_scripts.py", "test_blocking.py"}

PLANTED = """
import asyncio, os, socket, threading
import conftest, support
from firefly_ws import http_client, http_server
{looks}
conftest.GRACE = support.GRACE = 0.1
kept = []

async def test_a_task({net}):
    kept.append(asyncio.create_task(asyncio.sleep(60)))

async def test_a_socket({net}):
    kept.append(socket.create_server(("127.0.0.1", 0)))

async def test_a_descriptor({net}):
    os.open(os.devnull, os.O_RDONLY)

async def test_a_handle({net}):
    asyncio.get_running_loop().call_later(60, print)

async def test_a_thread({net}):
    threading.Thread(target=threading.Event().wait, args=(60,), daemon=True).start()

async def test_a_server({net}):
    kept.append(await http_server().websocket("/").discard().listen("127.0.0.1", 0))

async def test_a_connection({net}):
    async with http_server().websocket("/").discard().listen("127.0.0.1", 0) as server:
        kept.append(await http_client().ws("127.0.0.1", server.port, "/").discard().connect())
        kept.append(asyncio.create_task(server.close()))

async def test_an_error_that_nobody_has_heard({net}):
    asyncio.get_running_loop().create_future().set_exception(ValueError("unheard"))

async def test_nothing({net}):
    await asyncio.sleep(0)
"""


def test_every_test_over_sockets_is_asked_what_it_leaves() -> None:
    unasked = []
    for path in sorted(NET.glob("test_*.py")):
        text = path.read_text()
        if "nothing_leaks" in text or path.name in ELSEWHERE:
            continue
        unasked += [
            f"{path.name}: {one.name}"
            for one in ast.parse(text).body
            if isinstance(one, ast.AsyncFunctionDef)
            and one.name.startswith("test_")
            and not {"net", "plain"} & {argument.arg for argument in one.args.args}
        ]
    assert unasked == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("looks", "net"), [("from support import nothing_leaks", ""), ("", "plain")], ids=["nothing_leaks", "net"]
)
def test_what_stays_fails_a_test(looks: str, net: str, tmp_path: Path) -> None:
    path = tmp_path / "test_planted.py"
    path.write_text(PLANTED.format(looks=looks, net=net))
    pytest_of_it = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-q", "-rA", str(path)]
    said = subprocess.run(
        [*pytest_of_it, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (NET, ROOT / "tests", ROOT)))},
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    ).stdout  # fmt: skip
    found = set(re.findall(r"^(?:ERROR|FAILED) test_planted\.py::test_(\w+)\[(\w+)", said, re.M))
    names = set(re.findall(r"async def test_(\w+)", PLANTED)) - {"nothing"}
    expected = {(name, loop) for name in names for loop in ("uvloop", "asyncio")}
    # uvloop's loop shows nobody what it is to call later; asyncio's does, and each test runs on both.
    assert found == expected - {("a_handle", "uvloop")}, said
