"""Files of any size as single messages, piece by piece in both directions, neither side ever holding one as a whole.

``python examples/send_file.py serve DIRECTORY [port]`` keeps what is sent to it;
``python examples/send_file.py FILE [url]`` sends a file, and tells what the server says of it.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from firefly_ws import http_server, run, ws

URL = "ws://127.0.0.1:8090"
PIECE = 64 * 1024


async def keep(connection, directory):
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
        async for piece in connection.receive_stream():
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    # Under its name only once all of it is here.
    os.replace(file.name, directory / os.path.basename(connection.path_params["name"]))
    await connection.send(f"{size} bytes, sha256 {digest.hexdigest()}")


async def send(path, url):
    async with ws(f"{url}/{quote(path.name)}").connect() as connection:
        with path.open("rb") as file:
            await connection.send_stream(iter(lambda: file.read(PIECE), b""), text=False)
        print(await connection.receive())


async def serve(directory, port):
    route = http_server().websocket("/{name}").handler(lambda connection: keep(connection, directory))
    async with route.listen("127.0.0.1", port) as server:
        print(f"files for {directory} at ws://127.0.0.1:{server.port}/, Ctrl-C ends it", flush=True)
        await server.wait_closed()


if sys.argv[1] == "serve":
    run(lambda: serve(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 8090))
else:
    run(lambda: send(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else URL))
