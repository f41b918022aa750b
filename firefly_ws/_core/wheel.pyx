# cython: language_level=3
"""The time, and one timer a loop for all that is due on it; knows nothing of what is due.

What is due within the same 64th of a second stands in one set, and only sets whose
time has come are touched: adding, removing and looking cost the same for one and for
a hundred thousand. While nothing stands here there is no timer.

The timer sleeps for a second at most. By how much it comes late is how long the loop
was kept from its work, and `late_since` tells how much of that lies behind a moment.
"""

from libc.math cimport ceil, floor

import contextvars
from bisect import bisect_right
from heapq import heappop, heappush

cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* now)

cdef enum:
    TICKS = 64         # a second
    AT_ONCE = 512      # looked at in one turn of the loop: a Ping is a system call
    REMEMBERED = 512   # calls that came late

TICK = 1.0 / TICKS
cdef double _ahead = 0  # seconds
cdef double LATE = 2.0 / TICKS  # seconds: below it is what a busy loop takes for a turn
cdef double BEAT = 1.0          # seconds


cdef double monotonic() noexcept:
    """Seconds, as `time.monotonic`."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9 + _ahead


cdef int put_forward(double seconds) noexcept:
    """Let *seconds* have passed, for all loops: how tests wait."""
    global _ahead
    _ahead += seconds
    return 0


cdef class Watch:
    """What stands in a wheel."""

    def __cinit__(self):
        self.tick = -1

    cdef double look(self, double now) except -1:
        """Its time has come; when to look again, or 0."""
        return 0


cdef class Wheel:
    """All that is due on one loop."""

    def __init__(self, loop):
        self.loop = loop
        # One of its own: the timer must not run in the context of whoever came first.
        self.context = contextvars.Context()
        self.buckets = {}
        self.order = []
        self.late_at = []
        self.late_sum = []
        self.beat = BEAT

    cdef int place(self, Watch watch, double when, double shortest) except -1:
        """Have *watch* looked at at *when*, or as early as it stands here already.

        *shortest*, in seconds, is the shortest time it waits for: a block of the loop
        is measured to an eighth of that.
        """
        cdef double now
        cdef long long tick = <long long>ceil(when * TICKS) if when < 1e15 else <long long>1e15
        cdef set bucket
        if tick <= self.passed:
            tick = self.passed + 1
        if watch.tick >= 0:
            if watch.tick <= tick:
                return 0
            (<set>self.buckets[watch.tick]).discard(watch)
        else:
            self.count += 1
        watch.tick = tick
        bucket = self.buckets.get(tick)
        if bucket is None:
            self.buckets[tick] = bucket = set()
            heappush(self.order, tick)
        bucket.add(watch)
        if shortest / 8 < self.beat:
            self.beat = max(shortest / 8, TICK)
        if not self.looking and (self.timer is None or tick * TICK < self.armed):
            now = monotonic()
            if self.timer is None:
                self.last = now
            self.arm(tick * TICK, now)
        return 0

    cdef int remove(self, Watch watch) except -1:
        """Forget *watch*, if it stands here."""
        if watch.tick < 0:
            return 0
        (<set>self.buckets[watch.tick]).discard(watch)
        watch.tick = -1
        self.count -= 1
        if self.count == 0 and not self.looking:
            self.rearm(0)
        return 0

    cdef int arm(self, double when, double now) except -1:
        """Have the timer call at *when*, or a beat from now if that is earlier."""
        if self.timer is not None:
            self.timer.cancel()
        self.armed = max(now, min(when, now + self.beat))
        self.timer = self.loop.call_later(self.armed - now, self._turn, context=self.context)
        return 0

    cdef int rearm(self, double now) except -1:
        if self.count:
            return self.arm(self.order[0] * TICK, now)
        self.buckets = {}
        self.order = []
        self.beat = BEAT
        self.excused = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    def _turn(self):
        """The timer calls."""
        cdef double now = monotonic()
        cdef double late = now - self.armed
        self.timer = None
        if late > LATE:
            # The loop was kept at least since the timer was due, at most since it last called. Nobody is to be judged
            # by time in which we did not listen: so it is counted long rather than short.
            self.note(now, late + min(late, max(self.armed - self.last, 0)))
        self.last = now
        if late > LATE and not self.excused:
            # What has come meanwhile is read first: libuv calls timers before it looks at sockets.
            self.excused = True
            self.arm(now + TICK, now)
            return
        self.excused = False
        self.looking = True
        try:
            self.look(now)
        finally:
            self.looking = False
            self.rearm(now)

    cdef int look(self, double now) except -1:
        cdef long long tick = <long long>floor(now * TICKS)
        cdef int left = AT_ONCE
        cdef double when
        cdef set bucket
        cdef Watch watch
        while self.order and self.order[0] <= tick:
            bucket = self.buckets[self.order[0]]
            # From here on nothing joins this set: its time is over.
            self.passed = self.order[0]
            while bucket:
                if left == 0:
                    return 0
                left -= 1
                watch = bucket.pop()
                watch.tick = -1
                self.count -= 1
                try:
                    when = watch.look(now)
                except Exception as error:
                    self.loop.call_exception_handler({"message": f"firefly_ws: {watch!r} raised", "exception": error})
                    when = now + 1
                if when > 0:
                    self.place(watch, when, BEAT * 8)
            del self.buckets[heappop(self.order)]
        return 0

    cdef int note(self, double now, double late) except -1:
        """The loop was kept for *late* seconds up to *now*."""
        cdef Py_ssize_t size = len(self.late_at)
        self.late_at.append(now)
        self.late_sum.append(late + (self.late_sum[size - 1] if size else 0.0))
        if size >= REMEMBERED:
            # Every other one: what it held counts from the next one's moment on.
            self.late_at = self.late_at[size % 2::2]
            self.late_sum = self.late_sum[size % 2::2]
        return 0

    cdef double late_since(self, double moment) except -1:
        """For how many seconds behind *moment* the loop was kept from its work."""
        cdef Py_ssize_t size = len(self.late_at)
        cdef Py_ssize_t first
        if size == 0 or moment >= <double>self.late_at[size - 1]:
            return 0
        first = bisect_right(self.late_at, moment)
        return <double>self.late_sum[size - 1] - (<double>self.late_sum[first - 1] if first else 0.0)

    cdef double late_by(self, double now, double seconds) except -1:
        """The same of the last *seconds*, and with what the timer is late by at this moment."""
        cdef double late = self.late_since(now - seconds)
        return late + (now - self.armed if self.timer is not None and now - self.armed > LATE else 0.0)


cdef dict _wheels = {}


cdef Wheel wheel_of(object loop):
    """The wheel of *loop*; one for all its connections."""
    wheel = _wheels.get(loop)
    if wheel is None:
        for ended in [other for other in list(_wheels) if other.is_closed()]:
            _wheels.pop(ended, None)
        wheel = _wheels[loop] = Wheel(loop)
    return wheel


cdef double late_by_now(object loop, double now, double seconds) except -1:
    """For how much of the last *seconds* *loop* was kept from its work; 0 where nothing measures it."""
    cdef Wheel wheel = _wheels.get(loop)
    return 0.0 if wheel is None else min(wheel.late_by(now, seconds), seconds)
