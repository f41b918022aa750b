# cython: language_level=3
"""asyncio's side of a connection: the only file of the core that knows transports. Holds no state of its own."""

import socket

from .connection cimport Connection

_PLAIN = {"TCPTransport", "UnixTransport", "_SelectorSocketTransport"}


cdef class Protocol:
    """What a transport calls (`asyncio.Protocol`) once the handshake is over."""

    def __init__(self, Connection connection not None):
        self.connection = connection

    def open(self, transport, bytes rest=b""):
        """Take *transport* over, call on_accept, then deliver *rest*, the bytes that came behind the handshake."""
        transport.set_write_buffer_limits(high=0)
        transport.set_protocol(self)
        self.connection.opened(transport, _descriptor(transport))
        if rest:
            self.connection.receive(rest)

    def connection_made(self, transport):
        """For transports that begin with us: the handshake has been made elsewhere."""
        self.open(transport)

    def data_received(self, bytes data not None):
        self.connection.receive(data)

    def eof_received(self):
        self.connection.eof()
        # Plain TCP stays open for the answers to what came before; TLS ends both ways.
        return self.connection.outbox.fd >= 0 or self.connection.transport is None

    def connection_lost(self, error):
        self.connection.gone(error)

    def pause_writing(self):
        self.connection.pause_writing()

    def resume_writing(self):
        self.connection.resume_writing()


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
