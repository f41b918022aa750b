# cython: language_level=3
"""How a peer that is gone is noticed: silence, messages that do not come, bytes that nobody takes. RFC 6455 §5.5.2.

Knows when, and leaves to closing how it ends. Nothing here runs when bytes come or
go: a `Guard` stands in the loop's wheel, looks at what the connection has noted
anyway, and comes again when the next thing may be due.

    limit               counts                                      then
    ping_interval       the peer's silence                          a Ping
    ping_timeout        the silence behind that Ping                1006, PingTimeout
    connection_timeout  the peer's silence                          a Ping after half, 1006, PingTimeout after all
    read_timeout        the peer's silence                          1006, ReadTimeout
    write_timeout       bytes waiting, none of them taken           1006, WriteTimeout
    idle_timeout        no message in either direction              Close 1001

Silence ends with any byte; while something waits to be sent, also with bytes that the
peer's machine takes. Time in which the loop was blocked or we did not read is none, but
where we read nothing because the peer does not: one that takes nothing is silent then.
"""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t

from cpython.bytes cimport PyBytes_AS_STRING

from .closing cimport ENDED_TCP, NOTHING, TIMEOUT, Closing
from .delivery cimport DRAINING, PAUSED, PENDING, QUEUED, THROTTLED
from .limits cimport Limits
from .sending cimport CLOSING, OPEN
from .wheel cimport TICK, Watch, monotonic, wheel_of

import os

from ..codes import CloseCode, CloseReason
from ..errors import PingTimeout, ReadTimeout, WriteTimeout
from .frames import close_payload


cdef class Kept(Closing):
    """A connection that notices when its peer is gone."""

    cdef Guard guarded(self):
        """The guard, made when first needed."""
        cdef Guard guard = self.guard
        if guard is None:
            guard = Guard.__new__(Guard)
            guard.connection = self
            guard.wheel = wheel_of(self.loop)
            guard.begin()
            self.guard = guard
        return guard

    cdef int set_reading(self, bint on) except -1:
        if self.guard is not None:
            self.guard.reading(on)
        return Closing.set_reading(self, on)

    cdef int pause_writing(self) except -1:
        Closing.pause_writing(self)
        if self.guard is not None or self.limits.write < INFINITY:
            self.guarded().stuck()
        return 0

    cdef double ping_answered(self, bytes payload, double now) except -1:
        return 0 if self.guard is None else self.guard.answered(payload, now)

    cdef int put_ping(self, bytes payload, double now) except -1:
        """A Ping of the library's own: past what waits, where something does (contract of `Outbox.put_urgent`)."""
        if self.outbox.blocked:
            return self.outbox.put_urgent(0x89, payload)
        self.write_at = now
        self.outbox.put(0x89, <const uint8_t*>PyBytes_AS_STRING(payload), len(payload))
        return self.outbox.send()

    cdef int give_up(self, object error) except -1:
        """End TCP at once; what had come is still delivered."""
        self.begin_end(TIMEOUT)
        if self.error is None:
            self.error = error
        if self._state < CLOSING:
            self._state = CLOSING
        self.ending = ENDED_TCP
        self.cut()
        self.transport.abort()
        return 0

    cdef int close_idle(self, double silence) except -1:
        text = f"no message for {silence:.3g} s (idle_timeout={self.limits.idle:g})"
        self.begin_end(TIMEOUT)
        self.forget()
        return self.send_close(close_payload(CloseCode.GOING_AWAY, text), CloseReason(CloseCode.GOING_AWAY, text))


