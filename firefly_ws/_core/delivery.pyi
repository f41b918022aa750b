import asyncio
from collections.abc import Callable
from typing import Any

from .messages import MessageSink
from .parser import FrameSink

class Callbacks:
    coroutines: bool
    pull: bool
    raw: bool
    accept: Callable[[Any], object] | None
    message: Callable[[Any, Any], object] | None
    text: Callable[[str, Any], object] | None
    binary: Callable[[bytes, Any], object] | None
    frame: Callable[[Any, Any], object] | None
    ping: Callable[[bytes, Any], object] | None
    pong: Callable[[bytes, Any], object] | None
    close: Callable[[Any, Any], object] | None
    error: Callable[[Any, BaseException], object] | None
    converters: Any
    route: str | None
    def with_accept(self, accept: Callable[[Any], object] | None) -> Callbacks: ...

class Delivery(MessageSink):
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def bytes_read(self) -> int: ...
    @property
    def messages_received(self) -> int: ...
    @property
    def discarded(self) -> int: ...
    @property
    def _converters(self) -> Any: ...

class FrameTap(FrameSink):
    def __init__(self, sink: FrameSink, delivery: Delivery) -> None: ...
