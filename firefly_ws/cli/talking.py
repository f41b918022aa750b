"""`firefly-ws connect` on a terminal: a prompt, and above it what was sent and received. Needs the extra ``cli``."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from firefly_ws.codes import CloseCode
from firefly_ws.errors import ConnectionClosed, QueueOverflow

from .endings import connected, exit_code, why_closed
from .history import history_file
from .show import hex_dump, plain, pretty_json, size
from .slash import HELP, SlashCompleter, read_line

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from firefly_ws.client_builder import WebSocketClient
    from firefly_ws.codes import CloseReason
    from firefly_ws.connection import WebSocketConnection
    from firefly_ws.details import CloseDetails

__all__ = ["talk"]

#: What is shown of one message: characters of a text, bytes of a binary one.
_TEXT_SHOWN: Final = 32 * 1024
_BINARY_SHOWN: Final = 512
_MARGIN: Final = " " * 11  # under the time and the arrow


async def talk(builder: WebSocketClient, *, binary: bool) -> int:
    """Connect, and be the user's prompt until one of both ends is reached; gives the exit code.

    Raises `WebSocketConnectionException` where no connection comes about.
    """
    screen = _Screen()
    async with connected(builder, screen.closed) as connection:
        talk = _Talk(connection, screen, binary)
        # What is printed goes through it: above the prompt, which is then drawn again.
        with patch_stdout(raw=True):
            screen.opened(connection)
            reason = await talk.until_closed()
    return 130 if talk.interrupted else exit_code(reason)


class _Screen:
    """Where lines are printed."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._json = JSONHighlighter()
        plain_signs = self._console.encoding.lower().replace("-", "") != "utf8"
        self._signs = {"sent": ">", "received": "<", "note": "*"} if plain_signs else _SIGNS

    def opened(self, connection: WebSocketConnection) -> None:
        """What has been agreed on."""
        self.note(f"connected to {connection.url}", "bold green")
        if connection.sub_protocol is not None:
            self.note(f"subprotocol {connection.sub_protocol}", "dim")
        for extension in connection.extensions:
            self.note(f"{extension}", "dim")
        self.note("/help lists the commands, Ctrl-D closes", "dim")

    def closed(self, details: CloseDetails) -> None:
        """How it ended."""
        expected = details.began == "local" or (details.reason is not None and not exit_code(details.reason))
        self.note(why_closed(details), "" if expected else "bold red")

    def message(self, way: str, message: str | bytes) -> None:
        """One that was ``sent`` or ``received``."""
        if isinstance(message, bytes):
            body = Text().append(f"binary, {size(len(message))}", "magenta")
            for line in hex_dump(message, _BINARY_SHOWN):
                body.append(f"\n{line}")
        elif way == "received" and (laid_out := pretty_json(message)) is not None:
            body = self._json(plain(laid_out))
        else:
            body = Text(plain(message[:_TEXT_SHOWN]))
            if len(message) > _TEXT_SHOWN:
                body.append(f"\n… {len(message) - _TEXT_SHOWN} characters more", "dim")
            elif not message:
                body = Text("(empty)", "dim")
        self._print(way, body)

    def note(self, text: str, style: str = "cyan") -> None:
        """A line of our own."""
        self._print("note", Text().append(plain(text), style))

    def _print(self, kind: str, body: Text) -> None:
        line = Text().append(f"{datetime.now():%H:%M:%S} ", "dim")
        line.append(f"{self._signs[kind]} ", _STYLES[kind])
        first, *others = body.split("\n", allow_blank=True)
        line.append_text(first)
        for other in others:
            line.append(f"\n{_MARGIN}").append_text(other)
        # Not wrapped by us: what is copied from the terminal is then what came.
        self._console.print(line, soft_wrap=True)


_SIGNS: Final = {"sent": "→", "received": "←", "note": "·"}
_STYLES: Final = {"sent": "bold green", "received": "bold blue", "note": "dim"}


class _Talk:
    """One connection, and its user."""

    def __init__(self, connection: WebSocketConnection, screen: _Screen, binary: bool) -> None:
        self._connection = connection
        self._screen = screen
        self._binary = binary
        self._tasks: set[asyncio.Task[None]] = set()
        self.interrupted = False
        path = history_file()
        self._prompt: PromptSession[str] = PromptSession(
            history=InMemoryHistory() if path is None else FileHistory(str(path)),
            completer=SlashCompleter(),
            complete_while_typing=False,
            bottom_toolbar=self._toolbar,
            erase_when_done=True,  # what is sent is printed as such
        )

    def _toolbar(self) -> str:
        connection = self._connection
        stats = connection.stats
        mode = "  binary" if self._binary else ""
        sent, received = stats["messages_sent"], stats["messages_received"]
        return f" {plain(connection.url)}  {connection.state.name.lower()}  sent {sent}  received {received}{mode}"

    async def until_closed(self) -> CloseReason:
        """Let the user type until the connection has ended; gives its reason."""
        received = asyncio.create_task(self._receive())
        typed = asyncio.create_task(self._type())
        try:
            await asyncio.wait({received, typed}, return_when=asyncio.FIRST_COMPLETED)
            if typed.done():
                typed.result()
            return await self._connection.close(CloseCode.NORMAL)
        finally:
            for task in (received, typed, *self._tasks):
                task.cancel()
            # The prompt puts the terminal back as it was.
            await asyncio.gather(received, typed, *self._tasks, return_exceptions=True)

    async def _receive(self) -> None:
        try:
            while True:
                self._screen.message("received", await self._connection.receive())
        except ConnectionClosed:
            return

    async def _type(self) -> None:
        while True:
            try:
                line = await self._prompt.prompt_async("> ", handle_sigint=False)
            except EOFError:
                return
            except KeyboardInterrupt:
                self.interrupted = True
                await self._connection.close(CloseCode.GOING_AWAY)
                return
            try:
                await self._do(line)
            except ConnectionClosed:
                return
            except (OSError, ValueError, QueueOverflow) as error:
                self._screen.note(str(error), "red")

    async def _do(self, line: str) -> None:
        said = read_line(line)
        match said.command:
            case "send":
                if said.text:
                    await self._send(said.text.encode() if self._binary else said.text)
            case "binary":
                if not said.text:
                    raise ValueError("/binary FILE: which file?")
                await self._send(await asyncio.to_thread(_content, said.text))
            case "ping":
                self._begin(self._ping(said.text))
            case "close":
                code, _, reason = said.text.partition(" ")
                if code and not (code.isascii() and code.isdigit()):
                    raise ValueError(f"/close CODE REASON: {code!r} is no number")
                # On the side: the prompt stays until the server has answered.
                self._begin(self._close(self._connection.close(int(code or 1000), reason.strip())))
            case "help":
                width = max(len(name) for name, _ in HELP)
                self._screen.note("\n".join(f"{name:<{width}}  {does}" for name, does in HELP))
            case other:
                raise ValueError(f"there is no command /{other}; /help lists them, and //{other} sends it as a text")

    async def _send(self, message: str | bytes) -> None:
        sent = self._connection.send(message)
        self._screen.message("sent", message)
        await sent

    async def _ping(self, text: str) -> None:
        try:
            took = await self._connection.ping(text.encode() or None)
        except (ConnectionClosed, ValueError) as error:
            self._screen.note(str(error), "red")
        else:
            self._screen.note(f"Pong after {took * 1000:.2f} ms")

    async def _close(self, closing: Any) -> None:
        self._screen.note("closing")
        await closing

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _content(name: str) -> bytes:
    return Path(name).expanduser().read_bytes()
