"""A policy as the core reads it."""

cdef class Limits:
    cdef readonly object policy            # the `WebSocketPolicy` it was made from
    cdef long long text, binary            # bytes of a message; below zero in all of these: none
    cdef long long frame                   # bytes of a frame
    cdef long long fragments               # frames of a message
    cdef object options                    # names of what sets text and binary, for the error
    cdef Py_ssize_t queue_messages, queue_bytes
    cdef Py_ssize_t high_water, low_water, max_write
    cdef object close_timeout              # seconds or None
    cdef double idle, read, write          # seconds; infinity in all of these: none
    cdef double ping_interval, ping_timeout, connection
    cdef double first                      # when there is something to look at, where nothing waits to be sent
    cdef double shortest                   # of all of these
