"""An echo server that asks for its messages, and closes on "bye". ``python examples/pull_echo.py [port]``"""

import sys

from firefly_ws import CloseReason, TextFrame, http_server

port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090


async def echo(connection):
    async for frame in connection.incoming:
        match frame:
            case TextFrame(text):
                await connection.outgoing.send(TextFrame(f"YOU SAID: {text}"))
                if text.lower() == "bye":
                    await connection.close(CloseReason(1000, "Client said BYE"))


server = http_server().origins("*").websocket("/").handler(echo).listen("127.0.0.1", port)
print(f"echo at ws://127.0.0.1:{server.port}/, Ctrl-C ends it", flush=True)
