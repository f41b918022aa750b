"""``python -m tests.fuzz``: fuzzes for as long as asked, and says what has been found and by which seed.

python -m tests.fuzz --minutes 10              frames against the judge, and texts
python -m tests.fuzz --seed 12345 --minutes 0  one seed again
python -m tests.fuzz --coverage url            one reader of text, led by coverage (pip install 'firefly-ws[fuzz]')
python -m tests.fuzz --keep                    what that has found out, into the corpus that every test run reads
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import logging
import random
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

atheris: Any = None
if any(argument.startswith("--coverage") for argument in sys.argv):
    try:
        import atheris  # type: ignore[no-redef]
    except ImportError:
        sys.exit("--coverage needs atheris: pip install 'firefly-ws[fuzz]'")
    with atheris.instrument_imports(include=["firefly_ws"]):  # what is imported first here, and nothing else
        import firefly_ws.handshake
        import firefly_ws.http
        import firefly_ws.proxy
        import firefly_ws.redirects
        import firefly_ws.routes  # noqa: F401

from fuzz import corpus  # noqa: E402
from fuzz.differing import Difference, compare, shrink  # noqa: E402
from fuzz.keeping import chosen  # noqa: E402
from fuzz.streams import random_case  # noqa: E402
from fuzz.texts import TARGETS, mutated  # noqa: E402

FOUND = Path("build/fuzz")  # a folder for each reader of text
HANGS = 60.0  # seconds for one input
ENOUGH = 5  # findings: what comes behind them is mostly the same


def one_round(seed: int) -> str | None:
    """One stream and some texts of *seed*; what was found, or ``None``."""
    faulthandler.dump_traceback_later(HANGS, exit=True)
    try:
        asyncio.run(compare(random_case(seed)))
    except Difference:
        smallest = asyncio.run(shrink(random_case(seed)))
        assert smallest is not None, "it does not happen again"
        return f"{smallest}\n  corpus   {json.dumps(corpus.written(smallest.case))}"
    dice = random.Random(seed)
    for name, (target, seeds) in TARGETS.items():
        for _ in range(20):
            data = mutated(seeds, dice)
            try:
                target(data)
            except Exception as error:
                return f"{name}: {type(error).__name__}: {error}\n  input    {data!r}"
    faulthandler.cancel_dump_traceback_later()
    return None


def fuzz(minutes: float, seed: int) -> int:
    """As long as asked, one round at least; the number of seeds that have found something."""
    end = time.monotonic() + 60 * minutes
    found = rounds = 0
    while rounds == 0 or (time.monotonic() < end and found < ENOUGH):
        message = one_round(seed + rounds)
        if message is not None:
            found += 1
            print(f"seed {seed + rounds}: {message}", flush=True)
        rounds += 1
    print(f"{rounds} rounds from seed {seed}, {found} of them found something")
    return found


def led_by_coverage(name: str, minutes: float) -> None:
    """Give *name*'s target to atheris, which does not return."""
    target, seeds = TARGETS[name]
    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate([*seeds, *corpus.texts(name)]):
        (folder / f"seed-{index}").write_bytes(seed)
    atheris.Setup(
        [
            "fuzz",
            str(folder),
            f"-max_total_time={int(60 * minutes)}",
            "-max_len=4096",
            f"-timeout={int(HANGS)}",
            f"-artifact_prefix={folder}-",
        ],
        target,
    )
    atheris.Fuzz()


def keep() -> None:
    """Add to the corpus what coverage has led to, and nothing in it has shown."""
    for name, (target, seeds) in TARGETS.items():
        known = corpus.texts(name)
        found = [path.read_bytes() for path in sorted((FOUND / name).glob("*")) if path.is_file()]
        more = chosen(target, [*seeds, *known], found)
        corpus.keep_texts(name, [*known, *more])
        print(f"{name}: {len(more)} of {len(found)} are new, {len(known) + len(more)} are kept")


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; another at every run unless given")
    parser.add_argument("--coverage", choices=TARGETS, metavar="TARGET", help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("--keep", action="store_true", help="choose from build/fuzz what is kept")
    asked = parser.parse_args()
    logging.getLogger("firefly_ws").setLevel(logging.CRITICAL)
    if asked.keep:
        keep()
        return
    if asked.coverage:
        led_by_coverage(asked.coverage, asked.minutes)
    seed = random.SystemRandom().randrange(2**40) if asked.seed is None else asked.seed
    sys.exit(1 if fuzz(asked.minutes, seed) else 0)


if __name__ == "__main__":
    main()
