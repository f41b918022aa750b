"""What has been accepted, and has not said yet what it wants."""

from ._core.connection cimport Connection
from ._core.outbox cimport Turn
from ._core.steps cimport Steps
from ._core.tcp cimport Newcomer
from .glance cimport Plain
from .http.asked cimport Asked
from libc.stdint cimport uint8_t


cdef class Lobby:
    cdef object server, app, loop
    cdef Steps steps
    cdef Turn turn
    cdef object connections       # the server's
    cdef object places            # of arrivals, where they are limited; else None
    cdef dict exact               # path -> Place
    cdef object match             # the routes', for any other path
    cdef object seen              # the app's changes at the last look
    cdef object took              # called with the seconds of each handshake, where they are counted; else None
    cdef long long max_size, max_count  # of a head; below zero: none
    cdef double seconds           # open_timeout; infinity: none
    cdef double expired           # who was due by then is judged when the timer runs; 0: nobody
    cdef object timer
    cdef Arrival first, last      # by age
    cdef Py_ssize_t count

    cdef int look(self) except -1
    cdef int add(self, Arrival one) except -1
    cdef int remove(self, Arrival one) except -1
    cdef int arm(self) except -1


cdef class Entrance:
    cdef object kind
    cdef Lobby lobby
    cdef bint secure


cdef class Arrival(Newcomer):
    cdef Lobby lobby
    cdef bint secure
    cdef bint here                # it has not left the lobby
    cdef object transport
    cdef public object _head      # what reads a head that is not plain; None: nothing of one has come
    cdef public bytes _rest       # what came behind the head
    cdef public object _task      # on_upgrade, which takes its time
    cdef public object _farewell  # the timer that ends who was refused and stays
    cdef double since             # monotonic seconds
    cdef object __weakref__
    cdef Arrival before, after

    cdef int come(self, object transport) except -1
    cdef int glance(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int upgrade(self, Asked request, object route, const uint8_t* head, Plain* found) except -1
    cdef Connection make(self, Asked request, object settings, object sub_protocol, tuple extensions, bytes answer)
    cdef int leave(self) except -1
