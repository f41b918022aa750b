"""Firefly's program, line by line: a server and a client in one script, ten messages each, one a second."""

import asyncio
from datetime import datetime

from firefly_ws import DONE, Done, Frame, TextFrame, WebSocketConnection, http_client, http_server


def main() -> None:
    server = (
        http_server()
        .websocket("/websocket/hello")
        .on_message(lambda frame, _: on_message(frame))
        .on_accept_async(lambda connection: send_message("Server", connection))
        .listen("localhost", 8090)
    )

    url = "ws://localhost:8090"
    client = (
        http_client()
        .websocket(f"{url}/websocket/hello")
        .extensions(["permessage-deflate"])
        .on_message(lambda frame, _: on_message(frame))
        .connect_async(lambda connection: send_message("Client", connection))
    )
    # The one line added: when both sides have closed, nothing is left to listen for, and the script ends.
    client.add_done_callback(lambda _: server.close())


async def send_message(content: str, connection: WebSocketConnection) -> None:
    for number in range(1, 11):
        connection.send_text(f"{content}. message: {number}, time: {date()}")
        await asyncio.sleep(1)
    await connection.close_async()


def on_message(frame: Frame) -> Done:
    if isinstance(frame, TextFrame):
        print(frame.payload_as_utf8)
    return DONE


def date() -> str:
    return f"{datetime.now().astimezone():%a %b %d %H:%M:%S %Z %Y}"


main()
