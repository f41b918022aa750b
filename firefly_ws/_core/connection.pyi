from collections.abc import Collection
from typing import Any

from firefly_ws.codes import ConnectionState
from firefly_ws.policy import WebSocketPolicy

from .chain import Chain
from .deflate import Deflate
from .delivery import Callbacks
from .explained import Explained
from .inbox import Inbox
from .limits import Limits
from .outbox import Turn
from .steps import Steps, Wait

class Connection(Explained):
    _failures: int
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
    def _begin_with(
        self,
        owner: Any,
        sub_protocol: str | None,
        extensions: tuple[Any, ...],
        request: Any,
        is_secure: bool,
        url: str | None,
        response: Any,
        addresses: tuple[Any, Any] | None,
    ) -> None: ...
    @property
    def id(self) -> int: ...
    @property
    def is_secure(self) -> bool: ...
    @property
    def request(self) -> Any: ...
    @property
    def response(self) -> Any: ...
    @property
    def sub_protocol(self) -> str | None: ...
    @property
    def extensions(self) -> tuple[Any, ...]: ...
    def _extra(self, name: str) -> Any: ...
    @property
    def _owner(self) -> Any: ...
    @property
    def _addresses(self) -> tuple[Any, Any] | None: ...
    _url: str | None
    _attributes: dict[Any, Any] | None
    @property
    def _inbox(self) -> Inbox | None: ...
    @property
    def _message_callbacks(self) -> bool: ...
    def _limit(self, limits: Limits, doing: str) -> None: ...
    @property
    def policy(self) -> WebSocketPolicy: ...
    def wait_finished(self) -> Wait[None]: ...
    @property
    def state(self) -> ConnectionState: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def is_closed(self) -> bool: ...
    def _fail(self, error: BaseException) -> None: ...
    def _cancel_callbacks(self, spared: Collection[object] = ()) -> list[Any]: ...
    def _times(self) -> tuple[float, float, float, float]: ...
