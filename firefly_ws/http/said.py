"""What a refusal says, as an error's text and a log may have it: short, one line, no secrets. Knows no connection."""

from __future__ import annotations

import base64
import re
from binascii import Error as Base64Error
from collections.abc import Iterable
from html import unescape
from typing import Final

from .headers import Headers

__all__ = ["answered", "one_line", "quoted", "secrets_of"]

_LOOKED_AT: Final = 4096
"""Bytes of a body: what is worth quoting stands at its beginning."""
_SHOWN: Final = 200
"""Characters of it; a reason phrase has half of that."""
_SHORTEST: Final = 4
"""Characters of a cookie: `en` or `1` is in every text, and no secret."""

_is_text = re.compile(r"text/|application/(?:.*[+/]|)(?:json|xml)\b", re.IGNORECASE).match
_is_html = re.compile(r"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE).match
_without_invisible = re.compile(r"<!--.*?(?:-->|$)|<(script|style|head)\b.*?(?:</\1\s*>|$)", re.S | re.I).sub
_without_tags = re.compile(r"<[^>]*(?:>|$)").sub
_title = re.compile(r"<title\b[^>]*>([^<]*)", re.IGNORECASE).search


def one_line(text: str, limit: int = _SHOWN) -> str:
    """*text* with single blanks, nothing that a terminal or a log obeys, and at most *limit* characters."""
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def answered(status: int, reason: str) -> str:
    """``404 Not Found``: the reason as `one_line`, where there is one."""
    return f"{status} {one_line(reason, _SHOWN // 2)}".rstrip()


def quoted(headers: Headers, body: bytes, secrets: Iterable[str] = ()) -> str:
    """``: 'what the body says'``, to be put behind an answer's status; empty where it is no text.

    Of a page in HTML it is what a browser would show. *secrets*, which a server may repeat, are shown as ``***``.
    """
    kind = headers.get("content-type", "")
    coding = headers.get("content-encoding", "identity").lower()
    if not body or coding != "identity" or (kind and not _is_text(kind)):
        return ""
    text = _decoded(body[:_LOOKED_AT], kind)
    if "html" in kind.lower() or _is_html(text):
        seen = _without_tags(" ", _without_invisible(" ", text)).strip()
        title = _title(text)
        text = unescape(seen or (title[1] if title else ""))
    for secret in sorted(set(secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    shown = one_line(text)
    # Text that nobody has called so is taken for it if it looks like it.
    if not shown or (not kind and text.count("\ufffd") > len(text) // 20):
        return ""
    return f": {shown!r}"


def _decoded(body: bytes, kind: str) -> str:
    # Of the other charsets there are none worth the risk of asking a codec that the server has chosen.
    latin = re.search(r"charset=\"?(?:iso-8859-1|latin-?1|windows-1252)\b", kind, re.IGNORECASE)
    return body.decode("cp1252" if latin else "utf-8", errors="replace")


def secrets_of(headers: Iterable[tuple[str, str]]) -> list[str]:
    """What a request's *headers* have that its answer must not be quoted with: credentials, whole and in parts."""
    found: list[str] = []
    for name, value in headers:
        match name.lower():
            case "authorization" | "proxy-authorization":
                scheme, _, credentials = value.partition(" ")
                credentials = credentials.strip()
                found += [credentials or scheme]
                if scheme.lower() == "basic":
                    found += _password_of(credentials)
            case "cookie":
                pairs = (pair.partition("=")[2].strip() for pair in value.split(";"))
                found += [one for one in pairs if len(one) >= _SHORTEST]
    return [one for one in found if one]


def _password_of(credentials: str) -> list[str]:
    try:
        return [base64.b64decode(credentials, validate=True).decode().partition(":")[2]]
    except (Base64Error, UnicodeError):  # whoever wrote the header by hand
        return []
