"""`python -m benchmarks.attacks.witness`: sleeps on the server's core, and says how late it was woken at most.

A virtual machine's core may stand still for a quarter of a second while the others run: the server is late then, and
who sleeps on another core does not notice. Ends with its stdin.
"""

from __future__ import annotations

import json
import os
import select
import time

PERIOD = 0.003


def main() -> None:
    print(json.dumps({"ready": True}), flush=True)
    late = 0.0
    while True:
        began = time.perf_counter()
        if select.select([0], [], [], PERIOD)[0] and not os.read(0, 64):
            break
        late = max(late, time.perf_counter() - began - PERIOD)
    print(json.dumps({"late_ms": late * 1000}), flush=True)


if __name__ == "__main__":
    main()
