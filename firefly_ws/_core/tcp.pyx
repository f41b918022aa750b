# cython: language_level=3, boundscheck=False, wraparound=False
"""Plain TCP and unix sockets of a server: reading, and the writes that did not fit at once.

An asyncio transport as far as a handshake needs one. Once a `Connection` has taken
over, what was read goes to it straight from the poller's buffer, and a large frame
is read into the message itself. Linux only; see `poll`.
"""

from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint32_t

from .connection cimport Connection
from .poll cimport EPOLLIN, EPOLLOUT, READ, Poller, Watched, sys_close, sys_recv, sys_shutdown_write
from .wire cimport sys_send

import os
import socket
import warnings

from cpython.bytes cimport PyBytes_AS_STRING

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    object PyBytes_FromStringAndSize(const char* data, Py_ssize_t size)

cdef enum:
    DEFAULT_HIGH = 65536

# Here, because `Transport.__del__` is also called when the interpreter has taken the names of this module away.
cdef object _warn = warnings.warn


cdef class Newcomer:
    """A protocol that stands at the beginning of a connection, without the calls of Python."""

    cdef int arrived(self, Transport transport) except -1:
        """`connection_made`."""
        return 0

    cdef int received(self, const uint8_t* data, Py_ssize_t size) except -1:
        """`data_received`, from memory that is another's when this returns."""
        return 0


