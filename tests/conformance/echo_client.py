"""The client that Autobahn examines: the library as it is, with larger limits and nothing else changed.

Called with the fuzzing server's URL and the name to stand in its report.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import firefly_ws
from firefly_ws import Frame, WebSocketConnection, WebSocketException, http_client

MIB = 1024 * 1024


def echo(frame: Frame, connection: WebSocketConnection) -> object:
    return connection.send(frame)


def examined(url: str) -> Any:
    return (
        http_client()
        .websocket(url)
        .max_message_size(32 * MIB)
        .max_queue((None, 32 * MIB))
        .extensions(["permessage-deflate"])
    )


async def main() -> None:
    url, agent = sys.argv[1].rstrip("/"), quote(sys.argv[2])
    answers: list[str] = []
    connection = await examined(f"{url}/getCaseCount").on_text(lambda text, _: answers.append(text)).connect()
    await connection.wait_closed()
    for number in range(1, int(answers[0]) + 1):
        try:
            connection = await examined(f"{url}/runCase?case={number}&agent={agent}").on_message(echo).connect()
            await connection.wait_closed()
        except WebSocketException as error:  # the report tells what came of the case
            print(f"case {number}: {error!r}", file=sys.stderr)
    connection = await examined(f"{url}/updateReports?agent={agent}").on_message(echo).connect()
    await connection.wait_closed()


firefly_ws.run(main)
