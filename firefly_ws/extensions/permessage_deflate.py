"""permessage-deflate as negotiated (RFC 7692 §7.1), both roles; compresses nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from firefly_ws.callables import check_callable

from .base import AgreedExtension
from .grammar import Params

__all__ = ["PerMessageDeflate"]

NAME = "permessage-deflate"
_RSV1 = 4
MAX_BITS = 15
LEAST_BITS = 9
"""zlib's raw deflate has no window of 8 bits; its 9 may reach back further than 256 bytes."""
NEVER = sys.maxsize
"""A threshold no message reaches."""

_SERVER_TAKEOVER = "server_no_context_takeover"
_CLIENT_TAKEOVER = "client_no_context_takeover"
_SERVER_BITS = "server_max_window_bits"
_CLIENT_BITS = "client_max_window_bits"

# RFC 7692 §7.1.2: decimal, no leading zero.
WINDOW_BITS = {str(bits): bits for bits in range(8, 16)}


class PerMessageDeflate:
    """Compression of whole messages.

    Without ``context_takeover`` (the default) every message is compressed by itself: a
    server answers with, and a client offers, both ``…_no_context_takeover``, and an idle
    connection keeps no window. With it, repeated messages shrink further; each connection then
    keeps, measured, 300 KiB with 15 bits and ``mem_level`` 8 (260 of them to compress), 49 KiB with
    12 and 5, and 15 KiB with 9 and 1.

    ``server_max_window_bits`` and ``client_max_window_bits`` (9 to 15) bound the windows:
    the own one always, the peer's where it lets itself be bounded. ``level`` is zlib's
    1 to 9. ``threshold`` (bytes) overrides the policy's ``compression_threshold``, and
    ``compress_if(payload)`` may leave single messages uncompressed: a plain function, given the
    ``bytes`` of a message that reaches the threshold (of one in fragments, the first one's), text as UTF-8.
    What it raises, the send raises.

    Raises `TypeError` or `ValueError` naming the parameter, the value and what is allowed.
    """

    __slots__ = (
        "client_max_window_bits",
        "compress_if",
        "context_takeover",
        "level",
        "mem_level",
        "server_max_window_bits",
        "threshold",
    )

    def __init__(
        self,
        *,
        context_takeover: bool = False,
        level: int = 1,
        mem_level: int = 8,
        server_max_window_bits: int = MAX_BITS,
        client_max_window_bits: int = MAX_BITS,
        threshold: int | None = None,
        compress_if: Callable[[Any], object] | None = None,
    ) -> None:
        if not isinstance(context_takeover, bool):
            raise TypeError(f"context_takeover={context_takeover!r} must be True or False")
        check_number("level", level, 1, 9)
        check_number("mem_level", mem_level, 1, 9)
        check_number(_SERVER_BITS, server_max_window_bits, LEAST_BITS, MAX_BITS)
        check_number(_CLIENT_BITS, client_max_window_bits, LEAST_BITS, MAX_BITS)
        if threshold is not None:
            check_number("threshold", threshold, 0, None)
        check_compress_if(compress_if)
        self.context_takeover = context_takeover
        self.level = level
        self.mem_level = mem_level
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.threshold = threshold
        self.compress_if = compress_if

    @property
    def name(self) -> str:
        """Its registered token."""
        return NAME

    @classmethod
    def of_params(cls, params: Params) -> PerMessageDeflate:
        """From the parameters of a text such as ``permessage-deflate; server_max_window_bits=10``."""
        options: dict[str, int] = {}
        flags: set[str] = set()
        for key, value in params:
            if key in (_SERVER_BITS, _CLIENT_BITS) and key not in options:
                if value is not None and value not in WINDOW_BITS:
                    raise ValueError(f"{NAME}: {key}={value!r} must be a number from 9 to 15")
                options[key] = MAX_BITS if value is None else WINDOW_BITS[value]
            elif key in (_SERVER_TAKEOVER, _CLIENT_TAKEOVER) and key not in flags and value is None:
                flags.add(key)
            else:
                text = key if value is None else f"{key}={value}"
                raise ValueError(
                    f"{NAME}: parameter {text!r} is unknown or given twice; known: {_SERVER_TAKEOVER}, "
                    f"{_CLIENT_TAKEOVER} (both are the default), {_SERVER_BITS}=9..15, {_CLIENT_BITS}=9..15"
                )
        return cls(**options)  # type: ignore[arg-type]  # the two keys above

    def offers(self) -> tuple[Params, ...]:
        """One offer. ``client_max_window_bits`` is always in it: without it a server could not bound our window."""
        params: list[tuple[str, str | None]] = []
        if not self.context_takeover:
            params += [(_SERVER_TAKEOVER, None), (_CLIENT_TAKEOVER, None)]
        if self.server_max_window_bits < MAX_BITS:
            params.append((_SERVER_BITS, str(self.server_max_window_bits)))
        bits = self.client_max_window_bits
        params.append((_CLIENT_BITS, None if bits == MAX_BITS else str(bits)))
        return (tuple(params),)

    def answer(self, params: Params) -> AgreedDeflate | None:
        """A server's answer; ``None`` for parameters that are unknown, repeated or out of range (RFC 7692 §7)."""
        try:
            asked = _read(params, is_answer=False)
        except ValueError:
            return None
        answer: list[tuple[str, str | None]] = []
        takeover = self.context_takeover
        server_takeover = takeover and not asked.get(_SERVER_TAKEOVER)
        client_takeover = takeover and not asked.get(_CLIENT_TAKEOVER)
        if not server_takeover:
            answer.append((_SERVER_TAKEOVER, None))
        if not client_takeover:
            answer.append((_CLIENT_TAKEOVER, None))
        server_bits = min(self.server_max_window_bits, asked.get(_SERVER_BITS, MAX_BITS))
        if server_bits < LEAST_BITS:
            # RFC 7692 §7.1.2.1: what our compressor cannot do is declined, and the client's next offer tried.
            return None
        if server_bits < MAX_BITS or _SERVER_BITS in asked:
            answer.append((_SERVER_BITS, str(server_bits)))
        client_bits = MAX_BITS
        if _CLIENT_BITS in asked:
            # §7.1.2.2: only a client that sent it may be bounded.
            client_bits = min(self.client_max_window_bits, asked[_CLIENT_BITS])
            if client_bits < MAX_BITS:
                answer.append((_CLIENT_BITS, str(client_bits)))
        return AgreedDeflate(tuple(answer), self, server_bits, client_bits, server_takeover, client_takeover)

    def confirm(self, params: Params) -> AgreedDeflate:
        """A client's reading of the answer. Raises `ValueError` where the offer does not allow it."""
        got = _read(params, is_answer=True)
        if not self.context_takeover and not got.get(_SERVER_TAKEOVER):
            # §7.1.1.1: a server accepts the parameter by repeating it.
            raise ValueError(f"{NAME}: the server did not accept {_SERVER_TAKEOVER}")
        server_bits = got.get(_SERVER_BITS, MAX_BITS)
        if server_bits > self.server_max_window_bits:
            raise ValueError(f"{NAME}: the server did not accept {_SERVER_BITS}={self.server_max_window_bits}")
        client_bits = got.get(_CLIENT_BITS, MAX_BITS)
        if _CLIENT_BITS in got and client_bits > self.client_max_window_bits:
            raise ValueError(f"{NAME}: the server raised {_CLIENT_BITS}={self.client_max_window_bits} to {client_bits}")
        return AgreedDeflate(
            params,
            self,
            server_bits,
            min(client_bits, self.client_max_window_bits),
            not got.get(_SERVER_TAKEOVER),
            self.context_takeover and not got.get(_CLIENT_TAKEOVER),
        )

    def __repr__(self) -> str:
        return f"PerMessageDeflate({', '.join(f'{name}={getattr(self, name)!r}' for name in sorted(self.__slots__))})"


