"""uvicorn's servers: one Starlette echo with each of its websocket classes and with ours, or a bare ASGI answer."""

import asyncio
import contextlib
import warnings
from typing import Any

LARGEST = 32 * 1024 * 1024
CLASSES = {"firefly": "firefly_ws.asgi:WebSocketProtocol", "sansio": "websockets-sansio"}
"""Of the variants; the others are uvicorn's own names."""


async def hello(scope: Any, receive: Any, send: Any) -> None:
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b"Hello, World!"})


def echoing() -> Any:
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return Starlette(routes=[WebSocketRoute("/", echo)])


async def start(variant: str) -> int:
    """`http`: the bare ASGI answer; `firefly`, `websockets`, `sansio`, `wsproto`: who does the websockets."""
    import uvicorn

    plain = variant == "http"
    options = {} if plain else {"ws": CLASSES.get(variant, variant)}
    config = uvicorn.Config(
        hello if plain else echoing(), port=0, http="httptools", lifespan="off", access_log=False, log_level="error",
        server_header=False, ws_max_size=LARGEST, ws_ping_interval=None, ws_per_message_deflate=False, backlog=4096,
        **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a peer has deprecated is measured all the same
        config.load()
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # they are the runner's
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.wait({running}, timeout=0.01)
        if running.done():
            running.result()
            raise RuntimeError("uvicorn has ended")
    return int(server.servers[0].sockets[0].getsockname()[1])
