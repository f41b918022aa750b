"""How fast a peer may send."""

from .delivery cimport Delivery
from .limits cimport Limits
from .parser cimport FrameSink
from .wheel cimport Watch, Wheel


cdef class Meter(FrameSink):
    cdef FrameSink sink
    cdef Delivery delivery
    cdef Until until                       # when reading goes on
    cdef double message_rate, byte_rate    # a second; infinity: none
    cdef double most_messages, most_bytes  # what may be left of either
    cdef double messages, bytes            # left
    cdef double counted_at                 # monotonic seconds: up to when time has been turned into them
    cdef double paused_at                  # since when we do not read, 0: we do
    cdef double burst
    cdef bint pausing                      # beyond them reading pauses, else it is a violation
    cdef bint released                     # nothing more comes: what is here need not wait

    cdef int spend(self, int messages, double size) except -1
    cdef object exceeded(self)
    cdef int count_time(self, double now) except -1
    cdef double due(self) noexcept
    cdef int reading(self, bint on) except -1
    cdef int release(self) except -1


cdef class Until(Watch):
    cdef Meter meter
    cdef Wheel wheel
