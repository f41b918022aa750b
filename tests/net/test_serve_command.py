"""`firefly-ws serve` in processes of its own: one or several, their end, their renewal, and sockets handed over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from command import Command
from http_support import request
from support import CLOSE, TEXT, RawPeer, close_frame, frame, raw_client, upgrade

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

_Command = TypeVar("_Command", bound=Command)

LIMIT = 60.0  # seconds: nothing takes so long, but where something hangs

CHAT = """
import asyncio, os, pathlib
from firefly_ws import http_server
app = http_server().get("/", lambda request: f"{os.getpid()}")
route = app.websocket("/ws").on_text(lambda text, connection: connection.send(text))
async def make():
    return app
"""


class Serve(Command):
    """`serve` of a module in a directory, listening."""

    def __init__(self, directory: Path, *arguments: str, **options: Any) -> None:
        super().__init__("serve", *arguments, cwd=directory, limit=LIMIT, alone=False, **options)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().rstrip("\n")
        found = re.search(r":(\d+)/", self.said)
        self.port = int(found[1]) if found else 0

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send it a signal, and wait for its end."""
        self.process.send_signal(number)
        return self.end()


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    return tmp_path


@contextmanager
def ending(one: _Command) -> Iterator[_Command]:
    """*one*, killed at the end if it still runs."""
    try:
        yield one
    finally:
        if one.process.returncode is None:
            one.kill()
            one.end()


def free_ports(count: int) -> int:
    """The first of so many that nobody has; below those that the system gives away by itself."""
    for first in random.sample(range(15000, 30000), 100):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no port is free")


async def pid(port: int) -> int:
    """Of the process that answers a new connection."""
    async with raw_client(port) as peer:
        peer.send(request(connection="close"))
        async with asyncio.timeout(LIMIT):  # where a worker has died, it waits for the next one
            return int((await peer.reader.read()).rpartition(b"\r\n\r\n")[2])


