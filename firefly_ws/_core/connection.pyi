from collections.abc import Collection

from firefly_ws.codes import ConnectionState

from .chain import Chain
from .closing import Closing
from .deflate import Deflate
from .delivery import Callbacks
from .inbox import Inbox
from .limits import Limits
from .outbox import Turn
from .steps import Steps, Wait

class Connection(Closing):
    def __init__(
        self,
        limits: Limits,
        callbacks: Callbacks,
        steps: Steps,
        turn: Turn,
        is_client: bool,
        deflate: Deflate | None = None,
        chain: Chain | None = None,
    ) -> None: ...
    @property
    def _inbox(self) -> Inbox | None: ...
    @property
    def _message_callbacks(self) -> bool: ...
    def wait_finished(self) -> Wait[None]: ...
    @property
    def state(self) -> ConnectionState: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def is_closed(self) -> bool: ...
    def _fail(self, error: BaseException) -> None: ...
    def _on_finished(self) -> None: ...
    def _cancel_callbacks(self, spared: Collection[object] = ()) -> None: ...
    def _times(self) -> tuple[float, float, float, float]: ...
