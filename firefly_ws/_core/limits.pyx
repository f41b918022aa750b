# cython: language_level=3
"""A policy as the core reads it: C numbers, made once for all connections of a route. Knows no connection."""

from libc.math cimport INFINITY

cdef dict _SLOW = {"wait": WAIT, "close": CLOSE, "drop_oldest": DROP_OLDEST, "latest": LATEST}


cdef class Limits:
    """The sizes, counts and times of a `WebSocketPolicy`; *names* are what the user calls its fields, if otherwise."""

    def __init__(self, policy not None, dict names=None):
        cdef dict named = {} if names is None else names
        cdef object text = "max_message_size" if policy.max_text_message_size is None else "max_text_message_size"
        cdef object binary = "max_message_size" if policy.max_binary_message_size is None else "max_binary_message_size"
        self.policy = policy
        self.text = _number(policy.text_limit())
        self.binary = _number(policy.binary_limit())
        self.frame = _number(policy.max_frame_size)
        self.fragments = _number(policy.max_fragments)
        self.options = (
            named.get(text, text), named.get(binary, binary),
            f"{named.get('ping_interval', 'ping_interval')} + {named.get('ping_timeout', 'ping_timeout')}",
        )
        self.queue_messages = _number(policy.max_queue[0])
        self.queue_bytes = _number(policy.max_queue[1])
        self.high_water = policy.write_high_water
        self.low_water = policy.write_low_water
        self.max_write = _number(policy.max_write_buffer)
        self.pings = _number(policy.max_pending_pings)
        self.slow = _SLOW[policy.slow_consumer]
        self.message_rate = _seconds(policy.max_message_rate)
        self.byte_rate = _seconds(policy.max_byte_rate)
        self.metered = self.message_rate < INFINITY or self.byte_rate < INFINITY
        self.burst = policy.rate_burst
        self.pausing = policy.over_rate == "pause"
        self.close_timeout = policy.close_timeout
        self.idle = _seconds(policy.idle_timeout)
        self.read = _seconds(policy.read_timeout)
        self.write = _seconds(policy.write_timeout)
        self.ping_interval = _seconds(policy.ping_interval)
        self.ping_timeout = INFINITY if policy.ping_interval is None else _seconds(policy.ping_timeout)
        self.connection = _seconds(policy.connection_timeout)
        self.first = min(self.idle / 8, self.read, self.ping_interval, self.connection / 2)
        self.shortest = min(self.idle, self.read, self.write, self.ping_interval, self.ping_timeout, self.connection)


cdef long long _number(object limit) except? -1:
    return -1 if limit is None else limit


cdef double _seconds(object limit) except? -1:
    return INFINITY if limit is None else limit
