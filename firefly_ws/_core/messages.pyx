# cython: language_level=3, boundscheck=False, wraparound=False
"""Frames to messages, RFC 6455 §5.4 to §5.6 and §8.1: fragments, sizes, inflating, UTF-8, Close payloads.

Feeds a `MessageSink` and refuses to know who sent it or what an answer would be.
A declared length takes no memory: room grows with the bytes that arrive.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from .deflate cimport Deflate
from .limits cimport Limits
from .parser cimport FrameSink
from .wire cimport wire_check_utf8, wire_utf8, wire_xor_copy

from ..codes import is_sendable
from ..errors import InvalidPayload, MessageTooBig, ProtocolError

cdef enum:
    FIRST = 262144  # bytes of room for a large frame before any of it has come
    REUSED = 32768  # messages from here on are worth it: fresh memory costs a page fault for every 4 KiB
    LENT = 8388608  # bytes remembered at most, for the whole process

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, unsigned int highest)
    void* PyUnicode_DATA(object text)
    ctypedef struct PyObject
    int _PyBytes_Resize(PyObject** data, Py_ssize_t size) except -1
    void Py_INCREF(object o)
    void Py_DECREF(object o)


cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    static inline int sole_owner(PyObject *o) { return 0; }
    #else
    static inline int sole_owner(PyObject *o) { return Py_REFCNT(o) == 1; }
    #endif
    #if defined(__GNUC__)
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    #endif
    /* As new: a bytes object remembers its hash. */
    static inline void forget_hash(PyObject *o) { ((PyBytesObject *)o)->ob_shash = -1; }
    #if defined(__GNUC__)
    #pragma GCC diagnostic pop
    #endif
    """
    PyObject* PyList_GET_ITEM(object items, Py_ssize_t index)
    Py_ssize_t PyBytes_GET_SIZE(PyObject* data)
    bint _sole_owner "sole_owner"(PyObject* o)
    void _forget_hash "forget_hash"(PyObject* o)

cdef list _lent = []  # large messages that were handed over, oldest first; whoever else had them may be done with them
cdef Py_ssize_t _lent_size = 0


cdef int _lend(bytes data) except -1:
    """Remember a large message: when nobody else has it any more, its memory serves another one."""
    global _lent_size
    if len(data) > LENT:
        return 0
    _lent.append(data)
    _lent_size += len(data)
    while _lent_size > LENT:
        _lent_size -= len(<bytes>_lent.pop(0))
    return 0


cdef bytes _taken_back(uint64_t size):
    """A bytes object of exactly *size* that only we know, or None."""
    global _lent_size
    cdef Py_ssize_t i
    cdef bytes data
    for i in range(len(_lent)):
        if <uint64_t>PyBytes_GET_SIZE(PyList_GET_ITEM(_lent, i)) == size and _sole_owner(PyList_GET_ITEM(_lent, i)):
            data = _lent.pop(i)
            _lent_size -= size
            _forget_hash(<PyObject*>data)
            return data
    return None


cdef class MessageSink:
    """What `Messages` feeds."""

    cdef int text(self, str text) except -1:
        return 0

    cdef int binary(self, bytes data) except -1:
        return 0

    cdef int control(self, int opcode, bytes payload) except -1:
        return 0

    cdef int peer_close(self, object code, str reason) except -1:
        return 0


# Close frames without a reason that were found right, to their codes; there are no more than sendable codes.
cdef dict _bare_closes = {}


