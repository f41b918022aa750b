"""A policy as the core reads it."""

cdef enum Slow:            # what becomes of sends to a peer that reads too slowly
    WAIT = 0
    CLOSE = 1
    DROP_OLDEST = 2
    LATEST = 3


cdef class Limits:
    cdef readonly object policy            # the `WebSocketPolicy` it was made from
    cdef long long text, binary            # bytes of a message; below zero in all of these: none
    cdef long long frame                   # bytes of a frame
    cdef long long fragments               # frames of a message
    cdef object options                    # names of what sets text, binary and the time for a Pong, for the error
    cdef Py_ssize_t queue_messages, queue_bytes
    cdef Py_ssize_t high_water, low_water, max_write
    cdef Py_ssize_t pings                  # of the user's that wait for a Pong
    cdef int slow                          # of Slow
    cdef double message_rate, byte_rate    # a second; infinity: none
    cdef bint metered                      # one of them is there
    cdef double burst                      # seconds' worth of them
    cdef bint pausing                      # above them reading pauses, else the connection closes
    cdef object close_timeout              # seconds or None
    cdef double idle, read, write          # seconds; infinity in all of these: none
    cdef double ping_interval, ping_timeout, connection
    cdef double first                      # when there is something to look at, where nothing waits to be sent
    cdef double shortest                   # of all of these
