"""What runs the programs of the docs: it sees their end, their errors and all that they print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs

SERVER = """
import threading
from firefly_ws import http_server
server = http_server().websocket("/").discard().listen("127.0.0.1", 0)
print(__name__, __file__[-7:], server.is_listening, flush=True)
threading.Timer(0.01, server.close).start()
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with Programs(tmp_path_factory.mktemp("programs")) as programs:
        yield programs


def test_a_program_has_its_end_its_words_and_its_errors(programs: Programs, tmp_path: Path) -> None:
    for text, status, said, error in (
        ("print('fine')", 0, "fine\n", ""),
        ("1 / 0", 1, "", "ZeroDivisionError"),
        ("print(asyncio)", 1, "", "NameError"),
        ("raise SystemExit(7)", 7, "", ""),
        ("import warnings; warnings.warn('old', DeprecationWarning)", 1, "", "DeprecationWarning: old"),
        ("import os; os.kill(os.getpid(), 15)", -15, "", ""),
        ("import atexit; atexit.register(print, 'last'); input()", 1, "last\n", "EOFError"),
        (SERVER, 0, "__main__ file.py True\n", ""),
    ):
        program = tmp_path / "file.py"
        program.write_text(text)
        got = programs.run(program)
        assert got[:2] == (status, said), got
        assert error in got[2]
        assert bool(error) == bool(got[2]), got
        for name in ("file.out", "file.err"):
            (tmp_path / name).unlink()
