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


cdef class Closing(Sender):
    cdef int terminal                # of Terminal
    cdef int ending                  # of Ending
    cdef readonly bint is_client
    cdef bint at_eof                 # the peer has ended its side of TCP
    cdef bint lost                   # the transport is gone
    cdef object transport
    cdef object close_timeout        # seconds or None
    cdef object timer                # of the closing
    cdef Meter meter                 # of a policy with a rate; None: there is none
    cdef bytes close_payload         # what to answer to the peer's Close
    cdef readonly object error       # what ended it, other than a Close
    cdef Wait closed                 # resolves at the end of TCP

    cdef int send_close(self, bytes payload, object reason) except -1
    cdef int take_terminal(self) except -1
    cdef int last_step(self) noexcept
    cdef int end_tcp(self, int how) except -1
    cdef int written(self) except -1
    cdef int start_timer(self) except -1
    cdef int stop_timer(self) except -1

    # for the connection to fill in
    cdef int never_opened(self) except -1

    # for the protocol
    cdef int eof(self) except -1
    cdef int pause_writing(self) except -1
    cdef int resume_writing(self) except -1
