from collections.abc import Iterable
from typing import Any

from .deflate import Deflate
from .messages import MessageSink
from .parser import FrameSink

class FrameRecorder(FrameSink):
    def __init__(self) -> None: ...
    @property
    def frames(self) -> list[tuple[int, bytes]]: ...

class MessageRecorder(MessageSink):
    def __init__(self) -> None: ...
    @property
    def events(self) -> list[tuple[Any, ...]]: ...

def frames(
    pieces: Iterable[bytes], *, expect_masked: bool, reserved: int = 0x70, max_frame_size: int | None = None
) -> list[tuple[int, bytes]]: ...
def events(
    pieces: Iterable[bytes],
    *,
    expect_masked: bool,
    deflate: Deflate | None = None,
    text_limit: int | None = None,
    binary_limit: int | None = None,
    max_frame_size: int | None = None,
    max_fragments: int | None = None,
) -> list[tuple[Any, ...]]: ...
def compress(deflate: Deflate, payload: bytes) -> bytes | None: ...
