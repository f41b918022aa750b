from .deflate import Deflate
from .inbox import Inbox
from .limits import Limits
from .messages import Messages

class Pieces(Messages):
    def __init__(self, inbox: Inbox, limits: Limits, deflate: Deflate | None = None) -> None: ...
    def begin_pieces(self) -> None: ...
