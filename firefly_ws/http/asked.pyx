# cython: language_level=3
"""What a `Request` holds: of a head that was only glanced at, the bytes; knows what no field means.

A websocket's request lives as long as its connection, and few are ever looked at: a
head, one object, and no `Headers` before somebody asks for them.
"""

from .headers import Headers

cdef object _of_head = Headers.of_head


cdef class Asked:
    """Method, target and header fields of one request, and who sent it."""

    def __init__(self, str method not None, str target not None, headers, str http_version="1.1"):
        self.method = method
        self.target = target
        self._headers = headers
        self.http_version = http_version

    cdef int found(self, bytes head, Py_ssize_t fields, str target) except -1:
        """A GET of HTTP/1.1 whose *head* has been checked; its first field begins at *fields*."""
        self.head = head
        self.fields = fields
        self.method = "GET"
        self.target = target
        self.http_version = "1.1"
        return 0

    @property
    def headers(self):
        """The header fields (`Headers`)."""
        if self._headers is None:
            self._headers = _of_head(self.head, self.fields)
        return self._headers

    @property
    def remote_address(self):
        """The peer's address: (host, port, …) for TCP, a path for unix sockets."""
        if self.later:
            self.later = False
            self._remote = self._remote.get_extra_info("peername")
        return self._remote

    @remote_address.setter
    def remote_address(self, address):
        self.later = False
        self._remote = address
