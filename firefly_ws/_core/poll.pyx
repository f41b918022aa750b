# cython: language_level=3, boundscheck=False, wraparound=False
"""Many descriptors as one in the loop's eyes: an epoll set nested in the loop's own. Knows no socket's meaning.

A loop hears once that some of them are ready, and this asks which: no handle of the
loop per connection, no Python call per event, one receive buffer for all. Linux only;
elsewhere the loop's own transports do it.
"""

from libc.errno cimport errno
from libc.stdlib cimport free, malloc

import contextvars
import os

cdef enum:
    MOST = 256  # events of one batch: the loop's other business waits for that many callbacks at most

cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1


def available():
    """Whether this system has what it takes (bool)."""
    return EPOLL_HERE != 0


cdef class Watched:
    """A descriptor in a `Poller`'s set."""

    def __cinit__(self):
        self.fd = -1

    cdef int ready(self, uint32_t events) except -1:
        """It is readable or writable; in its own context."""
        return 0

    cdef int finish(self) except -1:
        """Behind the batch in which it ended; in its own context."""
        return 0

    cdef int freed(self) except -1:
        """One of the set has ended: there is a descriptor again."""
        return 0


cdef class Poller:
    """The descriptors of one loop."""

    def __cinit__(self):
        self.set_fd = -1

    def __init__(self, loop not None):
        self.loop = loop
        self.watched = []
        self.ended = []

    def __dealloc__(self):
        free(self.buffer)
        if self.set_fd >= 0:
            sys_close(self.set_fd)

    cdef int watch(self, Watched one, uint32_t events) except -1:
        """Tell *one* from now on of these *events* (0: of none)."""
        cdef int operation
        if events == one.events:
            return 0
        if one.events == 0:
            operation = EPOLL_CTL_ADD
            if self.set_fd < 0:
                self.start()
            self.serials += 1
            one.serial = self.serials
            while len(self.watched) <= one.fd:
                self.watched.append(None)
        else:
            operation = EPOLL_CTL_DEL if events == 0 else EPOLL_CTL_MOD
        if (ready_control(self.set_fd, operation, one.fd, events, <uint64_t>one.serial << 32 | <uint32_t>one.fd) < 0
                and operation != EPOLL_CTL_DEL):
            raise OSError(errno, f"epoll_ctl: {os.strerror(errno)}")
        # What cannot be taken out is not in: whose socket it was has closed it.
        one.events = events
        if operation == EPOLL_CTL_ADD:
            self.watched[one.fd] = one
            self.count += 1
        elif operation == EPOLL_CTL_DEL:
            self.watched[one.fd] = None
            self.count -= 1
            if self.count == 0 and not self.within:
                self.stop()
        return 0

    cdef int start(self) except -1:
        """Make the set, and have the loop watch it."""
        if self.buffer is NULL:
            self.buffer = <uint8_t*>malloc(READ)
            if self.buffer is NULL:
                raise MemoryError
        self.set_fd = ready_create()
        if self.set_fd < 0:
            raise OSError(errno, f"epoll_create1: {os.strerror(errno)}")
        try:
            # Each descriptor's callbacks run in its own context; this one must hold nobody's variables.
            contextvars.Context().run(self.loop.add_reader, self.set_fd, self._ready)
        except BaseException:
            sys_close(self.set_fd)
            self.set_fd = -1
            raise
        return 0

    cdef int stop(self) except -1:
        """Nothing is watched: leave nothing behind in the loop."""
        cdef int fd = self.set_fd
        self.set_fd = -1
        self.watched = []
        if not self.loop.is_closed():
            self.loop.remove_reader(fd)
        sys_close(fd)
        return 0

    def _ready(self):
        """The loop's call: some are ready."""
        cdef bint nested = self.within
        self.within = True
        try:
            self.batch()
        finally:
            self.within = nested
            if not nested:
                if self.ended:
                    self.finish()
                if self.count == 0 and self.set_fd >= 0:
                    self.stop()

    cdef int batch(self) except -1:
        cdef ready_event events[MOST]
        cdef Watched one
        cdef uint64_t data
        cdef uint32_t fd
        cdef int i
        cdef int count = ready_now(self.set_fd, events, MOST)
        for i in range(count):
            data = ready_data(&events[i])
            fd = <uint32_t>data
            # One that an earlier event of this batch has ended, and whose descriptor may be another's by now.
            if fd >= <uint32_t>len(self.watched):
                continue
            one = self.watched[fd]
            if one is None or one.serial != <uint32_t>(data >> 32):
                continue
            PyContext_Enter(one.context)
            try:
                one.ready(ready_events(&events[i]))
            finally:
                PyContext_Exit(one.context)
        return 0

    cdef int end(self, Watched one) except -1:
        """Have *one* finish once nothing of it is on the stack any more."""
        self.ended.append(one)
        if not self.within and not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self._finish)
        return 0

    def _finish(self):
        self.scheduled = False
        self.finish()

    cdef int finish(self) except -1:
        cdef Watched one
        try:
            while self.ended:
                one = self.ended.pop(0)
                PyContext_Enter(one.context)
                try:
                    one.finish()
                finally:
                    PyContext_Exit(one.context)
            if self.starved is not None:
                starved, self.starved = self.starved, None
                for one in starved:
                    one.freed()
        finally:
            # One raised what must end the loop: the others' turn comes still.
            if self.ended and not self.scheduled:
                self.scheduled = True
                self.loop.call_soon(self._finish)
        return 0
