"""websockets' echo server (its asyncio implementation) on uvloop: pings, compression and the queue's bound off."""

from websockets.asyncio.server import ServerConnection, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

LARGEST = 32 * 1024 * 1024


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def start(variant: str) -> int:
    """`deflate`: its own default compression; `deflate1`: the same at zlib's fastest level."""
    extensions = []
    if variant.startswith("deflate"):
        # What `compression="deflate"` builds, plus the level.
        settings = {"memLevel": 5} | ({"level": 1} if variant == "deflate1" else {})
        extensions.append(
            ServerPerMessageDeflateFactory(
                server_max_window_bits=12, client_max_window_bits=12, compress_settings=settings
            )
        )
    server = await serve(
        echo,
        "127.0.0.1",
        0,
        compression=None,
        extensions=extensions,
        ping_interval=None,
        open_timeout=None,
        max_queue=None,
        max_size=LARGEST,
        backlog=4096,
    )
    return int(next(iter(server.sockets)).getsockname()[1])
