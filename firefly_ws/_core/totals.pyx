# cython: language_level=3
"""What a server's connections have done, in numbers; knows neither servers nor who reads them.

Nothing here runs per message: a connection counts for itself, its numbers are added up
once it has ended, and those of open ones when somebody asks.
"""

from .connection cimport Connection

from ..errors import WebSocketException

# A peer chooses the codes that it sends, and a program may register a path for each of its rooms:
# neither may take memory, or a time series, without bound.
cdef enum:
    PRIVATE_CODES = 32
    ROUTES = 1000

cdef str OTHER = "other"


cdef class Totals:
    """The connections of one route: how many, and what they have done in all.

    Close codes are counted by number, at most 32 private ones of each kind; the rest is counted under 0.
    ``errors`` has what ended connections other than a Close, by the name of the error.
    """

    def __cinit__(self):
        self.closed, self.close_sent, self.close_received, self.errors = {}, {}, {}, {}

    cdef int add(self, Connection connection) except -1:
        self.opened += 1
        self.texts_received += connection.received_of[0]
        self.binaries_received += connection.received_of[1]
        self.texts_sent += connection.sent_of[0]
        self.binaries_sent += connection.sent_of[1]
        self.bytes_read += connection.bytes_read
        self.bytes_written += connection.outbox.bytes_written
        self.callback_errors += connection._failures
        if connection.backlog is not None:
            self.dropped += connection.backlog.dropped
        if connection.close_reason is None:
            self.open += 1
            self.buffered += connection.outbox.buffered()
            if connection.stream is not None:
                self.buffered += connection.stream.amount
            return 0
        _count(self.closed, connection.close_reason.code, 1)
        if connection.close_sent is not None:
            _count(self.close_sent, connection.close_sent.code, 1)
        if connection.close_received is not None:
            _count(self.close_received, connection.close_received.code, 1)
        if connection.error is not None:
            name = _name(connection.error)
            self.errors[name] = self.errors.get(name, 0) + 1
        return 0

    def merge(self, Totals other not None):
        """Add those of *other* to these."""
        cdef dict ours, theirs
        cdef int code
        self.open += other.open
        self.opened += other.opened
        self.texts_received += other.texts_received
        self.binaries_received += other.binaries_received
        self.texts_sent += other.texts_sent
        self.binaries_sent += other.binaries_sent
        self.dropped += other.dropped
        self.bytes_read += other.bytes_read
        self.bytes_written += other.bytes_written
        self.buffered += other.buffered
        self.callback_errors += other.callback_errors
        for ours, theirs in (
            (self.closed, other.closed), (self.close_sent, other.close_sent),
            (self.close_received, other.close_received),
        ):
            for code, count in theirs.items():
                _count(ours, code, count)
        for name, count in other.errors.items():
            self.errors[name] = self.errors.get(name, 0) + count


cdef class Accounts:
    """A server's `Totals`, by the path of the route."""

    def __cinit__(self):
        self.past = {}

    def close(self, Connection connection not None):
        """*connection* has ended."""
        _of(self.past, connection).add(connection)

    def by_route(self, connections):
        """What *connections* have done so far, and those that have ended. May be called by any thread."""
        cdef Connection connection
        cdef dict sums = {}
        # Copies, made without a step of Python between: the loop's thread may go on while another one adds up.
        for route, past in list(self.past.items()):
            sums[route] = Totals()
            sums[route].merge(past)
        for connection in list(connections):
            _of(sums, connection).add(connection)
        return sums


cdef Totals _of(dict totals, Connection connection):
    cdef object route = connection.callbacks.route
    cdef object found = totals.get(route)
    if found is None:
        if len(totals) >= ROUTES:
            route = OTHER
            found = totals.get(route)
        if found is None:
            found = totals[route] = Totals()
    return found


cdef int _count(dict counts, int code, object number) except -1:
    if code >= 3000 and code not in counts and len(counts) >= PRIVATE_CODES:
        code = 0
    counts[code] = counts.get(code, 0) + number
    return 0


cdef str _name(object error):
    """Ours by their names, the network's by one, and whatever a callback raised by another."""
    if isinstance(error, WebSocketException):
        return type(error).__name__
    return "OSError" if isinstance(error, OSError) else "callback"
