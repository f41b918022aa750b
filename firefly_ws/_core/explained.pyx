# cython: language_level=3
"""Why a connection ended: from what the other stages have noted, when somebody asks; knows no way to end one.

While a connection is open nothing is kept here but two times. At its end what would be
lost with the transport is kept in `Remains`, and of an ordinary end not even that.
"""

from .closing cimport ENDED_TCP, LIMIT, LOCAL, NETWORK, REMOTE, TIMEOUT, Remains
from .sending cimport OPEN
from .wheel cimport late_by_now, monotonic

import logging

from ..codes import CloseCode, CloseReason
from ..details import BEGAN, CloseDetails, in_words
from ..errors import ProtocolError, WebSocketException
from ..farewell import logger, say_farewell

cdef double SHORTLY = 10.0  # seconds before the end in which a blocked loop may have to do with it

cdef int _DEBUG = logging.DEBUG
cdef int _INFO = logging.INFO
cdef int _WARNING = logging.WARNING
cdef frozenset _ORDINARY = frozenset((CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS))
cdef object _enabled = logger.isEnabledFor


cdef class Explained(Kept):
    """A connection that can tell why it ended."""

    cdef int ended_with(self, object error) except -1:
        """TCP has ended, with *error* or None: keep what would be lost, and say how it was."""
        cdef double blocked
        self.over = monotonic()
        self.begin_end(REMOTE if error is None else NETWORK)
        if error is not None:
            self.left().error = error
        blocked = late_by_now(self.loop, self.over, SHORTLY)
        if blocked:
            self.left().blocked = blocked
        self.close_reason = self.close_received or CloseReason(CloseCode.ABNORMAL_CLOSURE, self.why())
        return 0

    cdef int told_end(self) except -1:
        """The one record of it in the log."""
        cdef int level
        if self.begun:
            level = self.level()
            if _enabled(level):
                say_farewell(self, self.details(), level)
        return 0

    cdef int level(self) except -1:
        """Of the record: what was asked for, what the peer or the network did, and what a limit of ours did."""
        if self.began == TIMEOUT or self.began == LIMIT:
            return _WARNING
        if self.error is not None:
            # One of this side has been logged already, at ERROR with its traceback.
            return _INFO
        if self.close_received is not None:
            return _DEBUG if self.began == LOCAL or self.close_received.code in _ORDINARY else _INFO
        # Without the peer's Close: cut off by us, or a peer that has answered nothing.
        return _DEBUG if self.began == LOCAL and self.ending == ENDED_TCP and not self.late else _INFO

    cdef object why(self):
        """Words for an end without the peer's Close."""
        cdef Remains remains = self.remains
        cdef str none = "no Close frame came from the peer"
        if isinstance(self.error, ProtocolError):
            return f"{type(self.error).__name__}: {self.error}"
        if isinstance(self.error, WebSocketException):
            return str(self.error)
        if isinstance(self.error, OSError):
            return f"the connection was lost: {in_words(self.error)}"
        if self.error is not None:
            return f"closed for an error on this side: {type(self.error).__name__}"
        if self.close_sent is not None:
            if self.late:
                return f"{none} within close_timeout={self.close_timeout:g} s"
            return none if remains is None or remains.error is None else f"{none}: {in_words(remains.error)}"
        if self.ending == ENDED_TCP and not self.at_eof:
            return "the connection was terminated"
        return "the peer ended the connection without a Close frame"

    cdef object details(self):
        cdef Remains remains = self.remains
        cdef double now = self.over or monotonic()
        cdef object cause = ""
        if self.close_received is not None:
            if isinstance(self.error, Exception):
                cause = f"{type(self.error).__name__}"
                # What a callback's exception says is nobody's business but the log's.
                if isinstance(self.error, (WebSocketException, OSError)):
                    cause = f"{cause}: {self.error}"
        elif self.close_reason is not None:
            cause = self.close_reason.message
        return CloseDetails(
            reason=self.close_reason,
            sent=self.close_sent,
            received=self.close_received,
            began=BEGAN[self.began - 1] if self.began else None,
            cause=cause,
            error=self.error,
            transport_error=None if remains is None else remains.error,
            duration=now - self.begun if self.begun else 0.0,
            last_read=now - self.read_at if self.bytes_read else None,
            last_write=now - self.write_at if self.write_at else None,
            unsent_bytes=self.buffered_amount + (0 if remains is None else remains.size),
            unsent_messages=0 if remains is None else remains.messages,
            blocked=0.0 if remains is None else remains.blocked,
        )

    @property
    def close_details(self):
        """How it ended, or is ending (`CloseDetails`): who began, why, and what was not sent; None while it is open.

        ``str()`` of it is one readable line.
        """
        if self._state <= OPEN and not self.began:
            return None
        return self.details()
