"""What a server says where no handler did: small error pages, and what handlers return made an answer."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from html import escape
from http import HTTPStatus

from .headers import HeaderSource, split_list
from .request import Request
from .response import Response

__all__ = ["as_response", "error_page", "prefers"]

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_BODIES = (str, dict, bytes, list, bytearray, memoryview, Iterable, AsyncIterable)
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>body {{ max-width: 36rem; margin: 12vh auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.4rem; }} p {{ overflow-wrap: anywhere; }}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""


def error_page(request: Request | None, status: int, text: str, headers: HeaderSource | None = None) -> Response:
    """An error as whoever asked wants to read it: HTML for browsers, JSON for programs, else a line of text."""
    title = f"{status} {_PHRASES.get(status, 'Error')}"
    kind = "text/plain" if request is None else prefers(request, "text/plain", "text/html", "application/json")
    if kind == "application/json":
        return Response(status, {"status": status, "error": text}, headers)
    if kind == "text/html":
        page = _PAGE.format(title=escape(title), text=escape(text))
        return Response(status, page, headers, "text/html; charset=utf-8")
    return Response.text(status, text, headers)


def prefers(request: Request, *kinds: str) -> str:
    """Which of the media types the Accept header likes best (RFC 9110 §12.5.1); the first where it does not care."""
    best, chosen = 0.0, kinds[0]
    accepted = []
    for element in split_list(request.headers.get("accept", "")):
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        accepted.append((name, quality))
    for kind in kinds:
        found = 0.0
        specific = -1
        for name, quality in accepted:
            rank = 2 if name == kind else 1 if name == kind.partition("/")[0] + "/*" else 0 if name == "*/*" else -1
            if rank > specific:
                specific, found = rank, quality
        if found > best:
            best, chosen = found, kind
    return chosen


def as_response(value: object, status: int = 200) -> Response:
    """What a handler returned, as an answer. ``TypeError`` for what is none."""
    if isinstance(value, Response):
        return value
    if not isinstance(value, _BODIES):
        raise TypeError(
            f"a handler returns a Response, str, bytes, dict, list, or an iterable of bytes or str, not {value!r}"
        )
    if isinstance(value, tuple) and any(isinstance(one, int) for one in value):
        raise TypeError(f"a handler returned {value!r}; a status goes into the Response: Response(404, body)")
    return Response(status, value)
