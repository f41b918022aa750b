"""How a peer that is gone is noticed."""

from .closing cimport Closing
from .limits cimport Limits
from .wheel cimport Watch, Wheel


cdef class Kept(Closing):
    cdef Limits limits         # in force
    cdef Guard guard           # None while there is nothing to notice

    cdef Guard guarded(self)
    cdef int put_ping(self, bytes payload, double now) except -1
    cdef int give_up(self, object error) except -1
    cdef int close_idle(self, double silence) except -1


cdef class Guard(Watch):
    cdef Kept connection
    cdef Wheel wheel
    cdef bint asking           # nothing has come behind our Ping
    cdef double asked_at       # monotonic seconds: when it left
    cdef double asked_behind   # the silence before it, in seconds
    cdef bytes asked           # its payload; None once a Pong has brought it back
    cdef double silent_since   # the silence is not counted from before here
    cdef double paused_at      # since when we do not read; 0: we do
    cdef bint sending          # bytes wait to be sent, as far as is known
    cdef object taken          # what the peer's machine had taken at the last look, None: not known
    cdef double taken_at       # when it last took some
    cdef long long messages    # in both directions at the last look
    cdef double idle_since     # when the last of them passed
    cdef bint busy             # one was being worked on then

    cdef int changed(self, Limits before) except -1
    cdef int soon(self, double when) except -1
    cdef int begin(self) except -1
    cdef int end(self) except -1
    cdef int reading(self, bint on) except -1
    cdef int stuck(self) except -1
    cdef double answered(self, bytes payload, double now) except -1
    cdef double gone_by(self, double since, double now) except -1
    cdef double look_at_writing(self, double now) except -1
    cdef double look_at_taking(self, double now) except -1
    cdef double look_at_silence(self, double now) except -1
    cdef int ask(self, double now, double silence) except -1
    cdef double look_at_messages(self, double now) except -1
