from collections.abc import Iterable
from typing import Any

from .delivery import Delivery
from .messages import Messages
from .outbox import Outbox, Turn
from .parser import FrameSink

class Link: ...

class Chain:
    def __init__(self, links: Iterable[tuple[str, int, Any]]) -> None: ...

class ChainIn(FrameSink):
    def __init__(self, messages: Messages, delivery: Delivery, chain: Chain) -> None: ...

class ChainOut(Outbox):
    def __init__(self, turn: Turn, masked: bool, chain: Chain, owner: Any, most: int) -> None: ...
