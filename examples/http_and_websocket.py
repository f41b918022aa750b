"""A wall on one port: a page, a websocket that tells every window of it what is new, and HTTP for programs.

``python examples/http_and_websocket.py [port]``, then open the page in two windows, or
``curl -d hello http://127.0.0.1:8090/wall``. Ctrl-C ends it.
"""

import sys
from contextlib import suppress

from firefly_ws import ConnectionClosed, Response, http_server

PAGE = """<!doctype html>
<title>Wall</title>
<form><input autofocus placeholder="say something"></form><ul></ul>
<script>
const socket = new WebSocket(location.href.replace(/^http/, "ws") + "wall"), input = document.querySelector("input")
const show = text => document.querySelector("ul").appendChild(document.createElement("li")).textContent = text
socket.onmessage = event => show(event.data)
document.querySelector("form").onsubmit = event => {
    event.preventDefault()
    socket.send(input.value)
    input.value = ""
}
</script>
"""

wall = []
windows = set()


def write(text):
    wall.append(text)
    for window in windows:
        with suppress(ConnectionClosed):  # it is closing, or was too slow and has just been sent away
            window.send(text)


async def post(request):
    write((await request.body()).decode(errors="replace"))
    return Response(201, {"written": len(wall)})


server = (
    http_server()
    .get("/", lambda request: Response(200, PAGE, content_type="text/html; charset=utf-8"))
    .get("/wall", lambda request: {"wall": wall})
    .post("/wall", post, max_body_size=1000)
    .websocket("/wall")
    .slow_consumer("close")
    .on_open(windows.add)
    .on_text(lambda text, window: write(text))
    .on_close(lambda window, reason: windows.discard(window))
    .listen("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8090)
)
print(f"wall at http://127.0.0.1:{server.port}/, Ctrl-C ends it", flush=True)
