"""The public contract: every name and every default, written down here once more, by hand."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
from every import for_each

import firefly_ws
from firefly_ws import (
    CloseCode,
    ConnectionState,
    Done,
    Frame,
    HttpClient,
    HttpConfig,
    HttpServer,
    Server,
    WebSocketClient,
    WebSocketConnection,
    WebSocketPolicy,
    WebSocketRoute,
    errors,
)
from firefly_ws.session import Incoming, Outgoing
from firefly_ws.threads import ThreadSafeConnection, ThreadSafeServer

CALLBACKS = "on_accept on_accept_async on_open on_message on_text on_binary on_frame on_ping on_pong on_close on_error"
OPTIONS = f"{CALLBACKS} handler discard service raw extensions sub_protocols policy converter"
LIMITS: dict[str, Any] = {
    "max_message_size": 1048576, "max_text_message_size": None, "max_binary_message_size": None,
    "max_frame_size": None, "max_fragments": 131072, "open_timeout": 10, "close_timeout": 10, "idle_timeout": None,
    "read_timeout": None, "write_timeout": 30, "ping_interval": None, "ping_timeout": 20, "connection_timeout": None,
    "write_high_water": 1048576, "write_low_water": 262144, "max_write_buffer": 16777216, "max_queue": (64, 1048576),
    "max_header_size": 16384, "max_header_count": 128, "compression_threshold": 64,
    "slow_consumer": "wait", "max_pending_pings": 64, "max_inflate_ratio": None,
    "max_message_rate": None, "max_byte_rate": None, "rate_burst": 5, "over_rate": "close",
}  # fmt: skip
SENDS = "send send_text send_data send_binary send_frame send_serialized send_stream send_latest ping pong"
ENDS = "close close_async terminate drop wait_closed"
ASKS = "receive receive_text receive_data receive_deserialized"

NAMES: dict[type, str] = {
    HttpServer: "websocket unregister get post put delete patch route on_not_found on_upgrade origins secure timeout "
    f"on_exception health listen static asgi policy converter extensions {' '.join(LIMITS)}",
    WebSocketRoute: f"{OPTIONS} {' '.join(LIMITS)} on_extension_select on_sub_protocol_select "
    "websocket unregister get post put delete patch route on_not_found on_upgrade origins secure timeout "
    "on_exception health listen static asgi",
    Server: "addresses port connections is_listening close wait_closed stats threadsafe unregister",
    HttpClient: "websocket ws wss is_supported supported_extensions policy converter extensions ssl "
    f"{' '.join(LIMITS)}",
    WebSocketClient: f"{OPTIONS} {' '.join(LIMITS)} header headers basic_auth bearer cookies origin ssl proxy "
    "redirects connect connect_async forever reconnect",
    WebSocketConnection: "id url path request response sub_protocol extensions policy remote_address local_address "
    "is_secure server client attributes open_time close_time last_read last_write bytes_read bytes_written "
    f"{SENDS} flush buffered_amount pause_reading resume_reading is_writable {ENDS} "
    "state is_open is_closed close_reason close_sent close_received latency stats "
    f"{ASKS} receive_stream texts binaries incoming outgoing threadsafe "
    "ping_interval ping_timeout read_timeout write_timeout max_frame_size max_message_size masking",
    Incoming: "receive",
    Outgoing: "send flush close",
    ThreadSafeConnection: f"{SENDS} flush pause_reading resume_reading {ENDS} {ASKS}",
    ThreadSafeServer: "close wait_closed addresses port connections is_listening stats",
    Frame: "frame_type opcode fin rsv1 rsv2 rsv3 payload is_control",
    firefly_ws.TextFrame: "text payload_as_utf8",
    firefly_ws.BinaryFrame: "data",
    firefly_ws.CloseFrame: "reason",
    Done: "done result exception add_done_callback __await__",
}
SETTABLE = "ping_interval ping_timeout read_timeout write_timeout max_frame_size max_message_size"


@for_each(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names.split()])
def test_a_name_of_the_contract_exists(kind: type, name: str) -> None:
    assert hasattr(kind, name)


@pytest.mark.parametrize("name", ["http_server", "http_client", "websocket", "ws", "wss", "run", "DONE"])
def test_a_name_of_the_module_exists(name: str) -> None:
    assert name in firefly_ws.__all__


def test_each_limit_has_its_default() -> None:
    assert dataclasses.asdict(WebSocketPolicy()) == LIMITS


def test_the_defaults_of_listen_close_and_reading() -> None:
    listen = inspect.signature(HttpServer.listen).parameters
    assert {name: one.default for name, one in listen.items() if name != "self"} == {
        "host": None, "port": None, "sock": None, "path": None, "reuse_port": None, "backlog": 4096,
    }  # fmt: skip
    close = inspect.signature(Server.close).parameters
    assert {name: one.default for name, one in close.items() if name != "self"} == {
        "code": 1001, "reason": "", "grace": 10, "spread": 0,
    }  # fmt: skip
    assert inspect.signature(HttpServer.__init__).parameters["config"].default is None
    assert inspect.signature(HttpClient.__init__).parameters["config"].default is None
    assert {"policy", "converter", "extensions", "ssl"} <= {one.name for one in dataclasses.fields(HttpConfig)}
    for name in ("__await__", "__aenter__", "__aexit__"):
        assert hasattr(Server, name)
    for kind in (WebSocketConnection, Incoming):
        assert hasattr(kind, "__aiter__")


def test_live_settings_can_be_set_and_masking_can_not() -> None:
    for name in SETTABLE.split():
        assert getattr(WebSocketConnection, name).fset is not None
    assert isinstance(WebSocketConnection.masking, property)
    assert WebSocketConnection.masking.fset is None


ERRORS = {
    "WebSocketConnectionException": ("WebSocketException", "OSError"),
    "HandshakeError": ("WebSocketConnectionException",), "ProxyError": ("WebSocketConnectionException",),
    "ConnectionClosed": ("WebSocketException",), "ConnectionClosedOK": ("ConnectionClosed",),
    "ConnectionClosedError": ("ConnectionClosed",), "ProtocolError": ("WebSocketException",),
    "InvalidPayload": ("ProtocolError",), "PingTimeout": ("WebSocketException",),
    "QueueOverflow": ("WebSocketException",), "ConverterNotFound": ("WebSocketException",),
    "DeserializeError": ("WebSocketException",),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_stands_where_it_should(name: str) -> None:
    assert tuple(base.__name__ for base in getattr(errors, name).__bases__) == ERRORS[name]
    assert name in firefly_ws.__all__


@pytest.mark.parametrize("name", ["FrameTooBig", "MessageTooBig"])
def test_what_is_too_big_is_a_protocol_error(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.ProtocolError)


def test_close_codes_and_states() -> None:
    assert {code.name: int(code) for code in CloseCode} == {
        "NORMAL": 1000, "GOING_AWAY": 1001, "PROTOCOL_ERROR": 1002, "UNSUPPORTED_DATA": 1003, "NO_STATUS": 1005,
        "ABNORMAL_CLOSURE": 1006, "INVALID_PAYLOAD": 1007, "POLICY_VIOLATION": 1008, "MESSAGE_TOO_BIG": 1009,
        "MANDATORY_EXTENSION": 1010, "INTERNAL_ERROR": 1011, "SERVICE_RESTART": 1012, "TRY_AGAIN_LATER": 1013,
        "BAD_GATEWAY": 1014, "TLS_HANDSHAKE_FAILED": 1015,
    }  # fmt: skip
    assert [state.name for state in ConnectionState] == ["CONNECTING", "OPEN", "CLOSING", "CLOSED"]


def test_extensions_have_their_names_and_permessage_deflate_its_parameters() -> None:
    known = firefly_ws.http_client().supported_extensions()
    assert set(known) == {
        "permessage-deflate", "deflate-frame", "x-webkit-deflate-frame", "fragment", "identity",
    }  # fmt: skip
    taken = inspect.signature(firefly_ws.PerMessageDeflate).parameters
    assert {
        "context_takeover", "level", "mem_level", "server_max_window_bits", "client_max_window_bits", "threshold",
        "compress_if",
    } <= taken.keys()  # fmt: skip
