"""A client in bytes: heads, frames, a blocking socket. Knows no attack and no library.

Everything that waits gives up: a server under attack may do anything.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator

LIMIT = 30.0  # seconds: an answer that has not come by then does not come
KIB = 1024
MIB = 1024 * 1024
TEXT, BINARY, CONTINUATION, PING = 1, 2, 0, 9


def all_descriptors() -> int:
    """Have as many open files as the system allows; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def upgrade(*, deflate: bool = False) -> bytes:
    """A client's request."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
    return (
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    ).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A client's frame, masked with zeros: masking costs the attacker nothing then, and the server the same."""
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


def connect(port: int, timeout: float = LIMIT) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def trusting() -> ssl.SSLContext:
    """TLS to a server whose certificate nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def read_head(sock: socket.socket) -> bytes:
    """An answer's head; whatever came instead where the connection ended."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (more := sock.recv(1)):
        head += more
    return head


def opened(port: int, *, deflate: bool = False, tls: bool = False) -> socket.socket:
    """A connection behind its upgrade."""
    sock = connect(port)
    if tls:
        sock = trusting().wrap_socket(sock)
    sock.sendall(upgrade(deflate=deflate))
    head = read_head(sock)
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"no upgrade: {head[:40]!r}")
    return sock


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionError("the connection has ended")
        data += more
    return data


def read_frame(sock: socket.socket) -> tuple[int, bytes]:
    """A server's frame: its first byte and its payload."""
    first, size = read_exactly(sock, 2)
    if size == 126:
        (size,) = struct.unpack("!H", read_exactly(sock, 2))
    elif size == 127:
        (size,) = struct.unpack("!Q", read_exactly(sock, 8))
    return first, read_exactly(sock, size)


def close_code(tail: bytes) -> int | None:
    """The code of the Close frame that *tail* ends with."""
    for at in range(max(len(tail) - 127, 0), len(tail) - 1):
        if tail[at] == 0x88 and tail[at + 1] == len(tail) - at - 2:
            return 1005 if tail[at + 1] == 0 else int.from_bytes(tail[at + 2 : at + 4], "big")
    return None


class Flood:
    """Sends *pieces* as fast as they are taken, reading meanwhile, or not; says how that went."""

    def __init__(self, sock: socket.socket, pieces: Iterable[bytes], *, read: str = "all", patience: float = 3) -> None:
        """*read*: `all` that comes, `none`, or a `byte` a second. Gives up where nothing moves for *patience* s."""
        self.sent = self.got = 0
        self.all_sent = False
        self.head = b""  # the first bytes that came
        self.tail = b""  # the last ones
        self.end = ""  # how TCP ended, where it did
        self.seconds = 0.0
        self._sock, self._pieces = sock, iter(pieces)
        self._read, self._patience = read, patience
        sock.setblocking(False)

    def run(self, expected: int | None = None) -> Flood:
        """Until *expected* bytes have come (all are sent, where there is no such number), or nothing moves any more."""
        began = moved = time.monotonic()
        byte_due = began + 1
        piece = memoryview(b"")
        while not self.end:
            now = time.monotonic()
            if not piece and not self.all_sent:
                piece = memoryview(next(self._pieces, b""))
                self.all_sent = not piece
            done = self.all_sent and (expected is None or self.got >= expected)
            if done or now - moved > self._patience:
                break
            reading = self._read == "all" or (self._read == "byte" and now >= byte_due)
            wanted = (select.POLLIN if reading else 0) | (select.POLLOUT if piece else 0)
            poll = select.poll()
            poll.register(self._sock, wanted)
            ready = dict(poll.poll(100)).get(self._sock.fileno(), 0)
            try:
                if reading and ready & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    if self._take(1 if self._read == "byte" else MIB):
                        moved = now if self._read == "all" else moved
                    byte_due = now + 1
                if piece and not self.end and ready & (select.POLLOUT | select.POLLERR | select.POLLHUP):
                    size = self._sock.send(piece)
                    self.sent += size
                    piece = piece[size:]
                    moved = now
            except BlockingIOError:
                pass
            except OSError as error:
                self.end = "reset" if isinstance(error, ConnectionError) else str(error)
        self._last_words()
        self.seconds = time.monotonic() - began
        return self

    def _take(self, most: int) -> int:
        data = self._sock.recv(most)
        if not data:
            self.end = "the end of TCP"
        self.got += len(data)
        if len(self.head) < 64:
            self.head += data[:64]
        self.tail = (self.tail + data[-256:])[-256:]
        return len(data)

    def _last_words(self) -> None:
        """What had come before a reset is still to be read."""
        if self._read == "all":
            try:
                while select.select([self._sock], [], [], 0.2)[0] and self._take(MIB):
                    pass
            except OSError:
                self.end = self.end or "reset"

    def __str__(self) -> str:
        mib = f"{self.sent / MIB:.3g} MiB"
        code = close_code(self.tail)
        if self.head.startswith(b"HTTP/1.1 ") and not self.head.startswith(b"HTTP/1.1 200"):
            return f"{self.head[9:12].decode()} after {mib}"
        if code is not None:
            return f"Close {code} after {mib}"
        if self.end:
            return f"{self.end} after {mib}" + (f" and {self.seconds:.0f} s" if self.seconds > 2 else "")
        return "all was taken" if self.all_sent else f"held by TCP at {mib}"


def repeated(piece: bytes, total: int) -> Iterator[bytes]:
    """*piece* until *total* bytes are reached."""
    for _ in range(-(-total // len(piece))):
        yield piece


def resident(pid: int, what: str = "VmRSS:") -> int:
    """Bytes of a process in memory: now, or (VmHWM) at most since `forget_the_peak`."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * KIB for line in file if line.startswith(what))


def forget_the_peak(pid: int) -> None:
    """Have VmHWM begin anew (proc(5), clear_refs)."""
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