cdef class Messages(FrameSink):
    """Puts the messages of one direction of one connection together."""

    def __init__(self, MessageSink sink, Limits limits not None, Deflate deflate=None):
        self.begin_with(sink, limits, deflate)

    cdef int begin_with(self, MessageSink sink, Limits limits, Deflate deflate) except -1:
        self.sink = sink
        self.deflate = deflate
        return self.limit_to(limits)

    cdef int limit_to(self, Limits limits) except -1:
        """From now on these hold, also for what has begun."""
        self.text_limit = limits.text
        self.binary_limit = limits.binary
        self.max_fragments = limits.fragments
        self.options = limits.options
        return 0

    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        """A frame that is all here."""
        cdef bytes data
        if first & 0x08:
            data = _unmasked(payload, size, mask, masked)
            return self.whole_control(first & 15, data)
        # A whole message in one frame, not compressed: nothing to put together.
        if first == 0x81 and (self.text_limit < 0 or size <= self.text_limit):
            return self.sink.text(_text(payload, size, mask, masked))
        if first == 0x82 and (self.binary_limit < 0 or size <= self.binary_limit):
            if size < REUSED:
                return self.sink.binary(_unmasked(payload, size, mask, masked))
            return self.hand_over(_unmasked(payload, size, mask, masked))
        self.start(first, size)
        self.append(payload, size, mask, masked)
        return self.done() if self.final else 0

    cdef int begin(self, int first, uint64_t length) except -1:
        """A frame whose payload is still to come."""
        if first & 0x08:
            self.control_frame = True
            self.control_opcode = first & 15
            self.control_part = b""
            return 0
        return self.start(first, length)

    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        if self.control_frame:
            self.control_part += _unmasked(data, size, mask, masked)
            return 0
        return self.append(data, size, mask, masked)

    cdef int end(self) except -1:
        cdef bytes payload
        if self.control_frame:
            payload = self.control_part
            self.control_frame = False
            self.control_part = None
            return self.whole_control(self.control_opcode, payload)
        return self.done() if self.final else 0

    cdef uint8_t* place(self, uint64_t left, Py_ssize_t* size) except? NULL:
        """Room for the rest of a frame, at most three times what has come: a peer pays for memory in bytes."""
        cdef uint64_t most = 3 * self.size if 3 * self.size > FIRST else FIRST
        if self.compressed:
            return NULL
        size[0] = <Py_ssize_t>(left if left < most else most)
        return self.room(size[0])

    cdef int placed(self, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef uint8_t* place = <uint8_t*>PyBytes_AS_STRING(self.part) + self.size
        if masked:
            wire_xor_copy(place, place, size, mask)
        if self.opcode == 1:
            self.check_text(place, size)
        self.size += size
        return 0

    cdef int start(self, int first, uint64_t length) except -1:
        """Judge a data frame by its head, before any memory is taken."""
        cdef int opcode = first & 15
        cdef long long limit
        if opcode:
            self.opcode = opcode
            self.compressed = first & 0x40 != 0
            self.size = 0
            self.fragments = 0
            self.expected = length if first & 0xC0 == 0x80 else 0
            memset(&self.utf8, 0, sizeof(wire_utf8))
        elif first & 0x40:
            raise ProtocolError("RSV1 is set on a continuation frame (RFC 7692 §6.1)")
        self.final = first & 0x80 != 0
        self.fragments += 1
        if self.max_fragments >= 0 and self.fragments > self.max_fragments:
            raise ProtocolError(
                f"a message of more than max_fragments={self.max_fragments} frames; raise it with "
                ".max_fragments(number)", 1009)
        limit = self.limit()
        if limit >= 0 and not self.compressed and length and (
                limit < self.size or length > <uint64_t>(limit - self.size)):
            self.too_big(self.size + length)
        return 0

    cdef long long limit(self) noexcept:
        return self.text_limit if self.opcode == 1 else self.binary_limit

    cdef int too_big(self, uint64_t size) except -1:
        raise MessageTooBig(size, self.limit(), self.options[self.opcode - 1])

    cdef int append(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        cdef uint8_t* place
        if self.compressed:
            return self.append_inflated(_unmasked(data, size, mask, masked))
        if size == 0:
            return 0
        place = self.room(size)
        if masked:
            wire_xor_copy(place, data, size, mask)
        else:
            memcpy(place, data, size)
        if self.opcode == 1:
            self.check_text(place, size)
        self.size += size
        return 0

    cdef int append_inflated(self, bytes data) except -1:
        """Inflate *data*, or the message's end where it is None."""
        cdef long long limit = self.limit()
        cdef long long left = max(limit - self.size, 0) if limit >= 0 else -1
        cdef bytes out
        cdef uint8_t* place
        cdef Py_ssize_t size
        out = self.deflate.finish(left) if data is None else self.deflate.inflate(data, left)
        size = len(out)
        if size == 0:
            return 0
        if self.opcode == 1:
            # Up to the limit first: which rule is broken must not depend on how the bytes were read.
            self.check_text(<const uint8_t*>PyBytes_AS_STRING(out), size if left < 0 or size <= left else left)
        if left >= 0 and size > left:
            self.too_big(self.size + size)
        if self.size == 0 and size > 1:
            # The usual case: all of it at once. One byte would be an object the whole interpreter shares.
            self.part = out
            self.size = size
            return 0
        place = self.room(size)
        memcpy(place, PyBytes_AS_STRING(out), size)
        self.size += size
        return 0

    cdef int check_text(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t bad = wire_check_utf8(&self.utf8, data, size)
        if bad >= 0:
            raise InvalidPayload(f"a text message is not UTF-8 at byte {self.size + bad}")
        return 0

    cdef uint8_t* room(self, Py_ssize_t size) except NULL:
        """Where the next *size* bytes go; what is there grows by halves, so that copying stays linear."""
        cdef Py_ssize_t have = 0 if self.part is None else len(self.part)
        cdef Py_ssize_t want = self.size + size
        if self.size == 0 and have < want:
            # All of it where it costs no memory that is not ours already, else what has come.
            self.part = _taken_back(self.expected) if self.expected >= REUSED else None
            if self.part is None:
                self.part = PyBytes_FromStringAndSize(NULL, want)
        elif have < want:
            if want < have + (have >> 1):
                want = have + (have >> 1)
            _grow(self, want)
        return <uint8_t*>PyBytes_AS_STRING(self.part) + self.size

    cdef int done(self) except -1:
        """The message has ended: hand it over."""
        cdef int opcode = self.opcode
        cdef bytes part
        if self.compressed:
            self.append_inflated(None)
        self.opcode = 0
        if opcode == 1:
            if self.utf8.need:
                raise InvalidPayload("a text message ends within a character")
            part = self.part
            self.part = None
            if part is None:
                return self.sink.text("")
            return self.sink.text(PyUnicode_DecodeUTF8(PyBytes_AS_STRING(part), self.size, NULL))
        if self.part is None:
            return self.sink.binary(b"")
        if len(self.part) != self.size:
            _grow(self, self.size)
        part = self.part
        self.part = None
        # Only one that came in a frame of its size is what another one may be read to.
        return self.hand_over(part) if self.expected else self.sink.binary(part)

    cdef int hand_over(self, bytes data) except -1:
        """Give a binary message away; a large one's memory serves another once nobody has it any more."""
        if len(data) >= REUSED:
            _lend(data)
        return self.sink.binary(data)

    cdef int whole_control(self, int opcode, bytes payload) except -1:
        cdef int code
        if opcode != 8:
            return self.sink.control(opcode, payload)
        if len(payload) == 0:
            return self.sink.peer_close(None, "")
        if len(payload) == 2 and (bare := _bare_closes.get(payload)) is not None:
            return self.sink.peer_close(bare, "")
        if len(payload) == 1:
            raise ProtocolError("a Close frame has one byte, half a code")
        code = payload[0] << 8 | payload[1]
        if not is_sendable(code):
            raise ProtocolError(f"a Close frame has the code {code}, which nobody may send")
        try:
            reason = payload[2:].decode()
        except UnicodeDecodeError as error:
            raise InvalidPayload(f"the reason of a Close frame is not UTF-8 at byte {error.start}") from None
        if len(payload) == 2:
            _bare_closes[payload] = code
        return self.sink.peer_close(code, reason)


cdef int _grow(Messages messages, Py_ssize_t size) except -1:
    """Resize ``messages.part`` in place: nobody else has seen it yet."""
    cdef bytes part = messages.part
    cdef PyObject* moved
    messages.part = None
    Py_INCREF(part)
    moved = <PyObject*>part
    part = None  # the one reference left is *moved*'s, as _PyBytes_Resize demands
    _PyBytes_Resize(&moved, size)
    messages.part = <bytes><object>moved
    Py_DECREF(<object>moved)
    return 0


cdef inline bytes _unmasked(const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked):
    """A copy, unmasked on the way; never one of the interpreter's shared one-byte objects before it is filled."""
    cdef bytes out = _taken_back(size) if size >= REUSED else None
    if out is None:
        out = PyBytes_FromStringAndSize(NULL, size)
    if size:
        if masked:
            wire_xor_copy(<uint8_t*>PyBytes_AS_STRING(out), data, size, mask)
        else:
            memcpy(PyBytes_AS_STRING(out), data, size)
    return out


cdef inline str _text(const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked):
    """Text, unmasked straight into the str where it is ASCII: no bytes object, one pass."""
    cdef object text
    cdef uint8_t* place
    if size == 0:
        return ""
    try:
        if not masked:
            return PyUnicode_DecodeUTF8(<const char*>data, size, NULL)
        text = PyUnicode_New(size, 127)
        place = <uint8_t*>PyUnicode_DATA(text)
        if wire_xor_copy(place, data, size, mask):
            return text
        return PyUnicode_DecodeUTF8(<const char*>place, size, NULL)
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"a text message is not UTF-8 at byte {error.start}") from None
