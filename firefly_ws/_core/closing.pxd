"""How a connection closes."""

from .meter cimport Meter
from .sending cimport Sender
from .steps cimport Wait


cdef enum Terminal:      # what came last from the peer
    NOTHING = 0
    CLOSE_CAME = 1       # its Close frame
    EOF_CAME = 2         # the end of its bytes
    RULE_BROKEN = 3      # a violation


cdef enum Ending:        # what we are doing about the end of TCP
    NOT_ENDING = 0
    AWAIT_CLOSE = 1      # our Close is out, the peer's is not here
    AWAIT_EOF = 2        # both are exchanged, the server closes first
    CLOSE_FLUSHED = 3    # close once everything is written
    LINGER = 4           # end our side once written, read on so that no reset overtakes our Close
    ENDED_TCP = 5        # the transport is closing


cdef enum Began:         # whose doing the end is, as in `firefly_ws.details.BEGAN`; the first one counts
    NOBODY = 0
    LOCAL = 1            # close(), drop(), terminate()
    REMOTE = 2           # the peer's Close, or the end of its bytes
    NETWORK = 3          # an error of the transport
    TIMEOUT = 4
    LIMIT = 5
    PROTOCOL = 6         # the peer broke a rule
    FAULT = 7            # a callback or an extension failed


cdef class Remains:
    cdef Py_ssize_t size             # bytes that were not sent
    cdef Py_ssize_t messages         # whole ones among them
    cdef object error                # of the transport
    cdef double blocked              # seconds for which the loop was kept from its work shortly before


cdef class Closing(Sender):
    cdef int terminal                # of Terminal
    cdef int ending                  # of Ending
    cdef readonly bint is_client
    cdef bint at_eof                 # the peer has ended its side of TCP
    cdef bint lost                   # the transport is gone
    cdef unsigned char began         # of Began
    cdef unsigned char late              # close_timeout has ended TCP
    cdef object transport
    cdef object close_timeout        # seconds or None
    cdef object timer                # of the closing
    cdef Meter meter                 # of a policy with a rate; None: there is none
    cdef Remains remains             # what its end has left; None: nothing to speak of, or it has not come
    cdef readonly object error       # what ended it, other than a Close
    cdef Wait closed                 # resolves at the end of TCP

    cdef int begin_end(self, int began) noexcept
    cdef int cut(self) except -1
    cdef Remains left(self)
    cdef int send_close(self, bytes payload, object reason) except -1
    cdef int take_terminal(self) except -1
    cdef int last_step(self) noexcept
    cdef int end_tcp(self, int how) except -1
    cdef int written(self) except -1
    cdef int shut(self) except -1
    cdef int start_timer(self) except -1
    cdef int wait_on(self) except -1
    cdef int stop_timer(self) except -1

    # for the connection to fill in
    cdef int never_opened(self) except -1
    cdef bint reader_took(self) except -1

    # for the protocol
    cdef int eof(self) except -1
    cdef int pause_writing(self) except -1
    cdef int resume_writing(self) except -1
