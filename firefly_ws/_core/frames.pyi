from typing import Any, ClassVar, Self

from typing_extensions import Buffer

from firefly_ws.codes import CloseReason, Opcode

class Frame:
    def __init__(
        self,
        opcode: int,
        payload: str | Buffer = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    @property
    def opcode(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def frame_type(self) -> Opcode: ...
    @property
    def fin(self) -> bool: ...
    @property
    def rsv1(self) -> bool: ...
    @property
    def rsv2(self) -> bool: ...
    @property
    def rsv3(self) -> bool: ...
    @property
    def is_control(self) -> bool: ...
    def replace(
        self,
        *,
        payload: str | Buffer | None = None,
        fin: bool | None = None,
        rsv1: bool | None = None,
        rsv2: bool | None = None,
        rsv3: bool | None = None,
    ) -> Self: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

class TextFrame(Frame):
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        payload: str | Buffer = "",
        *,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    @property
    def text(self) -> str: ...
    @property
    def payload_as_utf8(self) -> str: ...

class BinaryFrame(Frame):
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        payload: str | Buffer = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    @property
    def data(self) -> bytes: ...

class ContinuationFrame(Frame):
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        payload: str | Buffer = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...

class PingFrame(Frame):
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, payload: str | Buffer = b"") -> None: ...

class PongFrame(Frame):
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, payload: str | Buffer = b"") -> None: ...

class CloseFrame(Frame):
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, code: int | CloseReason | None = None, reason: str = "") -> None: ...
    @property
    def reason(self) -> CloseReason | None: ...

def close_payload(code: int, reason: str = "") -> bytes: ...
