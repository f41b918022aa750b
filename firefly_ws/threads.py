"""Connections and servers for other threads: the same methods, each run on the loop, each returning a handle."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .codes import CloseReason
from .per_loop import runtime_of

if TYPE_CHECKING:
    from .connection import WebSocketConnection
    from .counts import ServerStats
    from .handle import Handle
    from .server import Server

__all__ = ["ThreadSafeConnection", "ThreadSafeServer"]


class _ThreadSafe:
    # A setting that is not here must not be set on this object, and on nothing else.
    __slots__ = ("_runtime", "_target")

    def __init__(self, target: Any, loop: Any) -> None:
        self._target = target
        self._runtime = runtime_of(loop)

    def _submit(self, call: Callable[..., Any], *args: Any, **options: Any) -> Handle[Any]:
        what = f"{call.__name__} of {self._target!r}"
        # Batched: the runtime wakes its loop once for all that come before it turns.
        return self._runtime.submit(functools.partial(call, **options) if options else call, *args, what=what)

    def __repr__(self) -> str:
        return f"<threadsafe {self._target!r}>"


def _setting(name: str) -> property:
    """The connection's setting of that *name*: read at once, set in its loop's next turn."""

    def get(self: ThreadSafeConnection) -> Any:
        return getattr(self._target, name)

    def put(self: ThreadSafeConnection, value: Any) -> None:
        self._target.policy.replace(**{name: value})  # raises here, not where nobody waits for it
        self._submit(setattr, self._target, name, value)

    return property(get, put, doc=f"See `WebSocketConnection.{name}`; what is set holds behind what was called before.")


class ThreadSafeConnection(_ThreadSafe):
    """A connection for other threads; every method returns a handle with ``.result(timeout)``."""

    __slots__ = ()

    ping_interval = _setting("ping_interval")
    ping_timeout = _setting("ping_timeout")
    read_timeout = _setting("read_timeout")
    write_timeout = _setting("write_timeout")
    max_frame_size = _setting("max_frame_size")
    max_message_size = _setting("max_message_size")

    def __init__(self, connection: WebSocketConnection) -> None:
        super().__init__(connection, connection.loop)

    def send(self, data: Any) -> Handle[None]:
        """See `WebSocketConnection.send`."""
        return self._submit(self._target.send, data)

    def send_text(self, text: str) -> Handle[None]:
        """See `WebSocketConnection.send_text`."""
        return self._submit(self._target.send_text, text)

    def send_data(self, data: Any) -> Handle[None]:
        """See `WebSocketConnection.send_data`."""
        return self._submit(self._target.send_data, data)

    send_binary = send_data

    def send_latest(self, data: Any, key: Any) -> Handle[None]:
        """See `WebSocketConnection.send_latest`."""
        return self._submit(self._target.send_latest, data, key)

    def send_frame(self, frame: Any) -> Handle[Any]:
        """See `WebSocketConnection.send_frame`."""
        return self._submit(self._target.send_frame, frame)

    def send_serialized(self, value: object) -> Handle[None]:
        """See `WebSocketConnection.send_serialized`."""
        return self._submit(self._target.send_serialized, value)

    def send_stream(self, pieces: Any, *, text: bool | None = None) -> Handle[None]:
        """See `WebSocketConnection.send_stream`; the loop's thread takes the pieces."""
        return self._submit(self._send_stream, pieces, text)

    def _send_stream(self, pieces: Any, text: bool | None) -> Any:
        return self._target.send_stream(pieces, text=text)

    def _receive(self, method: Callable[..., Awaitable[Any]], *args: Any) -> Handle[Any]:
        name = f"{method.__name__}()"
        what = f"{method.__name__} of {self._target!r}"
        return self._runtime.submit(self._taking, name, method, args, what=what, takes=True)

    async def _taking(
        self, take: Callable[[], bool], name: str, method: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> Any:
        """Take the next message only for a handle that is still wanted, and cannot be cancelled any more then."""
        if args:
            self._target._prepared(*args)  # raises for a wrong type before there is a message
        await self._target._some(name)
        if not take():
            raise asyncio.CancelledError
        return await method(*args)  # there is something: in this same step

    def receive(self) -> Handle[str | bytes]:
        """See `WebSocketConnection.receive`."""
        return self._receive(self._target.receive)

    def receive_text(self) -> Handle[str]:
        """See `WebSocketConnection.receive_text`."""
        return self._receive(self._target.receive_text)

    def receive_data(self) -> Handle[bytes]:
        """See `WebSocketConnection.receive_data`."""
        return self._receive(self._target.receive_data)

    receive_binary = receive_data

    def receive_frame(self) -> Handle[Any]:
        """See `WebSocketConnection.receive_frame`."""
        return self._receive(self._target.receive_frame)

    def receive_deserialized(self, type: Any) -> Handle[Any]:
        """See `WebSocketConnection.receive_deserialized`."""
        return self._receive(self._target.receive_deserialized, type)

    def ping(self, payload: Any = None) -> Handle[float]:
        """See `WebSocketConnection.ping`."""
        return self._submit(self._target.ping, payload)

    def pong(self, payload: Any = b"") -> Handle[None]:
        """See `WebSocketConnection.pong`."""
        return self._submit(self._target.pong, payload)

    def flush(self) -> Handle[None]:
        """See `WebSocketConnection.flush`."""
        return self._submit(self._target.flush)

    def close(self, code: int | CloseReason = 1000, reason: str = "") -> Handle[CloseReason]:
        """See `WebSocketConnection.close`."""
        return self._submit(self._target.close, code, reason)

    close_async = close

    def terminate(self) -> Handle[None]:
        """See `WebSocketConnection.terminate`."""
        return self._submit(self._target.terminate)

    def drop(self, code: int | CloseReason = 1000, reason: str = "") -> Handle[None]:
        """See `WebSocketConnection.drop`."""
        return self._submit(self._target.drop, code, reason)

    def pause_reading(self) -> Handle[None]:
        """See `WebSocketConnection.pause_reading`."""
        return self._submit(self._target.pause_reading)

    def resume_reading(self) -> Handle[None]:
        """See `WebSocketConnection.resume_reading`."""
        return self._submit(self._target.resume_reading)

    def wait_closed(self) -> Handle[CloseReason]:
        """See `WebSocketConnection.wait_closed`."""
        return self._submit(self._target.wait_closed)


class ThreadSafeServer(_ThreadSafe):
    """A server for other threads, and what ``listen`` returns in a plain script."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, server._loop)

    @property
    def addresses(self) -> tuple[Any, ...]:
        """See `Server.addresses`."""
        return self._target.addresses  # type: ignore[no-any-return]

    @property
    def port(self) -> int | None:
        """See `Server.port`."""
        return self._target.port  # type: ignore[no-any-return]

    @property
    def is_listening(self) -> bool:
        """See `Server.is_listening`."""
        return self._target.is_listening  # type: ignore[no-any-return]

    @property
    def is_draining(self) -> bool:
        """See `Server.is_draining`."""
        return self._target.is_draining  # type: ignore[no-any-return]

    @property
    def connections(self) -> frozenset[WebSocketConnection]:
        """A copy, made now, of the server's connections; use their ``threadsafe``."""
        return self._target.connections  # type: ignore[no-any-return]

    @property
    def threadsafe(self) -> ThreadSafeServer:
        """Itself."""
        return self

    def stats(self) -> ServerStats:
        """See `Server.stats`."""
        return self._target.stats()  # type: ignore[no-any-return]

    def unregister(self, path: str) -> Handle[None]:
        """See `Server.unregister`."""
        return self._submit(self._target.unregister, path)

    def drain(self, timeout: float | None = None) -> Handle[bool]:
        """See `Server.drain`."""
        return self._submit(self._target.drain, timeout)

    def close(
        self, code: int | CloseReason = 1001, reason: str = "", grace: float | None = 10, *, spread: float = 0
    ) -> Handle[None]:
        """See `Server.close`."""
        return self._submit(self._target.close, code, reason, grace, spread=spread)

    def wait_closed(self) -> Handle[None]:
        """See `Server.wait_closed`."""
        return self._submit(self._target.wait_closed)
