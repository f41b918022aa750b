from .deflate import Deflate
from .parser import FrameSink

class MessageSink: ...

class Messages(FrameSink):
    def __init__(
        self,
        sink: MessageSink,
        *,
        text_limit: int | None = None,
        binary_limit: int | None = None,
        max_fragments: int | None = None,
        deflate: Deflate | None = None,
        options: tuple[str, str] = ("max_message_size", "max_message_size"),
    ) -> None: ...
