# cython: language_level=3, boundscheck=False, wraparound=False
"""How fast a peer may send: two token buckets before everything else that a frame reaches. Knows no message.

Stands between the parser and its sink where the policy has a rate, and nowhere else.
A bucket holds ``rate_burst`` seconds' worth. Beyond it the connection ends with 1008,
or the frame that was one too many is delivered and reading pauses until its debt is
paid: then TCP tells the peer to wait, and nothing is lost.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .delivery cimport DEAD, ENDED, THROTTLED, Delivery
from .limits cimport Limits
from .parser cimport FrameSink
from .wheel cimport Watch, monotonic, wheel_of

import logging

from ..errors import RateExceeded
from ..seldom import seldom

cdef int _INFO = logging.INFO

cdef enum:
    LONG = 64  # seconds: it is not for us that the wheel measures when the loop was blocked


cdef class Meter(FrameSink):
    """Counts what passes to *sink*."""

    def __init__(self, FrameSink sink not None, Delivery delivery not None, Limits limits not None):
        self.sink = sink
        self.delivery = delivery
        self.message_rate = limits.message_rate
        self.byte_rate = limits.byte_rate
        self.burst = limits.burst
        # A rate of one in ten seconds is still one message, however short the burst.
        self.messages = self.most_messages = max(limits.message_rate * limits.burst, 1)
        self.bytes = self.most_bytes = limits.byte_rate * limits.burst
        self.pausing = limits.pausing
        self.counted_at = monotonic()

    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef int more
        if not self.pausing:
            self.spend(_counts(first), size + _head(size, masked))
            return self.sink.frame(first, payload, size, mask, masked)
        more = self.sink.frame(first, payload, size, mask, masked)
        return more | self.spend(_counts(first), size + _head(size, masked))

    cdef int begin(self, int first, uint64_t length) except -1:
        # A head at least: its payload is counted as it comes.
        self.spend(_counts(first), _head(length, True))
        return self.sink.begin(first, length)

    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef int more
        if not self.pausing:
            self.spend(0, size)
            return self.sink.chunk(data, size, mask, masked)
        more = self.sink.chunk(data, size, mask, masked)
        return more | self.spend(0, size)

    cdef int end(self) except -1:
        cdef int more = self.sink.end()
        return more or self.delivery.hold & THROTTLED != 0

    cdef uint8_t* place(self, uint64_t left, Py_ssize_t* size) except? NULL:
        return self.sink.place(left, size)

    cdef int placed(self, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef int more
        if not self.pausing:
            self.spend(0, size)
            return self.sink.placed(size, mask, masked)
        more = self.sink.placed(size, mask, masked)
        return more | self.spend(0, size)

    cdef int spend(self, int messages, double size) except -1:
        """Take these from what is left; 1 if no more should come now."""
        cdef Delivery delivery = self.delivery
        if delivery.hold & (ENDED | DEAD):
            # We are closing: what comes is counted and dropped.
            return 0
        if delivery.read_at > self.counted_at:
            self.count_time(delivery.read_at)
        self.messages -= messages
        self.bytes -= size
        if self.messages >= 0 and self.bytes >= 0:
            return 0
        # What a read held may be looked at in later turns.
        self.count_time(monotonic())
        if self.messages >= 0 and self.bytes >= 0:
            return 0
        if not self.pausing:
            raise self.exceeded()
        if self.released:
            return 0
        if not delivery.hold & THROTTLED:
            delivery.hold |= THROTTLED
            seldom("over_rate", _INFO, "%r: reading pauses: %s", delivery, self.exceeded())
        if self.until is None:
            self.until = Until.__new__(Until)
            self.until.meter = self
            self.until.wheel = wheel_of(delivery.loop)
        self.until.wheel.place(self.until, self.due(), LONG)
        return 1

    cdef object exceeded(self):
        """Which rate it is."""
        if self.messages < 0:
            return RateExceeded(self.message_rate, self.burst, "max_message_rate")
        return RateExceeded(self.byte_rate, self.burst, "max_byte_rate")

    cdef int count_time(self, double now) except -1:
        """What has been earned up to *now*, as far as the buckets hold it."""
        cdef double passed = now - self.counted_at
        if passed <= 0:
            return 0
        self.counted_at = now
        # More than they hold there is only behind a pause of ours, see `reading`.
        if self.messages < self.most_messages:
            self.messages = min(self.messages + passed * self.message_rate, self.most_messages)
        if self.bytes < self.most_bytes:
            self.bytes = min(self.bytes + passed * self.byte_rate, self.most_bytes)
        return 0

    cdef double due(self) noexcept:
        """When the debt is paid."""
        cdef double wait = 0
        if self.messages < 0:
            wait = -self.messages / self.message_rate
        if self.bytes < 0:
            wait = max(wait, -self.bytes / self.byte_rate)
        return self.counted_at + wait

    cdef int reading(self, bint on) except -1:
        """We read, or do so no more: what waits for us meanwhile was not sent all at once, and is not to end it."""
        cdef double now
        if self.pausing:
            return 0
        now = monotonic()
        if not on:
            self.count_time(now)
            self.paused_at = now
        elif self.paused_at:
            self.messages += (now - self.paused_at) * self.message_rate
            self.bytes += (now - self.paused_at) * self.byte_rate
            self.counted_at = now
            self.paused_at = 0
        return 0

    cdef int release(self) except -1:
        """Nothing more comes: no pause from now on, and what waits goes on."""
        self.released = True
        if self.until is not None:
            self.until.wheel.remove(self.until)
        if self.delivery.hold & THROTTLED:
            self.delivery.hold &= ~THROTTLED
            self.delivery.schedule()
        return 0


cdef class Until(Watch):
    """Has reading go on when it is time."""

    def __repr__(self):
        return f"<meter of {self.meter.delivery!r}>"

    cdef double look(self, double now) except -1:
        cdef Meter meter = self.meter
        cdef Delivery delivery = meter.delivery
        if not delivery.hold & THROTTLED:
            return 0
        meter.count_time(now)
        if meter.messages < 0 or meter.bytes < 0:
            return meter.due()
        delivery.hold &= ~THROTTLED
        delivery.schedule()
        return 0


cdef int _counts(int first) noexcept:
    """How many messages this frame is: the first of each, a Ping, a Pong; a Close is welcome."""
    return 1 if first & 15 and first & 15 != 8 else 0


cdef double _head(uint64_t size, bint masked) noexcept:
    """Bytes of its head, RFC 6455 §5.2."""
    return (2 if size < 126 else 4 if size < 65536 else 10) + (4 if masked else 0)
