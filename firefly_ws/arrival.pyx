# cython: language_level=3
"""From accept to open for a plain upgrade request, and who waits for how long; what is not plain goes to `accepting`.

The way of nearly every connection, without a call of Python but the user's: a glance at
the head, the route, on_upgrade, the answer, the connection. Measured per connection:
100,000 instructions where Python decided each step, 22,000 here (docs/decisions/0006).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport INFINITY

from ._core.chain cimport Chain
from ._core.connection cimport Connection
from ._core.deflate cimport Deflate
from ._core.limits cimport Limits
from ._core.tcp cimport Transport
from ._core.wheel cimport monotonic
from .glance cimport Plain, answer_to, of_host, plain

from ._core.protocol import Protocol
from .connection import WebSocketConnection, coding
from .handshake import agree, check_origin, choose_sub_protocol
from .http.request import Request

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        object (*tp_new)(PyTypeObject* kind, object arguments, void* keywords)
    str PyUnicode_DecodeASCII(const char* data, Py_ssize_t size, const char* errors)
    str PyUnicode_DecodeLatin1(const char* data, Py_ssize_t size, const char* errors)

cdef object _Connection = WebSocketConnection
cdef object _Request = Request
cdef tuple _none = ()


cdef inline object _new(object kind):
    """An instance without its constructor."""
    return (<PyTypeObject*>kind).tp_new(<PyTypeObject*>kind, _none, NULL)


cdef inline str _text(const uint8_t* data, Py_ssize_t start, Py_ssize_t size):
    return PyUnicode_DecodeLatin1(<const char*>data + start, size, NULL)


cdef class Lobby:
    """What one server's arrivals share; holds them by age, with one timer for the oldest's ``open_timeout``."""

    def __init__(self, server not None):
        self.server = server
        self.app = server._app
        self.loop = server._loop
        self.steps = server._steps
        self.turn = server._turn
        self.connections = server._connections
        if server._admission is not None:
            self.places = server._admission.places(lambda one: one._transport.get_extra_info("peername"))
        self.exact = self.app.routes.exact
        self.match = self.app.routes.match
        self.took = server._took
        seconds = self.app.default_policy.open_timeout
        self.seconds = INFINITY if seconds is None else seconds
        self.look()

    cdef int look(self) except -1:
        """The policy as it is now."""
        cdef object changes = self.app.changes
        if changes is not self.seen:
            policy = self.app.default_policy
            self.max_size = -1 if policy.max_header_size is None else policy.max_header_size
            self.max_count = -1 if policy.max_header_count is None else policy.max_header_count
            self.seen = changes
        return 0

    def __len__(self):
        return self.count

    def __iter__(self):
        cdef list those = []
        cdef Arrival one = self.first
        while one is not None:
            those.append(one)
            one = one.after
        return iter(those)

    def age(self, Arrival one not None):
        """Seconds since *one* has come."""
        return monotonic() - one.since

    def clear(self):
        """No timer outlives the server."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.expired = 0

    cdef int add(self, Arrival one) except -1:
        one.before = self.last
        if self.last is None:
            self.first = one
        else:
            self.last.after = one
        self.last = one
        self.count += 1
        one.since = monotonic()
        if self.places is not None:
            self.places.add(one)
        if self.timer is None and self.seconds < INFINITY:
            self.arm()
        return 0

    cdef int remove(self, Arrival one) except -1:
        if one.before is None:
            self.first = one.after
        else:
            one.before.after = one.after
        if one.after is None:
            self.last = one.before
        else:
            one.after.before = one.before
        one.before = one.after = None
        self.count -= 1
        if self.places is not None:
            self.places.discard(one)
        return 0

    cdef int arm(self) except -1:
        """Have the timer call for the oldest."""
        self.timer = self.loop.call_later(max(self.first.since + self.seconds - monotonic(), 0), self._due)
        return 0

    def _due(self):
        """Nobody is judged before another look at the sockets, see `deadlines`: what came is not late, our loop is."""
        cdef double now = monotonic()
        cdef double late
        cdef Arrival one
        self.timer = None
        if self.expired == 0:
            if self.first is not None:
                late = now - (self.first.since + self.seconds)
                if late < 0:
                    self.arm()
                else:
                    self.expired = now
                    self.timer = self.loop.call_later(max(min(late, self.seconds), 0.001), self._due)
            return
        now = self.expired
        self.expired = 0
        try:
            while self.first is not None and self.first.since + self.seconds <= now:
                one = self.first
                try:
                    one.too_slow()
                finally:
                    one.leave()
        finally:
            # Also behind what raises: those that follow have their deadlines all the same.
            if self.first is not None and self.timer is None:
                self.arm()


