"""`firefly-ws serve`: its arguments, and one process that serves; knows of several only whom to leave them to."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
from typing import TYPE_CHECKING

from firefly_ws.activation import inherited_sockets
from firefly_ws.codes import CloseCode
from firefly_ws.ending import HowToClose
from firefly_ws.errors import WebSocketConnectionException
from firefly_ws.runtime import run
from firefly_ws.server import Server
from firefly_ws.server_builder import HttpServer, http_server
from firefly_ws.sockets import adopt

from . import notify
from .arguments import count, failed, port, seconds
from .loading import CannotLoad, load, target
from .supervising import ABORT, CONTROL, REPLACED, STOP, heeds, places, supervise

if TYPE_CHECKING:
    from .arguments import Commands

__all__ = ["add"]

_HOST, _PORT = "127.0.0.1", 8080


def add(commands: Commands) -> None:
    """Add the command's parser."""
    what = "a server that a module builds, in one process or several"
    serve = commands.add_parser("serve", help=what, description=f"Serve {what}.")
    serve.set_defaults(parser=serve, command=_command)
    argument = serve.add_argument
    argument("target", type=target, metavar="MODULE:ATTRIBUTE", help="a builder, or a function that gives one")
    argument("--host", help=f"0.0.0.0: for other machines too ({_HOST})")
    argument("--port", type=port, help=f"0 takes any free one ({_PORT})")
    argument("--path", metavar="FILE", help="a unix socket instead")
    argument("--fd", type=count(0, 2**31 - 1), action="append", metavar="N", help="a listening socket handed over as N")
    argument("--reuse-port", action="store_true", help="also where another server has the port (SO_REUSEPORT)")
    argument("--workers", type=count(1, 1000), metavar="N", help="processes; SIGHUP renews them one by one")
    what = "Prometheus's page, /metrics; the second worker has it at the next port, and so on"
    argument("--metrics-port", type=count(1, 65535), metavar="PORT", help=what)
    argument("--metrics-host", metavar="HOST", default=_HOST, help="where that listens (%(default)s)")
    argument("--cert", metavar="FILE", help="https and wss by this certificate chain (PEM)")
    argument("--key", metavar="FILE", help="the certificate's key, unless it stands in the same file")
    argument("--grace", type=seconds(zero=True), metavar="SECONDS", help="for callbacks and clients at the end (10)")
    argument("--spread", type=seconds(zero=True), metavar="SECONDS", help="over which connections are closed then (0)")


def _command(options: argparse.Namespace) -> int:
    """0 after a signal, 1 with a line on stderr for what went wrong."""
    given = [name for name in ("path", "fd") if getattr(options, name) is not None]
    if options.host is not None or options.port is not None:
        given.insert(0, "host" if options.host is not None else "port")
    if len(given) > 1:
        options.parser.error(f"--{given[0]} and --{given[1]}: give one of them")
    if options.key is not None and options.cert is None:
        options.parser.error(f"--key {options.key} is of no use without --cert FILE")
    if options.reuse_port and (options.path is not None or options.fd is not None):
        options.parser.error("--reuse-port is for --host and --port")
    if options.metrics_port is not None and options.metrics_port + (options.workers or 1) - 1 > 65535:
        options.parser.error(f"--metrics-port {options.metrics_port}: {options.workers} workers need as many ports")
    if options.workers is not None and os.name != "posix":
        options.parser.error("--workers needs a system where a process can hand sockets to another")
    options.host_or_default = _HOST if options.host is None else options.host
    options.port_or_default = _PORT if options.port is None else options.port
    try:
        handed = [adopt(fd) for fd in options.fd] if options.fd else [] if given else inherited_sockets()
    except OSError as error:
        return failed(f"--fd {' '.join(map(str, options.fd))}: {error.strerror}")
    except ValueError as error:
        return failed(str(error))
    with contextlib.ExitStack() as stack:
        for sock in handed:
            stack.enter_context(sock)
        return _begin(options, handed)


