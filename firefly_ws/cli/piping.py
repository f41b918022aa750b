"""`firefly-ws connect` in a pipe: lines become messages, messages become lines, and nothing else is on stdout.

How it ended is the one line on stderr.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from firefly_ws.codes import CloseCode
from firefly_ws.errors import ConnectionClosed

from .arguments import MISUSED, failed, say
from .endings import connected, exit_code, why_closed
from .show import hex_dump, plain
from .streams import LineTooLong, Output, lines

if TYPE_CHECKING:
    from firefly_ws.client_builder import WebSocketClient
    from firefly_ws.connection import WebSocketConnection

__all__ = ["pipe"]

# A control frame has at most 131 bytes. More than that in one wait is a message on its way, however slow.
_A_MESSAGE: Final = 256


async def pipe(builder: WebSocketClient, *, binary: bool, wait: float) -> int:
    """Connect, and carry lines and messages until one of both ends is reached; gives the exit code.

    Raises `WebSocketConnectionException` where no connection comes about.
    """
    with Output(sys.stdout.fileno()) as output:
        return await _carry(output, builder, binary, wait)


async def _carry(output: Output, builder: WebSocketClient, binary: bool, wait: float) -> int:
    shown = _readable if sys.stdout.isatty() else _as_it_is
    builder.on_text(lambda text, connection: output.put(shown(text)))
    builder.on_binary(lambda data, connection: output.put(shown(data)))
    async with connected(builder, lambda details: say(why_closed(details))) as connection:
        ended = asyncio.ensure_future(connection.wait_closed())
        sending = asyncio.create_task(_send(connection, binary, wait))
        try:
            ends: set[asyncio.Future[Any]] = {ended, sending, output.broken}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            if output.broken.done():  # `head -1` has what it wanted
                return 0
            reason = await connection.close(CloseCode.NORMAL)
        except LineTooLong as error:
            return failed(str(error), MISUSED)
        except UnicodeDecodeError as error:
            return failed(f"{error.reason}; --binary sends every line as it is", MISUSED)
        finally:
            sending.cancel()
            ended.cancel()
        await output.drain()
    return exit_code(reason)


async def _send(connection: WebSocketConnection, binary: bool, wait: float) -> None:
    """Send every line; then return once nothing has come for *wait* seconds."""
    number = 0
    try:
        async for line in lines(sys.stdin.fileno()):
            number += 1
            if binary:
                await connection.send(line)
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                error.reason = f"line {number} of the input is no UTF-8 ({error.reason})"
                raise
            await connection.send(text)
    except ConnectionClosed:
        return
    await _silence(connection, wait)


async def _silence(connection: WebSocketConnection, wait: float) -> None:
    if wait == float("inf"):
        await connection.wait_closed()
        return
    messages, size = -1, 0
    while connection.messages_received > messages or connection.bytes_read - size > _A_MESSAGE:
        messages, size = connection.messages_received, connection.bytes_read
        await asyncio.sleep(wait)


def _as_it_is(message: str | bytes) -> bytes:
    return (message.encode() if isinstance(message, str) else message) + b"\n"


def _readable(message: str | bytes) -> bytes:
    text = plain(message) if isinstance(message, str) else "\n".join(hex_dump(message))
    return text.encode(sys.stdout.encoding, "replace") + b"\n"
