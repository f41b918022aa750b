"""HTTP/1.1 as far as an upgrade needs it; knows bytes and heads, no socket and no websocket."""

from __future__ import annotations

from .head import BadRequest, RequestHead, ResponseBody, ResponseHead, ResponseInfo
from .headers import Headers, HeaderSource
from .request import Request
from .response import Response

__all__ = [
    "BadRequest",
    "HeaderSource",
    "Headers",
    "Request",
    "RequestHead",
    "Response",
    "ResponseBody",
    "ResponseHead",
    "ResponseInfo",
]
