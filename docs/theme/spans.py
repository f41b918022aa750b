"""Names of the library in the text of a page or a docstring, led to where the reference describes them."""

from __future__ import annotations

import re
from collections.abc import Callable

SPAN = re.compile(r"(?<![`\w])`([A-Za-z_][\w.]*)`(?!`)")


def linked(text: str, target: Callable[[str], str | None]) -> str:
    """*text* with each name in single backticks led to ``target(name)``, if there is one and a page describes it."""

    def link(found: re.Match[str]) -> str:
        path = target(found[1])
        return found[0] if path is None else f'<autoref identifier="{path}" optional><code>{found[1]}</code></autoref>'

    return SPAN.sub(link, text)