async def lost(peer: RawPeer) -> None:
    """The other end has gone, one way or the other."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(LIMIT):
            await peer.reader.read()


async def made(path: Path) -> None:
    """The other process has got as far as to make it."""
    async with asyncio.timeout(LIMIT):
        while not path.exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)


async def pids(port: int, count: int) -> set[int]:
    """So many processes that answer."""
    found: set[int] = set()
    async with asyncio.timeout(LIMIT):
        while len(found) < count:
            found.add(await pid(port))
    return found


def test_it_serves_a_builder_until_a_signal_closes_its_connections(chat: Path) -> None:
    with ending(Serve(chat, "chat:make", "--port", "0")) as serve:
        assert serve.said == f"serving chat:make on http://127.0.0.1:{serve.port}/"

        async def talk() -> None:
            async with raw_client(serve.port) as peer:
                peer.send(upgrade("/ws"))
                assert (await peer.head()).status == 101
                peer.send(frame(TEXT, "here"))
                assert await peer.frame() == (0x80 | TEXT, b"here")
                serve.process.send_signal(signal.SIGTERM)
                assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe9")
                peer.send(close_frame(1001))
                assert await peer.rest() == b""

        asyncio.run(talk())
        assert serve.end() == (0, "", "")


def test_sighup_tells_clients_of_a_restart_and_ends_within_the_grace(chat: Path) -> None:
    with ending(Serve(chat, "chat:route", "--path", "here.sock", "--grace", "0.1")) as serve:
        assert serve.said == "serving chat:route on unix:here.sock"
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(LIMIT)
        with sock:
            sock.connect(str(chat / "here.sock"))
            sock.sendall(upgrade("/ws"))
            assert b" 101 " in sock.recv(4096)
            serve.process.send_signal(signal.SIGHUP)
            assert sock.recv(4096) == b"\x88\x02\x03\xf4"
            assert serve.end() == (0, "", ""), "without a word from the client"
        assert not (chat / "here.sock").exists()


def test_workers_share_a_port_and_end_with_their_supervisor(chat: Path) -> None:
    with (
        told(chat) as (notify, said),
        ending(Serve(chat, "chat:app", "--port", "0", "--workers", "2", NOTIFY_SOCKET=str(notify))) as serve,
    ):
        assert serve.said == f"serving chat:app on http://127.0.0.1:{serve.port}/ with 2 workers"
        workers = asyncio.run(pids(serve.port, 2))
        assert serve.process.pid not in workers
        assert said() == "READY=1"
        assert serve.stop(signal.SIGINT) == (0, "", "")
        assert said() == "STOPPING=1"
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_signal_while_it_begins_ends_it_too(chat: Path) -> None:
    with (chat / "chat.py").open("a") as module:
        module.write("async def never():\n    pathlib.Path('begun').touch()\n    await asyncio.Event().wait()\n")
    for workers in ([], ["--workers", "1"]):
        arguments = ("serve", "chat:never", "--port", "0", *workers)
        with ending(Command(*arguments, cwd=chat, limit=LIMIT, alone=False)) as command:
            asyncio.run(made(chat / "begun"))
            command.process.send_signal(signal.SIGTERM)
            code, said, errors = command.end()
        assert (code, said) == (0, ""), workers
        assert "Traceback" not in errors
        (chat / "begun").unlink()


def test_a_second_signal_ends_workers_whose_clients_take_their_time(chat: Path) -> None:
    with ending(Serve(chat, "chat:app", "--port", "0", "--workers", "1", "--grace", "1000")) as serve:

        async def talk() -> None:
            async with raw_client(serve.port) as peer:
                peer.send(upgrade("/ws"))
                assert (await peer.head()).status == 101
                serve.process.send_signal(signal.SIGTERM)
                assert await peer.frame() == (0x80 | CLOSE, b"\x03\xe9")
                serve.process.send_signal(signal.SIGTERM)
                await lost(peer)

        asyncio.run(talk())
        code, said, errors = serve.end()
    assert (code, said) == (0, "")
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_worker_that_is_stuck_is_killed(chat: Path) -> None:
    with (chat / "chat.py").open("a") as module:
        module.write('import time\napp.get("/stuck", lambda request: [open("stuck", "w").close(), time.sleep(1000)])\n')
    with ending(Serve(chat, "chat:app", "--port", "0", "--workers", "1", "--grace", "0")) as serve:

        async def ask() -> None:
            async with raw_client(serve.port) as peer:
                peer.send(request(path="/stuck"))
                await made(chat / "stuck")
                serve.process.send_signal(signal.SIGTERM)
                await lost(peer)

        asyncio.run(ask())
        assert serve.end() == (0, "", "firefly-ws: 1 worker did not end in time: killed\n")


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_all_end_when_the_supervisor_is_killed(chat: Path) -> None:
    with ending(Serve(chat, "chat:app", "--port", "0", "--workers", "2")) as serve:

        async def kill() -> int:
            one, other = await pids(serve.port, 2)
            os.kill(one, signal.SIGKILL)
            while one in (workers := await pids(serve.port, 2)):
                pass
            assert other in workers
            serve.process.kill()
            async with asyncio.timeout(LIMIT):
                while any(Path(f"/proc/{worker}").exists() for worker in workers):  # noqa: ASYNC110, ASYNC240
                    await asyncio.sleep(0.01)
            return one

        one = asyncio.run(kill())
        assert re.fullmatch(
            rf"firefly-ws: worker [12] \(process {one}\) has ended: SIGKILL; another takes its place\n", serve.end()[2]
        )


def test_what_is_wrong_with_the_module_is_said_once_and_1(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text("import firefly_ws\nraise LookupError('of mine')\n")
    code, said, errors = Command("serve", "chat:app", "--port", "0", "--workers", "3", cwd=tmp_path).end()
    assert (code, said) == (1, "")
    assert errors.count("LookupError: of mine") == 1
    assert errors.splitlines()[1:2] == [f'  File "{tmp_path}/chat.py", line 2, in <module>']
    assert errors.splitlines()[-1] == "firefly-ws: chat cannot be imported"


def test_a_port_that_is_taken_is_one_line_and_1_with_workers_too(chat: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said, errors = Command("serve", "chat:app", f"--port={port}", "--workers=2", cwd=chat).end()
    assert (code, said) == (1, "")
    assert errors == f"firefly-ws: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_module_that_ends_the_process_is_said_too(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text("import os\nos._exit(3)\n")
    code, said, errors = Serve(tmp_path, "chat:app", "--port", "0", "--workers", "2").end()
    assert (code, said) == (1, "")
    assert errors == "firefly-ws: the first worker has ended before it served: exit code 3\n"


@pytest.mark.slow
def test_a_worker_that_fails_again_and_again_is_given_up(chat: Path) -> None:
    with (chat / "chat.py").open("a") as module:
        module.write('app.get("/die", lambda request: os._exit(3))\n')
    with ending(Serve(chat, "chat:app", "--port", "0", "--workers", "1")) as serve:

        async def kill() -> None:
            """Each waits for the next worker where the one before has died."""
            async with asyncio.timeout(LIMIT):
                while True:
                    async with raw_client(serve.port) as peer:
                        peer.send(request(path="/die"))
                        await lost(peer)

        with contextlib.suppress(OSError):
            asyncio.run(kill())
        code, said, errors = serve.end()
    assert (code, said) == (1, "")
    assert errors.count("has ended: exit code 3; another takes its place") >= 4
    assert errors.rstrip().endswith("giving up, for it was the 5th here that did not serve for 5 s")


# --- hand-over


AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=f"{os.getpid()}", LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def told(directory: Path) -> Iterator[tuple[Path, Callable[[], str]]]:
    """A socket as systemd's for what services say about themselves, and what gives the first line of what came."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(LIMIT)
        sock.bind(str(directory / "notify"))
        yield directory / "notify", lambda: sock.recv(4096).decode().splitlines()[0]


