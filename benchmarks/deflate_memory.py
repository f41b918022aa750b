"""Bytes that one connection's compression keeps, for each choice: `python -m benchmarks.deflate_memory`.

A process of its own for each row, so that nothing an earlier one has freed is used again. It makes the server's
codecs as a connection has them, sends 300 KB each way through each, and reads the kernel's figure for the process
(PSS) before and after. The connection's own memory comes on top and is the same for all.
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from pathlib import Path

from firefly_ws import DeflateFrame, PerMessageDeflate, TextFrame
from firefly_ws.extensions.grammar import parse_items

__all__ = ["CHOICES", "measure"]

CONNECTIONS = 300
TEXT = json.dumps([{"id": number, "name": f"user {number}", "active": number % 3 == 0} for number in range(6000)])

CHOICES: dict[str, tuple[PerMessageDeflate | DeflateFrame, str]] = {
    "permessage-deflate, the default": (PerMessageDeflate(), ""),
    "context_takeover=True, client asks for client_no_context_takeover": (
        PerMessageDeflate(context_takeover=True),
        "client_no_context_takeover",
    ),
    "context_takeover=True, client asks for server_no_context_takeover": (
        PerMessageDeflate(context_takeover=True),
        "server_no_context_takeover",
    ),
    "context_takeover=True": (PerMessageDeflate(context_takeover=True), ""),
    "context_takeover=True, 12 bits, mem_level=5": (
        PerMessageDeflate(context_takeover=True, server_max_window_bits=12, client_max_window_bits=12, mem_level=5),
        "client_max_window_bits",
    ),
    "context_takeover=True, 9 bits, mem_level=1": (
        PerMessageDeflate(context_takeover=True, server_max_window_bits=9, client_max_window_bits=9, mem_level=1),
        "client_max_window_bits",
    ),
    "deflate-frame": (DeflateFrame(), ""),
    "deflate-frame;no_context_takeover": (DeflateFrame(context_takeover=False), ""),
}
"""What a server configures, and what the client's offer says."""


def pss() -> int:
    """The memory that is this process's own, in bytes."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def measure(name: str, connections: int = CONNECTIONS) -> tuple[int, float]:
    """Bytes for each connection: idle, and after 300 KB each way."""
    extension, offer = CHOICES[name]
    agreed = extension.answer(parse_items(f"x; {offer}")[0].params if offer else ())
    assert agreed is not None
    message = TextFrame(TEXT)
    # The peer's side of one connection: every server codec is sent the same first message.
    (sent,) = agreed.codec(True, 64).encode(message)
    for _ in range(2):
        one = agreed.codec(False, 64)
        one.encode(message), one.decode(sent, None)
    del one
    gc.collect()
    before = pss()
    codecs = [agreed.codec(False, 64) for _ in range(connections)]
    for codec in codecs:
        codec.encode(message)
        codec.decode(sent, None)
    gc.collect()
    used = pss()
    # An idle codec holds nothing but itself.
    return sys.getsizeof(agreed.codec(False, 64)), max(0.0, used - before) / connections


def main() -> None:
    """Print the table."""
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1])))
        return
    print("| choice | idle, nothing sent yet | after 300 KB each way |\n|---|---|---|")
    for name in CHOICES:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.deflate_memory", name], check=True, capture_output=True, text=True
        )
        idle, used = json.loads(done.stdout)
        print(f"| {name} | {idle} bytes | {used / 1024:.0f} KiB |")


if __name__ == "__main__":
    main()
