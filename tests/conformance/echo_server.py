"""The server that Autobahn examines: the library as it is, with larger limits and nothing else changed.

Prints its port once it listens; SIGTERM ends it.
"""

from __future__ import annotations

from firefly_ws import Frame, WebSocketConnection, http_server

MIB = 1024 * 1024


def echo(frame: Frame, connection: WebSocketConnection) -> object:
    return connection.send(frame)


server = (
    http_server()
    .websocket("/")
    .max_message_size(32 * MIB)
    .max_queue((None, 32 * MIB))
    .extensions(["permessage-deflate"])
    .on_message(echo)
    .listen("127.0.0.1", 0)
)
print(server.port, flush=True)
