"""What a service says to systemd about itself (sd_notify(3)); nothing where nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket
import time

__all__ = ["ready", "reloading", "stopping"]


def ready(status: str) -> None:
    """It serves, and so did reloading end."""
    _notify("READY=1", f"STATUS={status}")


def reloading() -> None:
    """It begins anew; ``Type=notify-reload`` asks for the time with it."""
    _notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """It has begun to end."""
    _notify("STOPPING=1")


def _notify(*lines: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):  # a machine as a whole is told over vsock
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto("\n".join(lines).encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)