def _begin(options: argparse.Namespace, handed: list[socket.socket]) -> int:
    try:
        if options.workers is not None:
            return supervise(options, handed)
        with _control() as control:
            run(lambda: _serve(options, handed, control))
    except UnicodeError as error:
        return failed(f"--host {options.host!r} is no name of a host: {error}")
    except (CannotLoad, ValueError) as error:
        return failed(str(error))
    except WebSocketConnectionException as error:
        hint = "; --port 0 takes any free one" if error.errno == errno.EADDRINUSE else ""
        return failed(f"{error}{hint}")
    return 0


async def _serve(options: argparse.Namespace, handed: list[socket.socket], control: socket.socket) -> None:
    """Serve until a signal or the supervisor ends it."""
    app = await load(options.target)
    if options.cert is not None:
        app.secure(options.cert, options.key)
    how = app.how_to_close
    grace = how.grace if options.grace is None else options.grace
    spread = how.spread if options.spread is None else options.spread
    app.how_to_close = how = HowToClose.checked(how.code, how.reason, grace, spread)
    pages = _counted(app, options)
    server = await _listen(app, options, handed)
    servers = [server]
    if pages is not None:
        # Two workers of one place have the same port while one takes the other's place.
        shared = True if control.fileno() >= 0 else None
        try:
            servers.append(await pages.listen(options.metrics_host, options.metrics_port, reuse_port=shared))
        except WebSocketConnectionException as error:
            raise CannotLoad(f"--metrics-port {options.metrics_port}: {error}") from error
    secure = (app.ssl_context or app.config.ssl) is not None
    if control.fileno() < 0:
        status = f"serving {options.target} on {places(server.addresses, secure)}"
        print(status, flush=True)
        notify.ready(status)
    else:
        _obey(control, servers)
        control.send(json.dumps({"secure": secure, "grace": grace}).encode())
    if heeds("SIGHUP"):
        # Whoever runs this one begins another in its place.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _replaced, servers)
    for one in servers:
        await one.wait_closed()


def _counted(app: HttpServer, options: argparse.Namespace) -> HttpServer | None:
    """What shows *app*'s counts at a port of its own, where that is asked for."""
    if options.metrics_port is None:
        return None
    try:
        if app.registry is None:
            from prometheus_client import CollectorRegistry

            app.metrics(None, registry=CollectorRegistry(auto_describe=False))
        return http_server().metrics(registry=app.registry)
    except ImportError as error:
        raise CannotLoad(f"--metrics-port: {error}") from None


def _listen(app: HttpServer, options: argparse.Namespace, handed: list[socket.socket]) -> Server:
    if handed:
        server: Server = app.listen(sock=handed)
    elif options.path is not None:
        server = app.listen(path=options.path)
    else:
        server = app.listen(
            options.host_or_default, options.port_or_default, reuse_port=True if options.reuse_port else None
        )
    return server


def _control() -> socket.socket:
    """The way to the supervisor; a closed one where there is none."""
    number = os.environ.pop(CONTROL, None)
    control = socket.socket(fileno=None if number is None else int(number))
    if number is None:
        control.close()
    else:
        control.setblocking(False)
        control.set_inheritable(False)
    return control


def _obey(control: socket.socket, servers: list[Server]) -> None:
    """Do what the supervisor says; its end is a request to end."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        try:
            word = control.recv(1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            word = b""
        if word == ABORT:
            for one in servers:
                one.abort()
        elif word == REPLACED:
            _replaced(servers)
        else:
            if word != STOP:
                loop.remove_reader(control)
            _close(servers, servers[0]._app.how_to_close)

    loop.add_reader(control, told)


def _replaced(servers: list[Server]) -> None:
    """Another one has its place: its clients may come back at once."""
    _close(servers, servers[0]._app.how_to_close._replace(code=CloseCode.SERVICE_RESTART))


def _close(servers: list[Server], how: HowToClose) -> None:
    """The first is the user's; behind it what shows its numbers, which are the next worker's to show from now on."""
    server, *pages = servers
    server.close(how.code, how.reason, how.grace, spread=how.spread)
    for one in pages:
        one.close(grace=0)
