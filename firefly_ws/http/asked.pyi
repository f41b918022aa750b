from typing import Any

from .headers import Headers

class Asked:
    remote_address: Any
    is_secure: bool
    _path_params: dict[str, str] | None
    _query: dict[str, list[str]] | None
    _cookies: dict[str, str] | None
    _attributes: dict[Any, Any] | None
    _body: Any
    def __init__(self, method: str, target: str, headers: Headers, http_version: str = "1.1") -> None: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def http_version(self) -> str: ...
    @property
    def headers(self) -> Headers: ...
