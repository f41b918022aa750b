"""The fixtures of the pytest plugin, in a pytest of their own, as a user's tests have them."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from firefly_ws.testing import plugin

ROOT = Path(__file__).parent.parent.parent
TESTS = """
import ssl
import pytest
from firefly_ws import http_client, http_server
from firefly_ws.testing import listen_in_memory

ended = []
seen = []

def echo():
    return (
        http_server().websocket("/echo").on_text(lambda text, connection: connection.send(text))
        .on_close(lambda connection, reason: ended.append((connection.server, reason.code)))
    )

MARK
async def test_a_connection_over_a_socket(firefly_server, firefly_client):
    server = await firefly_server(echo())
    assert server.port
    connection = await firefly_client(server, "/echo")
    assert await connection.ping() >= 0
    seen.append(server)

MARK
async def test_both_were_closed_and_the_client_first(firefly_server):
    (server,) = seen
    assert not server.is_listening
    assert ended == [(server, 1000)]

MARK
async def test_a_connection_over_a_socket_that_is_asked_for_first(firefly_client, firefly_server):
    ended.clear()
    await firefly_client(firefly_server(echo()), "/echo")  # which awaits the server

MARK
async def test_it_is_closed_first_all_the_same():
    ((_, code),) = ended
    assert code == 1000

MARK
async def test_urls_builders_and_servers_in_memory(firefly_server, firefly_client):
    server = await firefly_server(echo(), "localhost")
    url = f"ws://localhost:{server.port}/echo"
    assert (await firefly_client(url)).url == url
    assert (await firefly_client(http_client().websocket(url).bearer("x"))).request.headers["authorization"]
    async with listen_in_memory(echo()) as memory:
        assert (await firefly_client(memory, "/echo")).is_open

MARK
async def test_unix_sockets(firefly_server, firefly_client, tmp_path):
    server = await firefly_server(echo(), path=tmp_path / "socket")
    with pytest.raises(ValueError, match="no TCP port"):
        await firefly_client(server)

MARK
async def test_bad_arguments(firefly_server, firefly_client):
    with pytest.raises(TypeError, match="server=1"):
        firefly_server(1)
    with pytest.raises(TypeError, match="to=1"):
        await firefly_client(1)
    for to in ("ws://x/", http_client().ws("x")):
        with pytest.raises(ValueError, match="'/other' goes with a Server"):
            await firefly_client(to, "/other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure = await firefly_server(http_server().secure(context).websocket("/").discard())
    with pytest.raises(ValueError, match="speaks TLS.*wss"):
        await firefly_client(secure)

MARK
async def test_a_silent_peer_does_not_hold_the_end(firefly_server, firefly_client):
    server = await firefly_server(echo().close_timeout(None))
    connection = await firefly_client(http_client().websocket("127.0.0.1", server.port, "/echo").close_timeout(None))
    (accepted,) = server.connections
    accepted.pause_reading()
"""


def run(directory: Path, code: str, *options: str, before: str = "", **environment: str) -> str:
    (directory / "test_mine.py").write_text(code)
    (directory / "pytest.ini").write_text(INI if "--asyncio-mode" in options else "[pytest]\n")
    main = f"import sys\n{before}\nimport pytest\nsys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", main, "-q", "-W", "error", "-p", "no:cacheprovider", *options, directory],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=directory,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), **environment},
    )
    return done.stdout + done.stderr


INI = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
PLUGIN = ("-p", "firefly_ws.testing.plugin")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_fixtures_work_with_pytest_asyncio(tmp_path: Path, mode: str) -> None:
    code = TESTS.replace("MARK", "@pytest.mark.asyncio" if mode == "strict" else "")
    said = run(tmp_path, code, "-p", "pytest_asyncio.plugin", *PLUGIN, "--asyncio-mode", mode)
    assert "8 passed" in said, said


@pytest.mark.slow
def test_the_fixtures_work_with_anyio_alone(tmp_path: Path) -> None:
    code = TESTS.replace("MARK", "@pytest.mark.anyio")
    code += "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    said = run(tmp_path, code, "-p", "anyio.pytest_plugin", *PLUGIN, before="sys.modules['pytest_asyncio'] = None")
    assert "8 passed" in said, said


@pytest.mark.parametrize("first", ["anyio.pytest_plugin", "pytest_asyncio.plugin"])
@pytest.mark.slow
def test_a_test_of_anyios_has_them_beside_pytest_asyncio_whichever_was_loaded_first(tmp_path: Path, first: str) -> None:
    other = {"anyio.pytest_plugin": "pytest_asyncio.plugin", "pytest_asyncio.plugin": "anyio.pytest_plugin"}[first]
    code = TESTS.split("async def test_both")[0].replace("MARK", "@pytest.mark.anyio").rpartition("@")[0]
    code += "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    code += "\n@pytest.mark.asyncio\nasync def test_of_the_others(firefly_server, firefly_client):\n"
    code += "    assert (await firefly_client(firefly_server(echo()), '/echo')).is_open\n"
    said = run(tmp_path, code, "-p", first, "-p", other, *PLUGIN, "--asyncio-mode", "strict")
    assert "2 passed" in said, said


def test_what_anyio_runs_takes_the_arguments_that_an_older_pytest_asyncio_adds() -> None:
    for plain, needs in ((plugin._servers, {}), (plugin._clients, {"firefly_server": None})):
        inspect.signature(plain).bind(**needs, request=None, event_loop=None)


def test_without_asyncio_they_say_what_they_need() -> None:
    for fixture, name in ((plugin.Servers, "firefly_server"), (plugin.Clients, "firefly_client")):
        with pytest.raises(RuntimeError, match=f"{name} needs asyncio.*anyio_backend"):
            fixture()


@pytest.mark.slow
def test_a_test_on_another_loop_than_its_fixture_is_told_so(tmp_path: Path) -> None:
    code = TESTS.replace("MARK", "").split("async def")[0] + (
        "@pytest.mark.asyncio(loop_scope='module')\n"
        "async def test_other(firefly_server, firefly_client):\n"
        "    with pytest.raises(RuntimeError, match='another event loop'):\n"
        "        firefly_server(echo())\n"
        "    with pytest.raises(RuntimeError, match='another event loop'):\n"
        "        await firefly_client('ws://x/')\n"
    )
    said = run(tmp_path, code, "-p", "pytest_asyncio.plugin", *PLUGIN, "--asyncio-mode", "auto")
    assert "1 passed" in said, said


@pytest.mark.slow
def test_pytest_finds_the_plugin_where_the_package_is_installed(tmp_path: Path) -> None:
    """What an installer writes, beside the checkout: its metadata, with the entry point."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "installed" / "firefly_ws-0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: firefly-ws\nVersion: 0.0\n")
    ((name, module),) = project["entry-points"]["pytest11"].items()
    (metadata / "entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n")
    said = run(
        tmp_path, TESTS.replace("MARK", ""), "--asyncio-mode", "auto",
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="", PYTHONPATH=f"{metadata.parent}:{ROOT}",
    )  # fmt: skip
    assert "8 passed" in said, said


def test_the_documented_tests_pass(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "testing.md").read_text(), re.M | re.S)
    code = "\n".join(block for block in blocks if "firefly_server" in block)
    said = run(tmp_path, code, "-p", "pytest_asyncio.plugin", *PLUGIN, "--asyncio-mode", "auto")
    assert "2 passed" in said, said


def test_nothing_but_the_plugin_loads_pytest() -> None:
    code = "import sys, firefly_ws.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
