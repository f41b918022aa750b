import socket
from collections.abc import Callable

from firefly_ws.seldom import Seldom

from .poll import Poller, Watched

_starving: Seldom

class Listener(Watched):
    def __init__(
        self, poller: Poller, sock: socket.socket, make: Callable[..., object], backlog: int, bare: bool = False
    ) -> None: ...
    @property
    def sockets(self) -> tuple[socket.socket, ...]: ...
    def take_queue(self) -> None: ...
    def close(self) -> None: ...
