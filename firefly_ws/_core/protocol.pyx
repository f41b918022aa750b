# cython: language_level=3
"""asyncio's side of a connection: the only file of the core that knows transports.

While inside a large frame the transport reads straight into the message: one copy
and one allocation less for each read.
"""

import asyncio
import socket

from .connection cimport Connection
from .tcp cimport Transport

_PLAIN = {"TCPTransport", "UnixTransport", "_SelectorSocketTransport"}


cdef class Protocol:
    """What a transport calls (`asyncio.Protocol`) once the handshake is over."""

    def __init__(self, Connection connection not None):
        self.connection = connection

    def open(self, transport, bytes rest=b""):
        """Take *transport* over, call on_accept, then deliver *rest*, the bytes that came behind the handshake."""
        cdef int fd
        if isinstance(transport, Transport):
            (<Transport>transport).take_over(self.connection)
            if rest:
                self.connection.receive(rest)
            return
        fd = _descriptor(transport)
        # In this order: if bytes of the handshake still wait, it is we who hear that writing is paused.
        transport.set_protocol(self)
        # We write past a plain transport only while it holds nothing. TLS counts "at high water" as above it: with 0
        # it would call itself full when it is empty, and say nothing more.
        transport.set_write_buffer_limits(high=0 if fd >= 0 else 1, low=0)
        self.connection.opened(transport, fd)
        if rest:
            self.connection.receive(rest)

    def connection_made(self, transport):
        """For transports that begin with us: the handshake has been made elsewhere."""
        self.open(transport)

    def data_received(self, bytes data not None):
        cdef Connection connection = self.connection
        connection.receive(data)
        if connection.outbox.fd >= 0 and connection.parser.inside and connection.parser.left >= 65536:
            self.read_large()

    cdef int read_large(self) except -1:
        if self.buffer is None:
            self.buffer = self.connection.large_buffer()
            if self.buffer is not None:
                self.connection.transport.set_protocol(_LargeReader(self))
        return 0

    def _get_buffer(self):
        if self.buffer is None:
            self.buffer = self.connection.large_buffer()
        if self.buffer is None:
            # Paused, or closing: the transport may still ask once.
            self.buffer = self.spare = bytearray(4096)
        return self.buffer

    def _buffer_updated(self, Py_ssize_t size):
        cdef Connection connection = self.connection
        spare, self.spare, self.buffer = self.spare, None, None
        if spare is not None:
            connection.receive(bytes(spare[:size]))
        else:
            connection.received_large(size)
        if connection.transport is not None:
            self.buffer = connection.large_buffer()
            if self.buffer is None:
                connection.transport.set_protocol(self)

    def eof_received(self):
        self.connection.eof()
        # Plain TCP stays open for the answers to what came before; TLS ends both ways.
        return self.connection.outbox.fd >= 0 or self.connection.transport is None

    def connection_lost(self, error):
        self.buffer = None
        self.connection.gone(error)

    def pause_writing(self):
        self.connection.pause_writing()

    def resume_writing(self):
        self.connection.resume_writing()


cdef class _Large:
    """The same connection to a transport that asks where to read to (`asyncio.BufferedProtocol`)."""

    cdef Protocol protocol

    def __init__(self, Protocol protocol):
        self.protocol = protocol

    def get_buffer(self, hint):
        return self.protocol._get_buffer()

    def buffer_updated(self, size):
        self.protocol._buffer_updated(size)

    def eof_received(self):
        return self.protocol.eof_received()

    def connection_lost(self, error):
        self.protocol.connection_lost(error)

    def pause_writing(self):
        self.protocol.pause_writing()

    def resume_writing(self):
        self.protocol.resume_writing()


class _LargeReader(_Large, asyncio.BufferedProtocol):
    """asyncio's own transports look at the class, uvloop's at the methods."""

    __slots__ = ()


cdef int _descriptor(object transport) except -2:
    """The socket's descriptor where bytes may be written to it directly, or -1.

    Only transports whose write is one `send` with nothing in between, and which keep
    the descriptor open until connection_lost: uvloop's and asyncio's plain ones.
    """
    if type(transport).__name__ not in _PLAIN:
        return -1
    sock = transport.get_extra_info("socket")
    if sock is None or sock.type != socket.SOCK_STREAM:
        return -1
    return sock.fileno()
