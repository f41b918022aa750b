"""Messages as a terminal may show them: nothing a peer sends can move the cursor or change a colour. Prints nothing."""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["JSON_LIMIT", "hex_dump", "plain", "pretty_json", "size"]

#: Characters of a text that is laid out as JSON; a longer one is shown as it came.
JSON_LIMIT: Final = 64 * 1024

# Control characters but for tab and line feed; what turns the direction of writing; lone surrogates.
_HARMFUL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """*text* with control characters written as ``\\x1b``, ``\\u202e``."""
    return _HARMFUL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


def pretty_json(text: str) -> str | None:
    """*text* laid out over several lines, if it is a JSON object or array of `JSON_LIMIT` characters at most.

    Its blanks alone change: numbers, escapes and keys that come twice stay as they were sent.
    """
    if len(text) > JSON_LIMIT or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    parts: list[str] = []
    depth, last = 0, ""
    for token in _TOKENS.findall(text):
        if token in ("]", "}"):
            depth -= 1
            if last not in ("[", "{"):
                parts.append("\n" + "  " * depth)
        elif last in ("[", "{", ","):
            parts.append("\n" + "  " * depth)
        parts.append(": " if token == ":" else token)
        if token in ("[", "{"):
            depth += 1
        last = token
    return "".join(parts)


def hex_dump(data: bytes, most: int | None = None) -> list[str]:
    """Lines of 16 bytes: offset, hexadecimal, characters; after *most* bytes a line that says how many more came."""
    shown = data if most is None else data[:most]
    lines = []
    for start in range(0, len(shown), 16):
        row = shown[start : start + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {left:<23}  {right:<23}  |{text}|")
    if len(shown) < len(data):
        lines.append(f"… {len(data) - len(shown)} bytes more")
    return lines


def size(count: int) -> str:
    """A number of bytes, for people."""
    if count < 1024:
        return f"{count} byte{'' if count == 1 else 's'}"
    return f"{count / 1024:.1f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"
