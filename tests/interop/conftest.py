"""Where other people's WebSocket ends come from: npm's packages, and a browser; knows nothing of what is tested."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "net"))  # `support` and `certificates` serve here too

from certificates import Authority, Issued  # noqa: E402
from chromium import Chromium  # noqa: E402


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One loop: what differs between loops does not differ by the peer."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node, with the packages of `package-lock.json` beside the tests."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None:
        pytest.skip("node is not installed")
    installed, locked = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        if npm is None:
            pytest.skip("npm is not installed, to install the packages of tests/interop/package.json")
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("npm ci took longer than two minutes")
        if done.returncode:
            pytest.skip(f"npm ci failed: {done.stderr.strip()[-300:]}")
    return found


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """For localhost and 127.0.0.1."""
    return Authority(tmp_path_factory.mktemp("authority")).issue("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def chromium(certificate: Issued, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser without a window, which trusts `certificate`."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("chromium is not installed")
    browser = Chromium(path, tmp_path_factory.mktemp("chromium"), trusted=certificate.certificate)
    yield browser
    browser.end()