def activated(sock: socket.socket) -> dict[str, Any]:
    """Options of a command that is begun with a listening socket."""
    return {
        "before": [sys.executable, "-ISc", AS_SYSTEMD, f"{sock.fileno()}"],
        "pass_fds": [sock.fileno()],
    }


class Load:
    """Clients that connect without a pause; none may be refused, or lost before its handshake is done."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._enough = False
        self.served = 0

    async def _one(self) -> None:
        while not self._enough:
            async with raw_client(self._port) as peer:
                peer.send(upgrade("/ws"))
                async with asyncio.timeout(LIMIT):
                    assert b" 101 " in await peer.reader.readuntil(b"\r\n\r\n")
                self.served += 1

    async def during(self, change: Callable[[], Awaitable[None]]) -> None:
        """Connect while *change* happens, and a little longer."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(self._one())
            await self.more()
            await change()
            await self.more()
            self._enough = True

    async def more(self, count: int = 50) -> None:
        """Return when so many more have been served."""
        until = self.served + count
        async with asyncio.timeout(LIMIT):
            while self.served < until:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.mark.slow
def test_sighup_renews_all_workers_and_no_connection_is_refused(chat: Path) -> None:
    with ending(Serve(chat, "chat:app", "--port", "0", "--workers", "2")) as serve:

        async def change() -> None:
            before = await pids(serve.port, 2)
            for _ in range(2):
                serve.process.send_signal(signal.SIGHUP)
                assert await asyncio.to_thread(serve.line) == "renewed 2 workers"
                after = await pids(serve.port, 2)
                assert not before & after
                before = after
            (chat / "chat.py").write_text("1 / 0")
            serve.process.send_signal(signal.SIGHUP)
            assert serve.process.stderr is not None
            async with asyncio.timeout(LIMIT):
                while "the old ones stay" not in await asyncio.to_thread(serve.process.stderr.readline):
                    pass
            assert await pids(serve.port, 2) == before

        asyncio.run(Load(serve.port).during(change))
        code, said, _ = serve.stop()
        assert (code, said) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["handed over", "reuse_port"])
