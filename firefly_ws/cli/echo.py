"""`firefly-ws echo`: its arguments, what it prints, its exit codes; knows neither sockets nor messages."""

from __future__ import annotations

import argparse
import errno
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from firefly_ws.echo import echo_server
from firefly_ws.errors import WebSocketConnectionException
from firefly_ws.runtime import run
from firefly_ws.self_signed import self_signed
from firefly_ws.server_builder import HttpServer

from .arguments import failed, port

if TYPE_CHECKING:
    from .arguments import Commands

__all__ = ["add"]

_EVERYWHERE: Final = ("", "0.0.0.0", "::")
_HERE: Final = ("localhost", "127.0.0.1", "::1")


def add(commands: Commands) -> None:
    """Add the command's parser."""
    what = "an echo server for testing clients, with a page for trying it in a browser"
    echo = commands.add_parser("echo", help=what, description=f"Run {what}, on the same port.")
    echo.set_defaults(parser=echo, command=_command)
    echo.add_argument("--host", default="127.0.0.1", help="0.0.0.0: for other machines too (%(default)s)")
    echo.add_argument("--port", type=port, default=8080, help="0 takes any free one (%(default)s)")
    echo.add_argument("--tls", action="store_true", help="https and wss, without --cert by one made for this run")
    echo.add_argument("--cert", metavar="FILE", help="https and wss by this certificate chain (PEM)")
    echo.add_argument("--key", metavar="FILE", help="the certificate's key, unless it stands in the same file")


def _command(options: argparse.Namespace) -> int:
    """0 after Ctrl-C or SIGTERM, 1 with a line on stderr for what went wrong."""
    if options.key is not None and options.cert is None:
        options.parser.error(f"--key {options.key} is of no use without --cert FILE")
    try:
        _echo(options)
    except WebSocketConnectionException as error:
        hint = "; --port 0 takes any free one" if error.errno == errno.EADDRINUSE else ""
        return failed(f"{error}{hint}")
    except UnicodeError as error:
        return failed(f"--host {options.host!r} is no name of a host: {error}")
    except (ImportError, ValueError) as error:
        return failed(str(error))
    return 0


def _echo(options: argparse.Namespace) -> None:
    """Serve until a signal comes."""
    app = echo_server()
    secure, certificate = options.tls or options.cert is not None, None
    if options.cert is not None:
        app.secure(options.cert, options.key)
    elif options.tls:
        certificate = _secure(app, options.host)

    async def serve() -> None:
        server = await app.listen(options.host, options.port)
        everywhere = options.host in _EVERYWHERE
        host = "localhost" if everywhere else options.host
        place = f"{'s' if secure else ''}://{f'[{host}]' if ':' in host else host}:{server.port}/"
        lines = [f"echo page    http{place}", f"websocket    ws{place}"]
        if everywhere:
            lines.append("listening on every address of this machine")
        if certificate is not None:
            lines.append(f"certificate  made for this run, SHA-256 {certificate}")
        # At once, also into a pipe: who starts it waits for this.
        print(*lines, "Ctrl-C ends it", sep="\n", flush=True)

    run(serve)


def _secure(app: HttpServer, host: str) -> str:
    """TLS by a certificate for *host*, made for this run; gives its fingerprint."""
    pem, fingerprint = self_signed([*_HERE, *([] if host in _EVERYWHERE else [host])])
    with TemporaryDirectory() as directory:  # which nobody else may enter, for there is a key in it
        path = Path(directory, "certificate.pem")
        path.write_bytes(pem)
        app.secure(path)
    return fingerprint
