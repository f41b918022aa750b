"""picows' echo server: the payload goes out as the memoryview it came in, which is picows' fastest way."""

import picows

LARGEST = 32 * 1024 * 1024


class Echo(picows.WSListener):
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


async def start(variant: str) -> int:
    """`uvloop`: on uvloop's transports; otherwise on aiofastnet's, which picows takes where it is installed."""
    server = await picows.ws_create_server(
        lambda request: Echo(),
        "127.0.0.1",
        0,
        websocket_handshake_timeout=None,
        enable_auto_ping=False,
        max_frame_size=LARGEST,
        use_aiofastnet=False if variant == "uvloop" else None,
        backlog=4096,
    )
    return int(server.sockets[0].getsockname()[1])