cdef class Guard(Watch):
    """Looks after one connection."""

    def __repr__(self):
        return f"<guard of {self.connection!r}>"

    cdef int begin(self) except -1:
        cdef Kept connection = self.connection
        cdef double now = monotonic()
        # What was before counts for nothing: a limit that is set now begins now.
        self.silent_since = self.idle_since = self.taken_at = now
        self.sending = connection.outbox.blocked
        self.messages = connection.passed()
        if not connection.reading:
            self.paused_at = now
        return 0

    cdef int end(self) except -1:
        """The connection has ended."""
        self.wheel.remove(self)
        self.connection = None
        return 0

    cdef int changed(self, Limits before) except -1:
        """Other limits hold than *before*: one that is switched on begins now, not with a silence of hours ago."""
        cdef Limits limits = self.connection.limits
        cdef double now = monotonic()
        if (limits.read < before.read == INFINITY or limits.ping_interval < before.ping_interval == INFINITY
                or limits.ping_timeout < before.ping_timeout == INFINITY):
            self.silent_since = now
            self.asked_behind = 0
            if self.paused_at:
                self.paused_at = now
        if limits.write < before.write == INFINITY:
            self.taken_at = now
        return 0

    cdef int soon(self, double when) except -1:
        """Look at *when*, if not earlier."""
        cdef Limits limits = self.connection.limits
        return self.wheel.place(self, when, limits.shortest)

    cdef int reading(self, bint on) except -1:
        """We read, or do so no more: meanwhile nobody is silent."""
        cdef double now = monotonic()
        cdef double paused
        if not on:
            self.paused_at = now
        elif self.paused_at:
            paused = self.gone_by(self.paused_at, now)
            self.silent_since = max(self.connection.read_at, self.taken_at, self.silent_since) + paused
            self.paused_at = 0
            self.soon(now)
        return 0

    cdef int stuck(self) except -1:
        """The transport has more than it can write."""
        cdef double limit = self.connection.limits.shortest
        self.sending = True
        self.taken = None
        self.taken_at = monotonic()
        return self.soon(self.taken_at + max(limit / 8, TICK)) if limit < INFINITY else 0

    cdef double answered(self, bytes payload, double now) except -1:
        """When the Ping left that a Pong with *payload* answers; 0 for one that is not ours."""
        if self.asked is None or payload != self.asked:
            return 0
        self.asked = None
        return self.asked_at

    cdef double gone_by(self, double since, double now) except -1:
        """The seconds from *since* to *now* in which this loop ran."""
        return max(now - since - self.wheel.late_since(since), 0)

    cdef double look(self, double now) except -1:
        cdef Kept connection = self.connection
        cdef double due = INFINITY
        if connection is None or connection.lost or connection.transport is None:
            return 0
        if self.sending:
            self.sending = connection.outbox.waits()
            if self.sending:
                due = self.look_at_writing(now)
        if connection.ending != ENDED_TCP and connection.terminal == NOTHING:
            if not self.paused_at:
                due = min(due, self.look_at_silence(now))
            elif self.sending and connection._state == OPEN and not connection.hold & (PAUSED | THROTTLED):
                due = min(due, self.look_at_taking(now))
            if connection._state == OPEN:
                due = min(due, self.look_at_messages(now))
        return due if due < INFINITY and connection.ending != ENDED_TCP else 0

    cdef double look_at_writing(self, double now) except -1:
        """Bytes wait to be sent: does the peer take any?"""
        cdef Kept connection = self.connection
        cdef double limit = connection.limits.write
        cdef object taken = connection.outbox.taken()
        cdef double stuck
        if taken != self.taken:
            self.taken = taken
            self.taken_at = now
        stuck = self.gone_by(self.taken_at, now)
        if stuck >= limit:
            connection.give_up(WriteTimeout(stuck, limit, connection.outbox.buffered()))
            return INFINITY
        return now + min(limit - stuck, max(connection.limits.shortest / 8, TICK))

    cdef double look_at_taking(self, double now) except -1:
        """We wait for the peer to take what we have sent, and read nothing until it does: is it there at all?"""
        cdef Kept connection = self.connection
        cdef Limits limits = connection.limits
        cdef double asked = limits.ping_interval + limits.ping_timeout
        cdef double silence = self.gone_by(self.taken_at, now)
        if silence >= limits.connection:
            connection.give_up(PingTimeout(silence, limits.connection, "connection_timeout"))
            return INFINITY
        if silence >= asked:
            connection.give_up(PingTimeout(silence, asked, limits.options[2]))
            return INFINITY
        return now + min(asked, limits.connection) - silence

    cdef double look_at_silence(self, double now) except -1:
        """Has the peer said anything?"""
        cdef Kept connection = self.connection
        cdef Limits limits = connection.limits
        cdef double heard = max(connection.read_at, self.taken_at)
        cdef double silence = self.gone_by(max(heard, self.silent_since), now)
        cdef double ask = min(limits.ping_interval, limits.connection / 2)
        cdef double due, end
        if silence >= limits.read:
            connection.give_up(ReadTimeout(silence, limits.read))
            return INFINITY
        due = now + limits.read - silence
        if connection._state != OPEN:
            # Behind our Close nothing is asked: close_timeout waits for the peer's.
            return due
        if heard > self.asked_at:
            self.asking = False
        if silence >= limits.connection:
            connection.give_up(PingTimeout(silence, limits.connection, "connection_timeout"))
            return INFINITY
        due = min(due, now + limits.connection - silence)
        if limits.ping_timeout == INFINITY and silence >= self.asked_behind + limits.ping_interval:
            # Nothing ends for want of an answer, so that something may come of the next one.
            self.asking = False
        if not self.asking:
            if silence < ask:
                return min(due, now + ask - silence)
            self.ask(now, silence)
        if limits.ping_interval < INFINITY:
            # A Ping that went at half of connection_timeout may have been earlier than these two ask for.
            end = max(self.asked_behind, limits.ping_interval) + limits.ping_timeout
            if silence >= end:
                connection.give_up(PingTimeout(silence, limits.ping_interval + limits.ping_timeout, limits.options[2]))
                return INFINITY
            # An answer calls nobody: whether silence has come again is seen no later than an interval from here.
            due = min(due, now + min(end - silence, limits.ping_interval))
        return due

    cdef int ask(self, double now, double silence) except -1:
        """Send a Ping."""
        self.asked = os.urandom(4)
        self.asking = True
        self.asked_at = now
        self.asked_behind = silence
        return self.connection.put_ping(self.asked, now)

    cdef double look_at_messages(self, double now) except -1:
        """Is the connection in use?"""
        cdef Kept connection = self.connection
        cdef double limit = connection.limits.idle
        cdef double idle
        cdef long long messages
        if limit == INFINITY:
            return INFINITY
        messages = connection.passed()
        if connection.hold & (PENDING | QUEUED | DRAINING) or self.paused_at or connection.rest is not None:
            # A message is being worked on, or waits for us.
            self.idle_since = now
            self.busy = True
        elif self.busy:
            # That has ended since the last look: now at the latest.
            self.idle_since = now
            self.busy = False
        elif messages != self.messages:
            self.idle_since = max(connection.read_at, connection.write_at, self.idle_since)
        elif connection.parser.inside or connection.messages is not None and connection.messages.opcode:
            # One is on its way.
            self.idle_since = max(connection.read_at, self.idle_since)
        elif connection.stream is not None:
            # One of ours is, in fragments.
            self.idle_since = max(connection.write_at, self.idle_since)
        if self.sending:
            self.idle_since = max(self.taken_at, self.idle_since)
        self.messages = messages
        idle = self.gone_by(self.idle_since, now)
        if idle >= limit:
            connection.close_idle(idle)
            return INFINITY
        return now + min(limit - idle, max(limit / 8, TICK))
