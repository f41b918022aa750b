"""WebSocket server and client for Python: strict, fast, callbacks over uvloop.

The names below are all there is to know; see the documentation for how they fit.
"""

from __future__ import annotations

from ._core.done import DONE, Done
from ._core.frames import BinaryFrame, CloseFrame, ContinuationFrame, Frame, PingFrame, PongFrame, TextFrame
from .activation import inherited_sockets
from .capabilities import Capability, WebSocketCapability, WebSocketExtensionsCapability
from .client_builder import HttpClient, WebSocketClient, http_client
from .codes import CloseCode, CloseReason, ConnectionState, Opcode
from .config import HttpConfig
from .connection import WebSocketConnection
from .converters import Converter, JsonConverter, MsgPackConverter
from .counts import ServerStats
from .details import CloseDetails
from .errors import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConverterNotFound,
    DeserializeError,
    FrameTooBig,
    HandshakeError,
    InflatesTooMuch,
    InvalidPayload,
    MessageTooBig,
    PingTimeout,
    ProtocolError,
    ProxyError,
    QueueOverflow,
    RateExceeded,
    ReadTimeout,
    WebSocketConnectionException,
    WebSocketException,
    WriteTimeout,
)
from .extensions.base import AgreedExtension, Extension, ExtensionCodec
from .extensions.deflate_frame import DeflateFrame
from .extensions.fragment import Fragment
from .extensions.permessage_deflate import PerMessageDeflate
from .http.request import Request
from .http.response import Response
from .policy import WebSocketPolicy
from .runtime import run
from .server import Server
from .server_builder import HttpServer, WebSocketRoute, http_server
from .service import WebSocketService

__version__ = "0.1.0"

__all__ = [
    "DONE",
    "AgreedExtension",
    "BinaryFrame",
    "Capability",
    "CloseCode",
    "CloseDetails",
    "CloseFrame",
    "CloseReason",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionState",
    "ContinuationFrame",
    "Converter",
    "ConverterNotFound",
    "DeflateFrame",
    "DeserializeError",
    "Done",
    "Extension",
    "ExtensionCodec",
    "Fragment",
    "Frame",
    "FrameTooBig",
    "HandshakeError",
    "HttpClient",
    "HttpConfig",
    "HttpServer",
    "InflatesTooMuch",
    "InvalidPayload",
    "JsonConverter",
    "MessageTooBig",
    "MsgPackConverter",
    "Opcode",
    "PerMessageDeflate",
    "PingFrame",
    "PingTimeout",
    "PongFrame",
    "ProtocolError",
    "ProxyError",
    "QueueOverflow",
    "RateExceeded",
    "ReadTimeout",
    "Request",
    "Response",
    "Server",
    "ServerStats",
    "TextFrame",
    "WebSocketCapability",
    "WebSocketClient",
    "WebSocketConnection",
    "WebSocketConnectionException",
    "WebSocketException",
    "WebSocketExtensionsCapability",
    "WebSocketPolicy",
    "WebSocketRoute",
    "WebSocketService",
    "WriteTimeout",
    "http_client",
    "http_server",
    "inherited_sockets",
    "run",
    "websocket",
    "ws",
    "wss",
]

_default = HttpClient()
websocket = _default.websocket
ws = _default.ws
wss = _default.wss
