"""The connection: one class for both ends."""

from .inbox cimport Inbox
from .keepalive cimport Kept
from .limits cimport Limits
from .steps cimport Wait


cdef class Connection(Kept):
    cdef int told                    # 0 not begun, 1 on_error is next, 2 on_close is next, 3 both begun, 4 both ended
    cdef Wait finished               # resolves behind on_close
    cdef readonly Inbox _inbox       # where messages wait for a reader; None: they go to callbacks, or nowhere
    cdef double begun                # monotonic seconds of the opening
    cdef double over                 # and of the end

    cdef long long frame_limit(self, Limits limits) noexcept
    cdef int settle_waits(self) except -1
    cdef int tell(self) except -1
    cdef object why(self)

    # for the protocol
    cdef int opened(self, object transport, int fd) except -1
    cdef int gone(self, object error) except -1
