"""Plain upgrade requests."""

from libc.stdint cimport uint8_t


cdef struct Plain:                  # where things stand in the head; a size below zero: the field did not come
    Py_ssize_t size                 # of the head with the empty line at its end
    Py_ssize_t count                # of its fields
    Py_ssize_t target, target_size
    Py_ssize_t path_size            # of the target, up to a "?"
    Py_ssize_t fields               # where the first one begins
    Py_ssize_t key                  # 24 characters
    Py_ssize_t host, host_size      # in all of these without the spaces around
    Py_ssize_t origin, origin_size
    Py_ssize_t offers, offers_size        # Sec-WebSocket-Extensions
    Py_ssize_t protocols, protocols_size  # Sec-WebSocket-Protocol


cdef bint plain(const uint8_t* data, Py_ssize_t size, Plain* found) noexcept nogil
cdef bint of_host(const uint8_t* data, const Plain* found) noexcept nogil
cdef bytes answer_to(const uint8_t* key, bytes lines)
