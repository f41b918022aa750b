"""Messages to a reader."""

from .arriving cimport Arriving
from .delivery cimport Delivery
from .messages cimport MessageSink


cdef class Inbox(MessageSink):
    cdef Delivery delivery           # None once it has ended
    cdef object loop
    cdef unsigned long thread
    cdef object queue                # deque, made when first needed
    cdef readonly Py_ssize_t size    # bytes of what is in it
    cdef long long taken             # how many a reader has had
    cdef long long taken_then        # when *timer* was set
    cdef long long taken_before      # when `took_since` was asked
    cdef Arriving arriving           # the message that is handed over in pieces, until that has been done
    cdef Arriving trailing           # the one before, all of it here, that its reader is at the pieces of
    cdef bint handed                 # its reader has taken it out of the queue
    cdef object waiter               # the future of the reader that waits, or has been woken and not run yet
    cdef object reader               # its task
    cdef object reading              # and what that called
    cdef object timer                # to look whether anybody receives
    cdef bint warned
    cdef bint owing                  # the end of TCP waits for the reader's answers
    cdef readonly bint ended         # nothing more comes
    cdef public bint close_shown     # the reader of frames has had the last one, the Close

    cdef int put(self, object message, Py_ssize_t size) except -1
    cdef int keep(self, object message, Py_ssize_t size) except -1
    cdef int wake(self) except -1
    cdef bint streams(self)
    cdef bint waits_whole(self)
    cdef int arrives(self, Arriving arriving) except -1
    cdef int arrived(self) except -1
    cdef int set_apart(self) except -1
    cdef int over(self, Arriving arriving) except -1
    cdef int leave_trailing(self) except -1
    cdef int forget_queue(self) except -1
    cdef int check_reader(self, str doing) except -1
    cdef bint given_up(self) except -1
    cdef bint joined(self) except -1
    cdef int violate(self, object error) except -1
    cdef int make_room(self) except -1
    cdef int filled(self) except -1
    cdef bint took_since(self) noexcept
    cdef bint is_full(self) noexcept
    cdef bint abandoned(self)
    cdef bint owes(self)
    cdef int end(self) except -1
