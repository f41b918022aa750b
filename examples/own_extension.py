"""An extension of one's own: a checksum behind every frame, so that what a proxy has damaged is noticed.

Its token is `x-crc32`; it marks its frames with RSV2 and chains with permessage-deflate, which owns RSV1. Run it: a
server and a client talk with it, then a client without it talks to the same server.
"""

import asyncio
import zlib
from collections.abc import Sequence

from firefly_ws import AgreedExtension, Frame, ProtocolError, http_client, http_server, run

RSV2 = 2
Params = tuple[tuple[str, str | None], ...]


class Checksum:
    """What is configured, and shared by all connections: an `Extension`."""

    name = "x-crc32"

    def offers(self) -> Sequence[Params]:
        """As a client: one offer, without parameters."""
        return [()]

    def answer(self, params: Params) -> AgreedExtension | None:
        """As a server: agree, unless parameters are asked for that nobody knows."""
        return None if params else AgreedChecksum(self.name, rsv=RSV2)

    def confirm(self, params: Params) -> AgreedExtension:
        """As a client, of the server's answer."""
        if params:
            raise ValueError(f"{self.name} has no parameters, but the server answered with {params}")
        return AgreedChecksum(self.name, rsv=RSV2)


class AgreedChecksum(AgreedExtension):
    """What both ends have agreed on."""

    def codec(self, is_client: bool, threshold: int | None) -> "ChecksumCodec":
        """One for each connection."""
        return ChecksumCodec()


class ChecksumCodec:
    """What happens to the frames of one connection: an `ExtensionCodec`."""

    def encode(self, frame: Frame) -> list[Frame]:
        """On the way out: four bytes more, and the mark."""
        checksum = zlib.crc32(frame.payload).to_bytes(4, "big")
        return [frame.replace(payload=frame.payload + checksum, rsv2=True)]

    def decode(self, frame: Frame, limit: int | None) -> list[Frame]:
        """On the way in: compare, and take both off."""
        payload, checksum = frame.payload[:-4], frame.payload[-4:]
        if not frame.rsv2 or zlib.crc32(payload).to_bytes(4, "big") != checksum:
            raise ProtocolError("a frame's checksum is missing or wrong", 1007)
        return [frame.replace(payload=payload, rsv2=False)]


async def main() -> None:
    route = http_server().websocket("/").extensions([Checksum(), "permessage-deflate"])
    async with route.on_message(lambda frame, connection: connection.send(frame)).listen("127.0.0.1", 0) as server:
        for extensions in (["permessage-deflate", Checksum()], []):
            answers: asyncio.Queue[str] = asyncio.Queue()
            client = http_client().websocket(f"ws://127.0.0.1:{server.port}/").extensions(extensions)
            client.on_text(lambda text, connection, answers=answers: answers.put_nowait(text))
            client.on_frame(lambda frame, connection: print(f"on the wire: {len(frame)} bytes, RSV2 {frame.rsv2}"))
            async with client.connect() as connection:
                print("agreed:", ", ".join(extension.name for extension in connection.extensions) or "nothing")
                connection.send("hello, " * 20)
                print("answer:", await answers.get())


if __name__ == "__main__":
    run(main)
