"""`python -m benchmarks.servers NAME`: one echo server in this process; it prints its port and ends with its stdin."""

import asyncio
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

Start = Callable[[str], Awaitable[int]]

MODULES = {
    "firefly": "firefly_echo",
    "picows": "picows_echo",
    "websockets": "websockets_echo",
    "aiohttp": "aiohttp_echo",
    "uvicorn": "uvicorn_echo",
}
"""Names look like `library` or `library-variant`; the library's module gets the variant."""


async def serve(name: str) -> None:
    library, _, variant = name.partition("-")
    start: Start = importlib.import_module(f"benchmarks.servers.{MODULES[library]}").start
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    os.set_blocking(0, False)
    loop.add_reader(0, lambda: stop.set() if not os.read(0, 64) else None)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    port = await start(variant)
    print(json.dumps({"port": port}), flush=True)
    await stop.wait()
    # No farewell: the runner has finished with the connections, and what a library does at its end is not measured.
    os._exit(0)


def main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the runner
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(sys.argv[1]))


main()
