"""aiohttp's echo server on uvloop: compression and heartbeat off, payloads echoed as bytes without decoding text."""

from aiohttp import web

LARGEST = 32 * 1024 * 1024


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False, heartbeat=None, max_msg_size=LARGEST, decode_text=False)
    await socket.prepare(request)
    async for message in socket:
        await socket.send_frame(message.data, message.type)
    return socket


async def start(variant: str) -> int:
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    return runner.addresses[0][1]
