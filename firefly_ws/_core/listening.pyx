# cython: language_level=3, boundscheck=False, wraparound=False
"""Accepting from a listening socket of a `Poller`'s set, and waiting where there is nothing to accept with.

Knows no bytes: what is accepted is a `Transport`, and what is made of it the caller's; with TLS it is a descriptor,
which is the caller's whole. Linux only; see `poll`.
"""

from libc.errno cimport (
    EAGAIN, ECONNABORTED, EHOSTUNREACH, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, ENOPROTOOPT, EOPNOTSUPP,
    EPERM, EPROTO, errno,
)
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from .poll cimport EPOLLIN, Poller, Watched, sys_accept
from .tcp cimport Transport

import logging
import os

from ..seldom import Seldom

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef enum:
    ACCEPTED = 64   # of one batch: those who are connected already come first
    QUEUE = 65536   # the longest that Linux keeps
    PAUSE = 1       # seconds without accepting where it fails

# Who opens connections until there is no descriptor left does not fill the disk as well.
_starving = Seldom(logging.getLogger("firefly_ws"), 60)


cdef class Listener(Watched):
    """A listening socket: makes a `Transport` and, by ``make()``, a protocol for each connection.

    With *bare* it makes nothing: ``make(fd)`` takes each connection's descriptor over.
    Takes *sock* over, bound; raises what listening raises.
    """

    def __init__(self, Poller poller not None, sock, make, int backlog, bint bare=False):
        sock.setblocking(False)
        sock.listen(backlog)
        self.poller = poller
        self.sock = sock
        self.make = make
        self.bare = bare
        self.fd = sock.fileno()
        self.context = PyContext_CopyCurrent()
        poller.watch(self, EPOLLIN)

    @property
    def sockets(self):
        """The listening socket, as a tuple; empty once closed."""
        return () if self.sock is None else (self.sock,)

    def take_queue(self):
        """Accept those who wait: the system would reset them where the socket closes."""
        cdef uint8_t host[4]
        cdef int port = -1
        cdef int fd, _
        PyContext_Enter(self.context)
        try:
            for _ in range(QUEUE):
                if self.fd < 0:
                    return
                fd = sys_accept(self.fd, host, &port)
                if fd < 0:
                    return
                self.accept(fd, host, port)
        finally:
            PyContext_Exit(self.context)

    def close(self):
        """Stop accepting."""
        if self.sock is not None:
            self.poller.watch(self, 0)
            self.sock.close()
            self.sock = None
            self.fd = -1
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

    def _resume(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.sock is not None:
            self.poller.watch(self, EPOLLIN)

    cdef int freed(self) except -1:
        self._resume()
        return 0

    cdef int ready(self, uint32_t events) except -1:
        cdef uint8_t host[4]
        cdef int port = -1
        cdef int fd, _
        for _ in range(ACCEPTED):
            if self.fd < 0:
                return 0
            fd = sys_accept(self.fd, host, &port)
            if fd < 0:
                return self.refused(errno)
            self.accept(fd, host, port)
        return 0

    cdef int refused(self, int why) except -1:
        """Nothing more to accept, or not now."""
        if why in (EAGAIN, ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, EOPNOTSUPP):
            return 0  # of one who waited, and is gone (accept(2))
        if why in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            return self.starve(why)
        error = OSError(why, os.strerror(why))
        self.poller.loop.call_exception_handler(
            {"message": f"cannot accept on {self.sock!r}: {error.strerror}", "exception": error})
        # A socket that somebody has shut down: it would be reported again at once.
        return self.pause()

    cdef int starve(self, int why) except -1:
        """No descriptors, no memory: whoever comes waits in the system's queue until something is free again."""
        if why == EMFILE:
            import resource  # there is none on Windows, nor this class in use

            _starving(
                "EMFILE", logging.WARNING, "accepting on %s pauses: the process has as many open files as it may, %d; "
                "`ulimit -n` (RLIMIT_NOFILE) allows more, max_connections(number) refuses with 503 before that",
                self.sock.getsockname(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        else:
            _starving(
                os.strerror(why), logging.WARNING, "accepting on %s pauses: %s; the system's limit (%s)",
                self.sock.getsockname(), os.strerror(why), "fs.file-max" if why == ENFILE else "memory for sockets")
        # One of ours that ends gives way to the next at once; what others set free is seen when the pause is over.
        if self.poller.starved is None:
            self.poller.starved = []
        if self not in self.poller.starved:
            self.poller.starved.append(self)
        return self.pause()

    cdef int pause(self) except -1:
        self.poller.watch(self, 0)
        if self.timer is None:
            self.timer = self.poller.loop.call_later(PAUSE, self._resume)
        return 0

    cdef int accept(self, int fd, const uint8_t* host, int port) except -1:
        """Begin with a connection, in a context of its own."""
        cdef Transport transport
        if self.bare:
            return self.give(fd)
        transport = Transport.__new__(Transport)
        transport.begin(self.poller, fd)
        transport.port = port
        if port >= 0:
            memcpy(transport.host, host, 4)
        try:
            transport.open(self.make())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.poller.loop.call_exception_handler(
                {"message": "a connection could not begin", "exception": error, "transport": transport})
            transport.fail(error)
        return 0

    cdef int give(self, int fd) except -1:
        """Leave a connection to the caller."""
        try:
            self.make(fd)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.poller.loop.call_exception_handler({"message": "a connection could not begin", "exception": error})
        return 0
