"""Redirects of the opening handshake (RFC 6455 §4.1): where the next request goes and what it takes along."""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from urllib.parse import urldefrag, urljoin, urlsplit

from .errors import HandshakeError
from .url import WebSocketURL, parse, without_user

__all__ = ["REDIRECTS", "follow", "is_redirect", "without_credentials"]

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""The answers that lead somewhere else (RFC 9110 §15.4); an upgrade is a GET, so all of them mean the same to us."""
_WEBSOCKET: Final = {"http": "ws", "https": "wss"}
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


def is_redirect(answer: HandshakeError) -> bool:
    """Whether an answer says where to ask instead."""
    return answer.status in REDIRECTS and answer.headers.get("location") is not None


def follow(url: WebSocketURL, answer: HandshakeError) -> WebSocketURL:
    """Where *answer*, a redirect of *url*, leads: relative or not, ``http`` being ``ws`` and ``https`` ``wss``.

    Raises `HandshakeError` with the answer's facts where it leads from ``wss`` to ``ws``, or nowhere.
    """
    location = answer.headers.get("location", "")
    with suppress(UnicodeError):  # what is not ASCII there, though it should be, is UTF-8 as everywhere
        location = location.encode("latin-1").decode()

    def wrong(why: str) -> HandshakeError:
        return HandshakeError(
            answer.status,
            answer.headers,
            answer.body,
            f"{url} answered {answer.status} with the Location {without_user(location)[:200]!r}, {why}",
        )

    try:
        # A fragment is the business of whoever shows a page; user and password are ours to set, not the server's.
        target = urldefrag(urljoin(str(url), location)).url
        scheme = urlsplit(target).scheme
        if scheme in _WEBSOCKET:
            target = _WEBSOCKET[scheme] + target[len(scheme) :]
        found = parse(target)
    except ValueError as error:
        raise wrong(f"which cannot be followed: {error}") from None
    if url.secure and not found.secure:
        raise wrong("which would give up TLS")
    return WebSocketURL(found.secure, found.host, found.port, found.target)


def without_credentials(
    headers: tuple[tuple[str, str], ...], old: WebSocketURL, new: WebSocketURL
) -> tuple[tuple[str, str], ...]:
    """*headers* as they may go on from *old* to *new*: to another origin without Authorization and Cookie."""
    if (old.secure, old.host, old.port) == (new.secure, new.host, new.port):
        return headers
    return tuple((name, value) for name, value in headers if name.lower() not in _CREDENTIALS)
