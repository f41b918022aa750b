"""Listening sockets that a process is begun with, by systemd or whoever does the same; knows no server."""

from __future__ import annotations

import os
import socket
from typing import Final

from .sockets import adopt

__all__ = ["OF_SYSTEMD", "inherited_sockets"]

#: The variables by which sockets are handed over. They are for one process, not for those that it begins.
OF_SYSTEMD: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

_FIRST = 3  # SD_LISTEN_FDS_START


def inherited_sockets(name: str | None = None) -> list[socket.socket]:
    """The listening sockets that systemd (socket activation) has handed to this process, for ``listen(sock=)``.

    They are as ``LISTEN_PID``, ``LISTEN_FDS`` and ``LISTEN_FDNAMES`` say (sd_listen_fds(3)); with *name* only those
    whose ``FileDescriptorName`` it is. Empty where nothing was handed over. The same objects at each call. A server
    that closes leaves who waits at such a socket to whoever has it too: none is lost. Raises ``ValueError`` where one
    of the variables is malformed, or a descriptor is no socket.
    """
    pid, count = _number("LISTEN_PID"), _number("LISTEN_FDS")
    if pid != os.getpid() or count is None:
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    sockets = []
    for number in range(count):
        if name is not None and (number >= len(names) or names[number] != name):
            continue
        try:
            sockets.append(adopt(_FIRST + number))
        except OSError as error:
            raise ValueError(
                f"LISTEN_FDS={count}: descriptor {_FIRST + number} is no socket: {error.strerror}"
            ) from error
    return sockets


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{variable}={text!r} must be a number (sd_listen_fds(3))")
    return int(text)