class AgreedDeflate(AgreedExtension):
    """What both ends agreed on: for each direction the window's bits and whether it lives on."""

    __slots__ = ("client_bits", "client_takeover", "configured", "server_bits", "server_takeover")

    # Compressed is the message, however it is cut.
    per_frame = False

    def __init__(
        self,
        params: Params,
        configured: PerMessageDeflate,
        server_bits: int,
        client_bits: int,
        server_takeover: bool,
        client_takeover: bool,
    ) -> None:
        super().__init__(NAME, params, _RSV1)
        self.configured = configured
        self.server_bits = server_bits
        self.client_bits = client_bits
        self.server_takeover = server_takeover
        self.client_takeover = client_takeover

    def codec(self, is_client: bool, threshold: int | None) -> Any:
        """The codec of one connection; made of the core's `Deflate`."""
        # Imported here: the handshake must be usable, and tested, without the compiled core.
        from firefly_ws._core.deflate import Deflate

        own = self.configured
        if own.threshold is not None:
            threshold = own.threshold
        if is_client:
            bits, peer_bits = self.client_bits, self.server_bits
            takeover, peer_takeover = self.client_takeover, self.server_takeover
        else:
            bits, peer_bits = self.server_bits, self.client_bits
            takeover, peer_takeover = self.server_takeover, self.client_takeover
        if bits < LEAST_BITS:
            # A server may bound a client to 8 bits, and the client may leave every message uncompressed (§6).
            bits, threshold = LEAST_BITS, NEVER
        # A larger window inflates whatever a smaller one compressed.
        peer_bits = max(peer_bits, LEAST_BITS)
        return Deflate(
            bits, peer_bits, takeover, peer_takeover, own.level, own.mem_level, threshold or 0, own.compress_if
        )


def _read(params: Params, *, is_answer: bool) -> dict[str, int]:
    """The parameters by name, flags as 1. Raises `ValueError` for what RFC 7692 §7.1 does not allow."""
    read: dict[str, int] = {}
    for key, value in params:
        if key in read:
            raise ValueError(f"{NAME}: {key} came twice")
        if key in (_SERVER_TAKEOVER, _CLIENT_TAKEOVER):
            if value is not None:
                raise ValueError(f"{NAME}: {key} has no value, but came with {value!r}")
            read[key] = 1
        elif key == _CLIENT_BITS and value is None and not is_answer:
            read[key] = MAX_BITS
        elif key in (_SERVER_BITS, _CLIENT_BITS):
            if value is None or value not in WINDOW_BITS:
                raise ValueError(f"{NAME}: {key}={value} must be a number from 8 to 15")
            read[key] = WINDOW_BITS[value]
        else:
            raise ValueError(f"{NAME}: unknown parameter {key!r}")
    return read


def check_compress_if(compress_if: object) -> None:
    if compress_if is None:
        return
    if not callable(compress_if):
        raise TypeError(f"compress_if={compress_if!r} must be callable, or None")
    check_callable(f"compress_if={compress_if!r}", compress_if, "payload", plain=True)


def check_number(name: str, value: object, least: int, most: int | None) -> None:
    allowed = f"an int, at least {least}" if most is None else f"an int from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r} must be {allowed}")
    number: int = value
    if number < least or (most is not None and number > most):
        raise ValueError(f"{name}={value!r} must be {allowed}")
