"""`python -m benchmarks.attacks.servers LIBRARY VARIANT`: an echo server with its library's defaults, to be attacked.

Variants: `plain`; `tls`; `http`, with a GET and a POST; `keepalive`, which pings every second; `few`, with 64 open
files. Prints its port and ends with its stdin. Knows no attack.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import logging
import os
import resource
import signal
import ssl
import sys
import tempfile
from typing import Any

import uvloop

FEW = 64  # open files


def context() -> ssl.SSLContext:
    from firefly_ws.self_signed import self_signed

    pem, _ = self_signed(["127.0.0.1"])
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        made.load_cert_chain(file.name)
    return made


async def firefly(variant: str) -> int:
    from firefly_ws import Request, http_server

    async def upload(request: Request) -> str:
        return str(len(await request.body()))

    app = http_server()
    if variant == "tls":
        app.secure(context())
    if variant == "http":
        app.get("/hello", lambda request: "Hello, World!").post("/upload", upload)
    if variant == "keepalive":
        app.ping_interval(1).ping_timeout(1)
    server = await app.websocket("/").on_message(lambda frame, conn: conn.send(frame)).listen("127.0.0.1", 0)
    return int(server.port)


async def picows(variant: str) -> int:
    import picows

    class Echo(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            elif frame.msg_type == picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            elif frame.msg_type != picows.WSMsgType.PONG:
                transport.send(frame.msg_type, frame.get_payload_as_bytes(), frame.fin)

    server = await picows.ws_create_server(lambda request: Echo(), "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


async def websockets(variant: str) -> int:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    server = await serve(echo, "127.0.0.1", 0, ssl=context() if variant == "tls" else None)
    return int(next(iter(server.sockets)).getsockname()[1])


async def aiohttp(variant: str) -> int:
    from aiohttp import web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        sock = web.WebSocketResponse()
        await sock.prepare(request)
        async for message in sock:
            if message.type == web.WSMsgType.TEXT:
                await sock.send_str(message.data)
            elif message.type == web.WSMsgType.BINARY:
                await sock.send_bytes(message.data)
        return sock

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="Hello, World!")

    async def upload(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = web.Application()
    app.router.add_get("/", echo)
    app.router.add_get("/hello", hello)
    app.router.add_post("/upload", upload)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context() if variant == "tls" else None)
    await site.start()
    return int(runner.addresses[0][1])


async def serve(library: str, variant: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    os.set_blocking(0, False)
    loop.add_reader(0, lambda: stop.set() if not os.read(0, 64) else None)
    port = await {"firefly": firefly, "picows": picows, "websockets": websockets, "aiohttp": aiohttp}[library](variant)
    module = importlib.import_module("firefly_ws" if library == "firefly" else library)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = FEW if variant == "few" else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(json.dumps({"port": port, "version": str(module.__version__)}), flush=True)
    await stop.wait()
    os._exit(0)  # no farewell: what a library does at its end is not measured


def main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the runner
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(serve(*sys.argv[1:3]))


if __name__ == "__main__":
    main()
