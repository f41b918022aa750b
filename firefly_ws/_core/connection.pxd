"""The connection: one class for both ends."""

from .chain cimport Chain
from .deflate cimport Deflate
from .delivery cimport Callbacks
from .explained cimport Explained
from .inbox cimport Inbox
from .limits cimport Limits
from .outbox cimport Turn
from .steps cimport Steps, Wait


cdef class Connection(Explained):
    cdef public int _failures        # callbacks and handlers that have raised
    cdef int told                    # 0 not begun, 1 on_error is next, 2 on_close is next, 3 both begun, 4 both ended
    cdef Wait finished               # resolves behind on_close
    cdef readonly Inbox _inbox       # where messages wait for a reader; None: they go to callbacks, or nowhere
    cdef object __weakref__

    # Kept here for the class that shows them, so that making a connection is no Python call.
    cdef readonly long long id           # no other connection of this process has it
    cdef readonly bint is_secure         # TLS is underneath
    cdef readonly object _owner          # is told of the end by ended(connection); None: nobody
    cdef readonly object request         # the handshake's request
    cdef readonly object response        # and its answer, on the client
    cdef readonly object sub_protocol    # what was agreed on
    cdef readonly tuple extensions
    cdef readonly object _addresses      # the peer's, and ours; None: the request's, the transport's
    cdef public object _url, _attributes

    cdef int prepare(self, Limits limits, Callbacks callbacks, Steps steps, Turn turn, bint is_client,
                     Deflate deflate, Chain chain) except -1
    cdef long long frame_limit(self, Limits limits) noexcept
    cdef int settle_waits(self) except -1
    cdef int tell(self) except -1
    cdef int forgotten(self) except -1

    # for the protocol
    cdef int opened(self, object transport, int fd) except -1
    cdef int gone(self, object error) except -1
