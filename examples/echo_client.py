"""Sends each argument to an echo server and prints what comes back. ``python examples/echo_client.py URL text …``"""

import asyncio
import sys

from firefly_ws import TextFrame, WebSocketConnectionException, http_client, run


async def main() -> None:
    url, *texts = sys.argv[1:] or ["ws://127.0.0.1:8090/", "Rock it with HTML5 WebSocket"]
    left = len(texts)
    answered = asyncio.Event()

    def on_message(frame, connection):
        nonlocal left
        match frame:
            case TextFrame(text):
                print(f"RECEIVED: {text}")
        left -= 1
        if left == 0:
            answered.set()

    async with http_client().websocket(url).on_message(on_message).connect() as connection:
        for text in texts:
            print(f"SENT: {text}")
            await connection.send(text)
        if texts:
            await answered.wait()


try:
    run(main)
except WebSocketConnectionException as error:
    sys.exit(f"{error}")
