"""A server that looks at nothing and answers everything; what it writes may be spoilt. Knows nothing of who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from support import RawPeer

from firefly_ws.cli.checking.frames import CLOSE, CONTINUATION, PING, PONG, accept_of, frame, read_frame

__all__ = ["Careless"]

_KNOWN = (0, 1, 2, 8, 9, 10)


class Careless:
    """Upgrades every request, takes every frame, echoes; ``serve`` is for `support.raw_server`."""

    def __init__(self, head: Callable[[bytes], bytes] = bytes, out: Callable[[bytes], bytes] = bytes) -> None:
        self._head, self._out = head, out
        """What they make of the head of the answer, and of each frame, is what is sent."""

    async def serve(self, peer: RawPeer) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # a rule that is answered leaves at once
            await self._serve(peer)

    async def _serve(self, peer: RawPeer) -> None:
        _, fields = await peer.request()
        accept = accept_of(fields.get("sec-websocket-key", ""))
        lines = ("HTTP/1.1 101 Yes", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
        peer.send(self._head("\r\n".join((*lines, "", "")).encode()))
        data, message = bytearray(), bytearray()
        opcode = 1
        while piece := await peer.reader.read(65536):
            data += piece
            if data[1:2] == b"\xff" and data[2] >= 0x40:  # as one that fails to allocate that much
                return
            while (found := read_frame(data)) is not None:
                if found.opcode == PING:
                    self._send(peer, PONG, found.payload)
                elif found.opcode == CLOSE:
                    self._send(peer, CLOSE, found.payload)
                    return
                elif found.opcode in _KNOWN and found.opcode != PONG:
                    opcode = found.opcode if found.opcode != CONTINUATION else opcode
                    message += found.payload
                    if found.fin:
                        self._send(peer, opcode, bytes(message))
                        message.clear()

    def _send(self, peer: RawPeer, opcode: int, payload: bytes) -> None:
        peer.send(self._out(frame(opcode, payload, mask=False)))
