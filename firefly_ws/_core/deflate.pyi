from collections.abc import Callable

class Deflate:
    def __init__(
        self,
        compress_bits: int = 15,
        decompress_bits: int = 15,
        compress_takeover: bool = False,
        decompress_takeover: bool = False,
        level: int = 1,
        mem_level: int = 8,
        threshold: int = 64,
        compress_if: Callable[[bytes], object] | None = None,
    ) -> None: ...
    @property
    def compress_bits(self) -> int: ...
    @property
    def decompress_bits(self) -> int: ...
    @property
    def compress_takeover(self) -> bool: ...
    @property
    def decompress_takeover(self) -> bool: ...
    @property
    def level(self) -> int: ...
    @property
    def mem_level(self) -> int: ...
    @property
    def threshold(self) -> int: ...
