"""An echo server: every message goes back as it came. ``python examples/echo_server.py [port]``"""

import sys

from firefly_ws import http_server

port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090

server = (
    http_server()
    .origins("*")  # it is there to test other people's clients, also their pages
    .websocket("/")
    .on_message(lambda frame, connection: connection.send(frame))
    .listen("127.0.0.1", port)
)
print(f"echo at ws://127.0.0.1:{server.port}/, Ctrl-C ends it", flush=True)
