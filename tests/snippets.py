"""The Python blocks of the README and the docs: `python tests/snippets.py FOLDER` writes each to a file, for mypy."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["PAGES", "ROOT", "snippets"]

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]


def snippets() -> list[tuple[str, str]]:
    """Page and number, and the program."""
    found = []
    for page in PAGES:
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S), 1):
            found.append((f"{page.relative_to(ROOT)}:{number}", block))
    return found


if __name__ == "__main__":
    for name, block in snippets():
        file = Path(sys.argv[1]) / (re.sub(r"\W", "_", name) + ".py")
        file.write_text(block)
