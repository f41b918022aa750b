"""An echo server as one object, in the manner of Kitura's services. ``python examples/service.py [port]``"""

import sys

from firefly_ws import CloseCode, CloseReason, WebSocketConnection, WebSocketService, http_server


class EchoService(WebSocketService):
    def __init__(self) -> None:
        self.connections: dict[int, WebSocketConnection] = {}

    def connected(self, connection: WebSocketConnection) -> None:
        self.connections[connection.id] = connection
        connection.send(f"you are one of {len(self.connections)}")

    def received(self, message: str | bytes, connection: WebSocketConnection) -> object:
        match message:
            case "close":
                connection.close(CloseCode.NORMAL, "Closing by request")
            case "drop":
                connection.drop(CloseCode.GOING_AWAY, "dropped by request")
            case "ping":
                return self.ping(connection)
            case _:
                return connection.send(message)
        return None

    async def ping(self, connection: WebSocketConnection) -> None:
        await connection.ping("are you there")
        connection.send("you are")

    def disconnected(self, connection: WebSocketConnection, reason: CloseReason) -> None:
        del self.connections[connection.id]


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090
server = http_server().websocket("/").service(EchoService()).listen("127.0.0.1", port)
print(f"echo service at ws://127.0.0.1:{server.port}/, Ctrl-C ends it", flush=True)
