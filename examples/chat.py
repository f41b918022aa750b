"""A chat: whoever connects to /room/NAME reads what the others of that room write, and who comes and goes.

``python examples/chat.py [port]``, then any websocket client at ``ws://127.0.0.1:8090/room/garden?name=ada``.
"""

import sys
from collections import defaultdict
from contextlib import suppress

from firefly_ws import ConnectionClosed, http_server

rooms = defaultdict(set)


def say(connection, text):
    for member in rooms[connection.path_params["name"]]:
        if member is not connection:
            with suppress(ConnectionClosed):  # it is leaving, or was too slow and has just been sent away
                member.send_text(text)


def name_of(connection):
    return connection.request.query.get("name", f"guest {connection.id}")


def on_open(connection):
    rooms[connection.path_params["name"]].add(connection)
    connection.send_text(f"welcome, {name_of(connection)}")
    say(connection, f"{name_of(connection)} came in")


def on_text(text, connection):
    say(connection, f"{name_of(connection)}: {text}")


def on_close(connection, reason):
    members = rooms[connection.path_params["name"]]
    members.discard(connection)
    say(connection, f"{name_of(connection)} left")
    if not members:
        del rooms[connection.path_params["name"]]


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090
server = (
    http_server()
    .websocket("/room/{name}")
    .max_message_size(4096)
    .slow_consumer("close")
    .on_open(on_open)
    .on_text(on_text)
    .on_close(on_close)
    .listen("127.0.0.1", port)
)
print(f"chat at ws://127.0.0.1:{server.port}/room/garden, Ctrl-C ends it", flush=True)
