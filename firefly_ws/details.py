"""How one connection ended, as facts and as one readable line; knows no connection and no error of the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .codes import CloseReason

__all__ = ["BEGAN", "Began", "CloseDetails", "in_words"]

Began: TypeAlias = Literal["local", "remote", "network", "timeout", "limit", "protocol", "error"]

BEGAN: tuple[Began, ...] = ("local", "remote", "network", "timeout", "limit", "protocol", "error")

# Seconds. Below it is what any program takes for a turn of its loop: not worth a word.
_WORTH_TELLING = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseDetails:
    """All that is known of how a connection ended, or is ending; ``str()`` makes one readable line of it.

    Times are seconds, sizes bytes. It is made when it is asked for, and changes no more.
    """

    #: The final `CloseReason`, of the peer's Close frame or 1006; None while the end has only begun.
    reason: CloseReason | None = None
    #: What our Close frame said; None: there was none (RFC 6455 §5.5.1).
    sent: CloseReason | None = None
    #: What the peer's Close frame said; None: none came.
    received: CloseReason | None = None
    #: Who began, or what: "local", "remote", "network", "timeout", "limit", "protocol" (the peer broke a rule) or
    #: "error" (a callback or an extension failed); None where nobody knows.
    began: Began | None = None
    #: Why, in words; empty where the two Close frames say it all.
    cause: str = ""
    #: What ended it, other than a Close frame: what ``on_error`` gets.
    error: BaseException | None = None
    #: The error of TCP or TLS, with its ``errno``; also one that came behind the closing handshake's begin.
    transport_error: OSError | None = None
    #: How long it was open until then.
    duration: float = 0.0
    #: How long ago, at the end, bytes last came; None: never.
    last_read: float | None = None
    #: How long ago, at the end, bytes were last sent; None: never.
    last_write: float | None = None
    #: Bytes that the operating system had not taken, as far as this side knows.
    unsent_bytes: int = 0
    #: Whole messages among them, those that the transport had begun with left out.
    unsent_messages: int = 0
    #: How long, of the last ten seconds, the loop was kept from its work, at most; 0 also where nothing measures it:
    #: a loop is measured while one of its connections has a limit of time to keep.
    blocked: float = 0.0

    @property
    def was_clean(self) -> bool:
        """Both sides have sent a Close frame (RFC 6455 §7.1.4), as a browser's ``CloseEvent.wasClean`` (bool)."""
        return self.sent is not None and self.received is not None

    def __str__(self) -> str:
        line = ", ".join(self._frames())
        if self.cause:
            # "1006 (no Close frame): " leads to it; behind a code that the peer has sent it is a sentence of its own.
            line += f"{'; ' if self.received else ': '}{self.cause}"
        return "; ".join([line, *self._remarks()])

    def _frames(self) -> list[str]:
        if self.received is not None:
            received = f"received {self.received}"
        else:
            received = "no Close frame received yet" if self.reason is None else "received 1006 (no Close frame)"
        if self.sent is None:
            return [received]
        told = self.sent.message and self.sent.message in self.cause
        sent = f"sent {CloseReason(self.sent.code) if told else self.sent}"
        return [received, sent] if self.began == "remote" else [sent, received]

    def _remarks(self) -> list[str]:
        remarks = []
        if self.reason is not None and not self.was_clean and self.duration:
            remarks.append("nothing was read" if self.last_read is None else f"last read {self.last_read:.1f} s ago")
        if self.unsent_bytes:
            what = f"{self.unsent_bytes:,} bytes"
            if self.unsent_messages:
                what = f"{self.unsent_messages:,} message{'s' * (self.unsent_messages > 1)} ({what})"
            remarks[-1:] = [", ".join([*remarks[-1:], f"{what} unsent"])]
        if self.blocked >= _WORTH_TELLING:
            remarks.append(f"this side's loop was blocked for {self.blocked:.1f} s")
        return remarks


def in_words(error: BaseException) -> str:
    """What the operating system or TLS says of *error*, or its type where it says nothing."""
    text = getattr(error, "strerror", None) or str(error)
    # "Connection reset by peer" stands in the middle of a line; "SSLV3_ALERT" and "[SSL: …" stay as they are.
    return text[:1].lower() + text[1:] if text[1:2].islower() else text or type(error).__name__