def test_a_new_process_takes_over_and_no_connection_is_refused(chat: Path, how: str) -> None:
    sock = socket.create_server(("127.0.0.1", 0), backlog=4096, reuse_port=how == "reuse_port")
    port = sock.getsockname()[1]
    options: dict[str, Any] = {}
    if how == "handed over":
        arguments: list[str] = []
        options = activated(sock)
    else:
        arguments = ["--port", str(port), "--reuse-port"]
    with contextlib.ExitStack() as stack:

        async def begin() -> Serve:
            return stack.enter_context(ending(await asyncio.to_thread(Serve, chat, "chat:app", *arguments, **options)))

        async def change() -> None:
            old = first
            for _ in range(2):
                new = await begin()
                assert new.port == port
                assert await asyncio.to_thread(old.stop) == (0, "", "")
                assert await pids(port, 1) != {old.process.pid}
                old = new
            olds.append(old)

        async def run() -> None:
            await Load(port).during(change)

        olds: list[Serve] = []
        first = asyncio.run(begin())
        if how == "reuse_port":
            sock.close()  # it only kept the number
        asyncio.run(run())
        assert olds[0].stop() == (0, "", "")
        sock.close()


def test_a_socket_unit_of_systemd_is_taken_up_without_arguments(chat: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        socket.create_connection(sock.getsockname(), LIMIT) as early,
        told(chat) as (notify, said),
    ):
        early.sendall(request(connection="close"))
        with ending(Serve(chat, "chat:app", **activated(sock), NOTIFY_SOCKET=str(notify))) as serve:
            assert serve.port == sock.getsockname()[1]
            assert said() == "READY=1"
            assert b" 200 OK" in early.recv(65536), "who came before the server was begun"
            assert serve.stop() == (0, "", "")
        with socket.create_connection(sock.getsockname(), LIMIT):
            pass  # and who comes behind it waits for the next one


def test_what_is_no_listening_socket_is_one_line(chat: Path) -> None:
    code, said, errors = Command("serve", "chat:app", "--fd", "77", cwd=chat).end()
    assert (code, said, errors) == (1, "", "firefly-ws: --fd 77: Bad file descriptor\n")


@pytest.mark.slow
def test_each_worker_has_its_page_for_prometheus_at_a_port_of_its_own(chat: Path) -> None:
    pytest.importorskip("prometheus_client")
    first = free_ports(2)
    arguments = ("--port", "0", "--workers", "2", "--metrics-port", str(first))
    with ending(Serve(chat, "chat:app", *arguments)) as serve:

        async def counts() -> list[int]:
            """HTTP requests answered, by each worker."""
            found = []
            for port in (first, first + 1):
                async with raw_client(port) as peer:
                    peer.send(request(path="/metrics", connection="close"))
                    async with asyncio.timeout(LIMIT):
                        page = (await peer.reader.read()).decode()
                numbers = re.findall(r'^firefly_ws_http_requests_total.*"GET".* (\S+)$', page, re.M)
                found.append(sum(int(float(one)) for one in numbers))
            return found

        async def once_more() -> None:
            before = await counts()
            await pid(serve.port)
            # Each page has counted its own scrape meanwhile, and one worker the request.
            assert sorted(new - old for new, old in zip(await counts(), before, strict=True)) == [1, 2]

        asyncio.run(once_more())
        serve.process.send_signal(signal.SIGHUP)
        assert serve.line() == "renewed 2 workers"
        asyncio.run(once_more())
        assert serve.stop() == (0, "", "")


@pytest.mark.slow
def test_a_port_for_prometheus_that_is_taken_is_one_line_and_1(chat: Path) -> None:
    pytest.importorskip("prometheus_client")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        for workers in ([], ["--workers", "1"]):
            with ending(Serve(chat, "chat:app", "--port", "0", "--metrics-port", number, *workers)) as serve:
                code, _, errors = serve.end()
            assert code == 1
            assert errors.startswith(f"firefly-ws: --metrics-port {number}: cannot listen on 127.0.0.1:{number}")
            assert errors.count("\n") == 1