cdef class Transport(Watched):
    """A connected socket (`asyncio.Transport`)."""

    def __cinit__(self):
        self.port = -1

    def __init__(self, Poller poller not None, int fd):
        self.begin(poller, fd)

    cdef int begin(self, Poller poller, int fd) except -1:
        self.poller = poller
        self.fd = fd
        self.high = DEFAULT_HIGH
        self.low = DEFAULT_HIGH // 4
        self.context = PyContext_CopyCurrent()
        return 0

    def __dealloc__(self):
        if self.fd >= 0:
            sys_close(self.fd)

    def __del__(self):
        if self.fd >= 0 and not self.ending:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)

    def __repr__(self):
        how = "closed" if self.fd < 0 else "closing" if self.closing else "open"
        return f"<Transport {self.fd} {how} {self.waiting_size} bytes waiting>"

    cdef int open(self, object protocol) except -1:
        """Begin: from the listener, in our context."""
        cdef Newcomer newcomer = protocol if isinstance(protocol, Newcomer) else None
        self.protocol = protocol
        self.newcomer = newcomer
        self.reading = True
        if newcomer is not None:
            newcomer.arrived(self)
        else:
            protocol.connection_made(self)
        return self.interest()

    cdef int take_over(self, Connection connection) except -1:
        """The upgrade is done: *connection* reads and writes from now on. It writes past us while nothing waits."""
        self.protocol = self.newcomer = None
        self.connection = connection
        self.high = self.low = 0
        if self.waiting_size:
            # Bytes of the handshake; behind them it must wait.
            self.full = True
            connection.pause_writing()
        connection.opened(self, self.fd)
        return 0

    cdef int interest(self) except -1:
        """Watch for what we wait for."""
        cdef uint32_t events = 0
        if self.fd < 0 or self.ending:
            return 0
        if self.reading:
            events |= EPOLLIN
        if self.waiting_size:
            events |= EPOLLOUT
        return self.poller.watch(self, events)

    cdef int ready(self, uint32_t events) except -1:
        try:
            if self.reading and events & ~<uint32_t>EPOLLOUT:
                self.read()
            if self.waiting_size and events & ~<uint32_t>EPOLLIN:
                self.drain()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.poller.loop.call_exception_handler(
                {"message": "a connection failed", "exception": error, "transport": self})
            self.fail(error)
        return 0

    cdef int read(self) except -1:
        cdef Connection connection = self.connection
        cdef Newcomer newcomer = self.newcomer  # may leave us, and be nobody else's
        cdef Py_ssize_t size = 0
        cdef uint8_t* place = NULL
        cdef ptrdiff_t got
        if connection is not None:
            place = connection.large_place(&size)
        if place is not NULL:
            got = sys_recv(self.fd, place, size)
        else:
            got = sys_recv(self.fd, self.poller.buffer, READ)
        if got > 0:
            if place is not NULL:
                connection.received_large(got)
            elif connection is not None:
                connection.receive_from(self.poller.buffer, got)
            elif newcomer is not None:
                newcomer.received(self.poller.buffer, got)
            else:
                self.protocol.data_received(PyBytes_FromStringAndSize(<char*>self.poller.buffer, got))
        elif got == 0:
            self.eof()
        elif errno != EAGAIN:
            self.fail(OSError(errno, os.strerror(errno)))
        return 0

    cdef int eof(self) except -1:
        """The peer has ended its side: nothing more comes."""
        cdef bint keep
        self.reading = False
        self.interest()
        if self.connection is not None:
            self.connection.eof()
            keep = True
        else:
            keep = self.protocol.eof_received()
        if not keep:
            self.close()
        return 0

    # ---- writing

    def write(self, data not None):
        """Send bytes-like *data*; what does not fit waits."""
        cdef const uint8_t[::1] view
        if isinstance(data, bytes):
            self.put(data, <const uint8_t*>PyBytes_AS_STRING(data), len(<bytes>data))
        else:
            view = data
            if view.shape[0]:
                self.put(data, &view[0], view.shape[0])

    cdef int put(self, object data, const uint8_t* start, Py_ssize_t size) except -1:
        cdef ptrdiff_t sent = 0
        if self.closing or self.eof_due or size == 0:
            return 0
        if not self.waiting_size:
            sent = sys_send(self.fd, start, size, NULL, 0)
            if sent < 0:
                if errno != EAGAIN:
                    return self.broken(OSError(errno, os.strerror(errno)))
                sent = 0
            if sent == size:
                return 0
        if self.waiting is None:
            self.waiting = []
        # A bytes object may be kept as it is; anything else may change under us.
        self.waiting.append(memoryview(data if isinstance(data, (bytes, memoryview)) else bytes(data))[sent:])
        self.waiting_size += size - sent
        self.interest()
        if self.waiting_size > self.high and not self.full:
            self.full = True
            self.tell(True)
        return 0

    def writelines(self, lines):
        """Send several."""
        self.write(b"".join(lines))

    cdef int tell(self, bint full) except -1:
        """Say whether too much waits."""
        if self.connection is not None:
            if full:
                self.connection.pause_writing()
            else:
                self.connection.resume_writing()
        elif full:
            self.protocol.pause_writing()
        else:
            self.protocol.resume_writing()
        return 0

    cdef int drain(self) except -1:
        """The system takes more."""
        cdef const uint8_t[::1] view
        cdef ptrdiff_t sent
        while self.waiting:
            view = self.waiting[0]
            sent = sys_send(self.fd, &view[0], view.shape[0], NULL, 0)
            if sent < 0:
                if errno != EAGAIN:
                    return self.broken(OSError(errno, os.strerror(errno)))
                break
            self.waiting_size -= sent
            if sent < view.shape[0]:
                self.waiting[0] = self.waiting[0][sent:]
                break
            self.waiting.pop(0)
        if not self.waiting_size:
            self.waiting = None
            self.interest()
            if self.eof_due:
                sys_shutdown_write(self.fd)
            if self.closing:
                self.end(None)
                return 0
        if self.full and self.waiting_size <= self.low:
            self.full = False
            self.tell(False)
        return 0

    cdef int broken(self, object error) except -1:
        """Nothing can be sent any more."""
        if not self.reading:
            return self.fail(error)
        # What had come before is still to be read, and behind it reading meets the same end.
        self.waiting = None
        self.waiting_size = 0
        return self.interest()

    def can_write_eof(self):
        """Our side can end alone (bool)."""
        return True

    def write_eof(self):
        """End our side once all is written."""
        if self.eof_due or self.closing:
            return
        self.eof_due = True
        if not self.waiting_size:
            sys_shutdown_write(self.fd)

    def get_write_buffer_size(self):
        """Bytes that wait (int)."""
        return self.waiting_size

    def get_write_buffer_limits(self):
        """Low and high water, in bytes."""
        return self.low, self.high

    def set_write_buffer_limits(self, high=None, low=None):
        """Above *high* bytes the protocol is told to pause, at *low* to go on."""
        self.high = (DEFAULT_HIGH if low is None else 4 * low) if high is None else high
        self.low = self.high // 4 if low is None else low
        if not self.high >= self.low >= 0:
            raise ValueError(f"high={self.high} must be at least low={self.low}, and that at least 0")

    # ---- reading

    def is_reading(self):
        """Whether what comes is delivered (bool)."""
        return self.reading and not self.closing

    def pause_reading(self):
        """Let what comes wait in the system."""
        self.reading = False
        self.interest()

    def resume_reading(self):
        """Go on."""
        if not self.closing:
            self.reading = True
            self.interest()

    # ---- who, and the end

    def get_protocol(self):
        """Who hears of what comes."""
        return self.protocol

    def set_protocol(self, protocol):
        """Have *protocol* hear of what comes."""
        self.protocol = protocol
        self.newcomer = protocol if isinstance(protocol, Newcomer) else None

    def get_extra_info(self, name, default=None):
        """``peername`` or ``sockname``."""
        if name == "peername" and self.port >= 0:
            return f"{self.host[0]}.{self.host[1]}.{self.host[2]}.{self.host[3]}", self.port
        if name not in ("peername", "sockname") or self.fd < 0:
            return default
        sock = socket.socket(fileno=self.fd)
        try:
            return sock.getpeername() if name == "peername" else sock.getsockname()
        except OSError:
            return default
        finally:
            sock.detach()

    def is_closing(self):
        """Whether it has been closed (bool)."""
        return self.closing

    def close(self):
        """Write what waits, then end."""
        if self.closing:
            return
        self.closing = True
        self.reading = False
        if self.waiting_size:
            self.interest()
        else:
            self.end(None)

    def abort(self):
        """End now."""
        self.fail(None)

    cdef int fail(self, object error) except -1:
        """End now, for *error*; what waits is lost."""
        self.closing = True
        if self.connection is not None and not self.ending:
            self.connection.cut()
        self.waiting = None
        self.waiting_size = 0
        self.end(error)
        return 0

    cdef int end(self, object error) except -1:
        """Nothing more is read or written; who hears of it is told behind this batch."""
        if self.ending:
            return 0
        self.reading = False
        self.poller.watch(self, 0)
        self.ending = True
        self.error = error
        return self.poller.end(self)

    cdef int finish(self) except -1:
        cdef Connection connection = self.connection
        protocol, self.protocol, self.connection, self.newcomer = self.protocol, None, None, None
        try:
            if connection is not None:
                connection.gone(self.error)
            elif protocol is not None:
                protocol.connection_lost(self.error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.poller.loop.call_exception_handler(
                {"message": "the end of a connection failed", "exception": error, "transport": self})
        finally:
            sys_close(self.fd)
            self.fd = -1
        return 0
