from .delivery import Delivery
from .inbox import Inbox
from .parser import FrameSink

class RawFrames(FrameSink):
    def __init__(self, delivery: Delivery, inbox: RawInbox | None) -> None: ...

class RawInbox(Inbox):
    def __init__(self, delivery: Delivery) -> None: ...
    def is_empty(self, doing: str) -> bool: ...
