"""`firefly-ws connect`: its arguments and its exit codes; what is said while connected stands in two other files."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from firefly_ws.errors import WebSocketConnectionException

from .arguments import CANNOT, failed, seconds
from .endings import why_not_connected
from .piping import pipe
from .running import run_to_exit
from .target import add_client, add_target, client

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from .arguments import Commands

__all__ = ["add"]

_DESCRIPTION: Final = (
    "Talk to a server. On a terminal: a prompt, with what is sent and received above it. In a pipe: each line of the "
    "input is sent as a message, each message received is a line of the output."
)
_CODES: Final = (
    "exit codes: 0 closed normally, 1 could not connect, 2 bad arguments or input, 3 closed with another code than "
    "1000, 130 ended by Ctrl-C"
)
_MESSAGE_LIMIT: Final = 64 * 2**20


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "connect", help="talk to a server, from a prompt or through a pipe", description=_DESCRIPTION, epilog=_CODES
    )
    parser.set_defaults(parser=parser, command=_command)
    add_target(parser)
    add_client(parser)
    parser.add_argument("--no-compression", action="store_true", help="do not offer permessage-deflate")
    parser.add_argument("--binary", action="store_true", help="send each line as a binary message")
    parser.add_argument(
        "--ping", metavar="SECONDS", type=seconds(), help="a Ping after that much silence of the server; off by default"
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds(zero=True, endless=True),
        default=1.0,
        help="in a pipe: close when the input has ended and nothing has come for so long; inf: never (%(default)s)",
    )


def _command(options: argparse.Namespace) -> int:
    builder = client(options).max_message_size(_MESSAGE_LIMIT).max_write_buffer(_MESSAGE_LIMIT)
    if not options.no_compression:
        builder.extensions(["permessage-deflate"])
    if options.ping is not None:
        builder.ping_interval(options.ping)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return run_to_exit(lambda: _connected(pipe(builder, binary=options.binary, wait=options.wait)))
    try:
        from .talking import talk
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("prompt_toolkit", "rich"):
            raise
        return failed(
            f"the prompt is drawn by the package {error.name}, which is not installed: pip install 'firefly-ws[cli]'; "
            "in a pipe this command works without it"
        )
    return run_to_exit(lambda: _connected(talk(builder, binary=options.binary)))


async def _connected(conversation: Coroutine[Any, Any, int]) -> int:
    try:
        return await conversation
    except WebSocketConnectionException as error:
        return failed(why_not_connected(error), CANNOT)