cdef class Entrance:
    """Makes an `Arrival` of *kind* for each connection that a listener accepts."""

    def __init__(self, kind not None, Lobby lobby not None, bint secure):
        self.kind = kind
        self.lobby = lobby
        self.secure = secure

    def __call__(self):
        cdef Arrival one = _new(self.kind)
        one.lobby = self.lobby
        one.secure = self.secure
        one._rest = b""
        return one


cdef class Arrival(Newcomer):
    """One accepted connection until it is a websocket's, or HTTP's; `accepting.ServerHandshake` is the rest of it."""

    def __init__(self, Lobby lobby not None, bint secure):
        self.lobby = lobby
        self.secure = secure
        self._rest = b""

    @property
    def _server(self):
        return self.lobby.server

    @property
    def _secure(self):
        return self.secure

    @property
    def _transport(self):
        return self.transport

    @property
    def _here(self):
        """It has neither become a connection nor gone (bool)."""
        return self.here

    cdef int come(self, object transport) except -1:
        cdef Lobby lobby = self.lobby
        if self.secure:
            lobby.server._greeting.discard(self)
        if lobby.server._shut:
            transport.abort()
            return 0
        self.transport = transport
        self.here = True
        return lobby.add(self)

    cdef int leave(self) except -1:
        cdef Lobby lobby = self.lobby
        if self.here:
            self.here = False
            self._head = None
            lobby.remove(self)
        return 0

    def _leave(self):
        """It is another's, or refused, or gone."""
        self.leave()

    cdef int arrived(self, Transport transport) except -1:
        return self.come(transport)

    cdef int received(self, const uint8_t* data, Py_ssize_t size) except -1:
        if not self.glance(data, size):
            self._read(PyBytes_FromStringAndSize(<const char*>data, size))
        return 0

    def connection_made(self, transport):
        """A connection has been accepted."""
        self.come(transport)

    def data_received(self, bytes data not None):
        """Bytes of the request, or behind it."""
        if not self.glance(<const uint8_t*>PyBytes_AS_STRING(data), len(data)):
            self._read(data)

    cdef int glance(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Whether this was a plain request for a websocket that we have, and is answered or being so."""
        cdef Plain found
        cdef Lobby lobby = self.lobby
        cdef Asked request
        cdef bytes head
        cdef str target, path
        cdef object place, route, params = None
        if self._head is not None or self._task is not None or not self.here or not plain(data, size, &found):
            return 0
        lobby.look()
        if found.size > lobby.max_size >= 0 or found.count > lobby.max_count >= 0:
            return 0
        path = target = PyUnicode_DecodeASCII(<const char*>data + found.target, found.target_size, NULL)
        if found.path_size < found.target_size:
            path = target[:found.path_size]
        place = lobby.exact.get(path)
        if place is None:
            match = lobby.match(path)
            if match is None:
                return 0
            place, params = match
        route = place.websocket
        if route is None:
            return 0
        head = PyBytes_FromStringAndSize(<const char*>data, found.size)
        if size > found.size:
            self._rest = PyBytes_FromStringAndSize(<const char*>data + found.size, size - found.size)
        request = _new(_Request)
        request.found(head, found.fields, target)
        request._path_params = params or None
        request.is_secure = self.secure
        if isinstance(self.transport, Transport) and (<Transport>self.transport).port >= 0:
            request._remote = self.transport
            request.later = True
        else:
            request._remote = self.transport.get_extra_info("peername")
        self.upgrade(request, route, <const uint8_t*>PyBytes_AS_STRING(head), &found)
        return 1

    cdef int upgrade(self, Asked request, object route, const uint8_t* head, Plain* found) except -1:
        """Have it decided by whom it concerns, and answer."""
        cdef object hook = self.lobby.app.upgrade_hook
        cdef object settings, allowed, sub_protocol = None, agreed
        cdef tuple extensions = _none
        cdef bytes lines = b""
        try:
            if found.origin_size >= 0:
                allowed = route.allowed_origins or self.lobby.app.allowed_origins
                if allowed is not None or not of_host(head, found):
                    check_origin(_text(head, found.origin, found.origin_size), _text(head, found.host, found.host_size),
                                 allowed, request)
            if hook is not None:
                try:
                    settled = hook(request)
                except Exception as error:
                    self._hook_raised(request, error)
                    return 0
                if settled is not None:
                    self._settle(settled, request, route)
                    return 0
                if not self.here or self.transport.is_closing():
                    return 0
            settings = route.current()
            if found.protocols_size >= 0:
                if route.sub_protocol_hook is not None:
                    self._upgrade(request, route)
                    return 0
                sub_protocol = choose_sub_protocol(
                    _text(head, found.protocols, found.protocols_size), settings.sub_protocols,
                    None, request)
                if sub_protocol is not None:
                    lines = b"Sec-WebSocket-Protocol: %s\r\n" % sub_protocol.encode("ascii")
            if found.offers_size >= 0:
                if route.extension_hook is not None:
                    self._upgrade(request, route)
                    return 0
                agreed = agree(_text(head, found.offers, found.offers_size), settings.extensions,
                               None, request)
                extensions = agreed.extensions
                lines += agreed.line
            if request._headers is not None:
                # Somebody has looked: the connection keeps the bytes alone, not their table.
                request._headers.release()
            self.make(request, settings, sub_protocol, extensions,
                      answer_to(head + found.key, lines))
        except Exception as error:
            if not self.here:
                raise
            self._failed(request, error)
        return 0

    def _open(self, request, settings, sub_protocol, extensions, answer):
        """The same end of it for a request that was not plain; the connection."""
        return self.make(request, settings, sub_protocol, extensions, answer)

    cdef Connection make(self, Asked request, object settings, object sub_protocol, tuple extensions, bytes answer):
        """Make the connection, send *answer*, and hand the transport over."""
        cdef Lobby lobby = self.lobby
        cdef object transport = self.transport
        cdef Connection connection = _new(_Connection)
        cdef Deflate deflate = None
        cdef Chain chain = None
        cdef Limits limits = settings.limits
        cdef Transport ours
        if extensions:
            deflate, chain = coding(extensions, False, limits.policy)
        connection.prepare(limits, settings.callbacks, lobby.steps, lobby.turn, False, deflate, chain)
        connection._owner = lobby.server
        connection.request = request
        connection.is_secure = self.secure
        connection.sub_protocol = sub_protocol
        connection.extensions = extensions
        if lobby.took is not None:
            lobby.took(monotonic() - self.since)
        self.leave()
        if isinstance(transport, Transport):
            ours = transport
            ours.put(answer, <const uint8_t*>PyBytes_AS_STRING(answer), len(answer))
            lobby.connections.add(connection)
            ours.take_over(connection)
            if self._rest:
                connection.receive(self._rest)
        else:
            transport.write(answer)
            lobby.connections.add(connection)
            Protocol(connection).open(transport, self._rest)
        return connection

    # For the class below: decisions that no plain request needs.

    def _read(self, data):
        raise NotImplementedError

    def _settle(self, answer, request, route):
        raise NotImplementedError

    def _upgrade(self, request, route):
        raise NotImplementedError

    def _hook_raised(self, request, error):
        raise NotImplementedError

    def _failed(self, request, error):
        raise NotImplementedError

    def too_slow(self):
        """``open_timeout`` has passed."""
        raise NotImplementedError
