from .deflate import Deflate
from .limits import Limits
from .parser import FrameSink

class MessageSink: ...

class Messages(FrameSink):
    def __init__(
        self,
        sink: MessageSink,
        limits: Limits,
        deflate: Deflate | None = None,
    ) -> None: ...
