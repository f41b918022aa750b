"""`Serving` where somebody asks how long requests take; without that no connection is one of these."""

from __future__ import annotations

from time import monotonic

from .request import Request
from .serving import Serving

__all__ = ["TimedServing"]


class TimedServing(Serving):
    """Tells its host of each request how long it took, from its whole head to the last byte of its answer's writing."""

    __slots__ = ("_since",)

    def _take(self, request: Request) -> None:
        self._since = monotonic()
        super()._take(request)

    def _finish(self) -> None:
        if self._busy and not self._ended:
            self._host.took(monotonic() - self._since)
        super()._finish()
