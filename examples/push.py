"""News that nobody has to ask for: who is connected gets what is typed here, and is told who else comes and goes.

``python examples/push.py [port]``, then any websocket clients at ``ws://127.0.0.1:8090/news?name=ada``. A line typed
here goes to all, ``@ada your order is ready`` to one; Ctrl-D closes with "shutting down for maintenance".
"""

import sys
from contextlib import suppress

from firefly_ws import CloseCode, ConnectionClosed, http_server

present = {}


def tell_all(text):
    for connection in present.values():
        with suppress(ConnectionClosed):  # it is leaving, or was too slow and has just been sent away
            connection.send_text(text)


def on_open(connection):
    connection.attributes["name"] = name = connection.request.query.get("name", f"guest {connection.id}")
    tell_all(f"{name} has logged in")
    present[name] = connection


def on_close(connection, reason):
    name = connection.attributes["name"]
    if present.get(name) is connection:
        del present[name]
        tell_all(f"{name} has left")


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090
server = (
    http_server()
    .websocket("/news")
    .slow_consumer("close")
    .on_open(on_open)
    .on_close(on_close)
    .discard()
    .listen("127.0.0.1", port)
)
print(f"news at ws://127.0.0.1:{server.port}/news, Ctrl-D ends it", flush=True)

# The connections live on the library's thread, and this is another one.
for line in sys.stdin:
    name, _, text = line.strip().removeprefix("@").partition(" ")
    if not line.startswith("@"):
        for connection in list(present.values()):
            connection.threadsafe.send_text(line.strip())
    elif name in present:
        present[name].threadsafe.send_text(text)
    else:
        print(f"{name} is not here", flush=True)
server.close(CloseCode.GOING_AWAY, "shutting down for maintenance")
