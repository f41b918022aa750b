"""The supervisor of workers and what it says, without a process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from firefly_ws.cli import notify, supervising, worker
from firefly_ws.cli.supervising import Supervisor, places

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are for POSIX")


class Full:
    """A machine without room for a process, until it has been asked three times; then its process ends at once."""

    def __init__(self) -> None:
        self.asked = 0
        self.ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.ready.set_result(None)
        self.ended = self.ready
        self.how = "SIGKILL"

    async def begin(self, *_: Any) -> Full:
        self.asked += 1
        if self.asked <= 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return self

    async def end(self, *_: Any) -> bool:
        return False


async def test_a_machine_without_room_for_a_process_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Full()
    monkeypatch.setattr(supervising, "Worker", full)
    monkeypatch.setattr(supervising, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(supervising, "STABLE", 0.003)
    supervisor = Supervisor("chat:app", [], [[]])
    assert await asyncio.wait_for(supervisor.run(), 10) == 1
    assert capsys.readouterr().err.splitlines() == [
        *(
            f"firefly-ws: worker 1 cannot be begun: Resource temporarily unavailable; trying again in {pause} s"
            for pause in (0.001, 0.002, 0.003)
        ),
        "firefly-ws: the first worker has ended before it served: SIGKILL",
    ]


def test_places_are_written_as_in_a_browser() -> None:
    for address, secure, place in (
        (("127.0.0.1", 80), False, "http://127.0.0.1:80/"),
        (("::1", 443, 0, 0), True, "https://[::1]:443/"),
        ("/run/chat.sock", True, "unix:/run/chat.sock"),
        (b"\0chat", False, "unix:@chat"),
    ):
        assert places([address], secure) == place


def test_an_ignored_signal_is_not_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN if number == signal.SIGHUP else None)
    assert not supervising.heeds("SIGHUP")
    assert supervising.heeds("SIGTERM")
    assert not supervising.heeds("SIGNONE")


def test_what_systemd_is_told_goes_to_its_socket_or_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, name in ((str(tmp_path / "notify"),) * 2, (f"\0firefly-{os.getpid()}", f"@firefly-{os.getpid()}")):
        if address[0] == "\0" and sys.platform != "linux":
            continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            sock.bind(address)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            notify.ready("serving")
            notify.reloading()
            notify.stopping()
            assert sock.recv(100) == b"READY=1\nSTATUS=serving"
            assert sock.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert sock.recv(100) == b"STOPPING=1"
    for nobody in (str(tmp_path / "gone"), "", "vsock:2:1234"):
        monkeypatch.setenv("NOTIFY_SOCKET", nobody)
        notify.ready("to nobody")


async def test_a_worker_gets_the_environment_but_for_what_was_for_its_supervisor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_HOST", "of the user's own")
    given: dict[str, Any] = {}

    async def create(*_: str, **options: Any) -> Any:
        given.update(options)
        raise BlockingIOError

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create)
    with pytest.raises(BlockingIOError):
        await worker.Worker.begin(["serve", "chat:app"], [])
    assert given["env"]["LISTEN_HOST"] == "of the user's own"
    assert "LISTEN_FDS" not in given["env"]
    assert int(given["env"][worker.CONTROL]) in given["pass_fds"]
