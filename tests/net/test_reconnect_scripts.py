"""Programs whose connections are made again: plain scripts and `run`, and their ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from script import Start, scripts

BEGIN = """
import asyncio, logging, socket
from firefly_ws import *
from firefly_ws.runtime import submit
from small_server import say, say_ready
def echo_server():
    return http_server().websocket("/").on_message(lambda frame, connection: connection.send(frame))
with socket.socket() as sock:
    sock.bind(("127.0.0.1", 0))
    nobody = f"ws://127.0.0.1:{sock.getsockname()[1]}/"
# The next try is a day away.
hopeless = ws(nobody).discard().reconnect(base_delay=1e6, max_delay=1e6)
class Waiting(logging.Handler):
    def emit(self, record):
        if "failed, the next in" in record.getMessage():
            say("waiting")
logging.getLogger("firefly_ws").addHandler(Waiting())
logging.getLogger("firefly_ws").setLevel(logging.INFO)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
both_signals = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


@pytest.fixture
def start() -> Iterator[Start]:
    with scripts(BEGIN) as start:
        yield start


def test_a_script_lives_until_its_connection_is_closed_for_good(start: Start) -> None:
    script = start("""
        server = echo_server().listen("127.0.0.1", 0)
        turns = []
        async def talk(connection):
            turns.append(connection)
            say("turn", len(turns))
            if len(turns) < 3:
                connection.terminate()
            else:
                await connection.close()
        url = f"ws://127.0.0.1:{server.port}/"
        handle = ws(url).discard().reconnect(base_delay=0, max_delay=0).connect_async(talk)
        handle.add_done_callback(lambda handle: (say(handle.result() is turns[2]), server.close()))
    """)
    assert script.end() == (0, ["turn 1", "turn 2", "turn 3", "True"], "")


@both_signals
@pytest.mark.parametrize("end", ["connect()", "connect_async(say)"])
def test_a_signal_ends_a_script_that_waits_for_the_next_try(start: Start, number: int, end: str) -> None:
    script = start(f"""
        handle = hopeless.{end}
        submit(say_ready)
    """)
    script.until("waiting")
    if "ready" not in script.said:
        script.until("ready")
    script.signal(number)
    code, _, errors = script.end()
    assert (code, errors) == (0, "")


@both_signals
def test_a_signal_ends_a_run_that_goes_on_for_ever(start: Start, number: int) -> None:
    script = start("""
        async def main():
            async for connection in hopeless.forever():
                raise AssertionError("it opened")
            return "main has seen the end"
        say(run(main))
    """)
    script.until("waiting")
    script.signal(number)
    assert script.end() == (0, ["waiting", "main has seen the end"], "")


@both_signals
def test_a_signal_closes_the_connection_of_a_run_and_makes_no_other(start: Start, number: int) -> None:
    script = start("""
        async def main():
            route = http_server().websocket("/").on_close(lambda connection, reason: say(reason.code))
            server = await route.listen("127.0.0.1", 0)
            async for connection in ws(f"ws://127.0.0.1:{server.port}/").forever():
                say("open")
                await connection.wait_closed()
            return "main has seen the end"
        say(run(main))
    """)
    script.until("open")
    script.signal(number)
    code, said, errors = script.end()
    assert (code, said, errors) == (0, ["open", "1001", "main has seen the end"], "")
