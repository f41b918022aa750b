"""The time, and what is due."""

cdef double monotonic() noexcept
cdef int put_forward(double seconds) noexcept

cdef double TICK               # seconds: all that is due within one is looked at together


cdef class Watch:
    cdef long long tick        # the one it stands in, below zero: in none

    cdef double look(self, double now) except -1


cdef class Wheel:
    cdef readonly object loop
    cdef object timer
    cdef object context        # the timer's
    cdef dict buckets          # tick -> set of Watch
    cdef list order            # heap of the ticks in it
    cdef Py_ssize_t count      # of all that stand in one
    cdef long long passed      # the last tick that was looked at
    cdef double beat           # seconds: the longest that the timer sleeps
    cdef double armed          # monotonic seconds: when the timer should call
    cdef double last           # and when it last did
    cdef bint looking          # within _turn
    cdef bint excused          # the last call came late
    cdef list late_at, late_sum  # when calls came late, and by how much in all up to then

    cdef int place(self, Watch watch, double when, double shortest) except -1
    cdef int remove(self, Watch watch) except -1
    cdef int arm(self, double when, double now) except -1
    cdef int rearm(self, double now) except -1
    cdef int note(self, double now, double late) except -1
    cdef int look(self, double now) except -1
    cdef double late_since(self, double moment) except -1
    cdef double late_by(self, double now, double seconds) except -1


cdef Wheel wheel_of(object loop)
cdef double late_by_now(object loop, double now, double seconds) except -1
