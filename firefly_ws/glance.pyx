# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Upgrade requests of the plain form, recognised at a glance, and the answer to one; judges no other request.

Nearly every client writes its request as §4.1 of RFC 6455 shows it: whole in one packet,
each field once, nothing unusual in it. Such a head needs no verdict but "yes", and takes
1 µs to recognise, where parsing it, making a table of it and asking for each field took 15.
Anything else is not refused here: `http.head` and `handshake` judge it, and say what is
wrong with it. A test holds that what is plain here is an upgrade there, with the same key.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcmp, memcpy

from hashlib import sha1


cdef enum:
    IN_NAME = 1      # of a field: a token, RFC 9110 §5.6.2
    IN_VALUE = 2     # RFC 9110 §5.5: VCHAR, obs-text, space and tab
    IN_TARGET = 4    # visible, and no "#"
    IN_HOST = 8      # of a name or an IPv4 address
    DIGIT = 16
    IN_KEY = 32      # base64's alphabet
    KEY = 24
    ACCEPT = 28

cdef uint8_t _kinds[256]
cdef uint8_t _alphabet[64]
cdef bytes _SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
cdef bytes _GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
cdef object _sha1 = sha1


def _fill():
    cdef int i
    cdef bytes letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    cdef bytes digits = b"0123456789"
    for i in range(256):
        _kinds[i] = 0
        if i in letters + digits + b"!#$%&'*+-.^_`|~":
            _kinds[i] |= IN_NAME
        if i == 9 or 0x20 <= i <= 0x7E or i >= 0x80:
            _kinds[i] |= IN_VALUE
        if 0x21 <= i <= 0x7E and i != 0x23:
            _kinds[i] |= IN_TARGET
        if i in letters + digits + b"-._":
            _kinds[i] |= IN_HOST
        if i in digits:
            _kinds[i] |= DIGIT
        if i in letters + digits + b"+/":
            _kinds[i] |= IN_KEY
    alphabet = letters + digits + b"+/"
    for i in range(64):
        _alphabet[i] = alphabet[i]


_fill()


cdef inline bint _is(const uint8_t* text, const char* lowered, Py_ssize_t size) noexcept nogil:
    """Whether *text* is *lowered*, in any case; of tokens alone: no other of their characters becomes a letter."""
    cdef Py_ssize_t i
    for i in range(size):
        if (text[i] | 0x20) != <uint8_t>lowered[i]:
            return False
    return True


cdef inline bint _has_upgrade(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """Whether ``keep-alive, Upgrade`` names "upgrade"."""
    cdef Py_ssize_t start, end, at = 0
    while at <= size:
        start = at
        while at < size and p[at] != 0x2C:
            at += 1
        end = at
        while start < end and (p[start] == 0x20 or p[start] == 9):
            start += 1
        while end > start and (p[end - 1] == 0x20 or p[end - 1] == 9):
            end -= 1
        if end - start == 7 and _is(p + start, b"upgrade", 7):
            return True
        at += 1
    return False


cdef inline bint _is_host(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """A name or an IPv4 address, and maybe a port; others are for the slow judge."""
    cdef Py_ssize_t at = 0, last
    cdef int port = 0
    if size > 255:
        return False
    while at < size and _kinds[p[at]] & IN_HOST:
        at += 1
    if at == 0:
        return False
    if at < size and p[at] == 0x3A:
        at += 1
        last = at + 5
        while at < size and at < last and _kinds[p[at]] & DIGIT:
            port = port * 10 + p[at] - 0x30
            at += 1
    return at == size and port <= 65535


cdef bint plain(const uint8_t* data, Py_ssize_t size, Plain* found) noexcept nogil:
    """Whether *data* begins with the whole head of a plain upgrade request; then *found* tells where things are."""
    cdef const uint8_t* p = data
    cdef const uint8_t* stop = data + size
    cdef const uint8_t* name
    cdef const uint8_t* value
    cdef const uint8_t* end
    cdef Py_ssize_t length, long_
    cdef int seen = 0, bit
    if size < 100 or memcmp(p, b"GET /", 5) != 0:
        return False
    # Behind the last line there is always its end: where `stop` is met, no head is whole.
    p += 4
    found.target = 4
    while p < stop and _kinds[p[0]] & IN_TARGET:
        p += 1
    found.target_size = p - data - 4
    if stop - p < 11 or memcmp(p, b" HTTP/1.1\r\n", 11) != 0:
        return False
    value = <const uint8_t*>memchr(data + 4, 0x3F, found.target_size)
    found.path_size = found.target_size if value is NULL else value - data - 4
    p += 11
    found.fields = p - data
    found.count = 0
    found.key = found.host = found.origin = found.offers = found.protocols = 0
    found.host_size = found.origin_size = found.offers_size = found.protocols_size = -1
    while True:
        if stop - p < 2:
            return False
        if p[0] == 0x0D:
            if p[1] != 0x0A:
                return False
            found.size = p + 2 - data
            # Host, Upgrade, Connection, Sec-WebSocket-Key and -Version.
            return seen & 31 == 31
        name = p
        while p < stop and _kinds[p[0]] & IN_NAME:
            p += 1
        length = p - name
        if p == stop or p[0] != 0x3A or length == 0:
            return False
        p += 1
        while p < stop and (p[0] == 0x20 or p[0] == 9):
            p += 1
        value = p
        while p < stop and _kinds[p[0]] & IN_VALUE:
            p += 1
        if stop - p < 2 or p[0] != 0x0D or p[1] != 0x0A:
            return False
        end = p
        p += 2
        while end > value and ((end - 1)[0] == 0x20 or (end - 1)[0] == 9):
            end -= 1
        long_ = end - value
        found.count += 1
        bit = 0
        if length == 4:
            if _is(name, b"host", 4):
                bit = 1
                if not _is_host(value, long_):
                    return False
                found.host = value - data
                found.host_size = long_
        elif length == 6:
            if _is(name, b"origin", 6):
                bit = 32
                found.origin = value - data
                found.origin_size = long_
        elif length == 7:
            if _is(name, b"upgrade", 7):
                bit = 2
                if long_ != 9 or not _is(value, b"websocket", 9):
                    return False
        elif length == 10:
            if _is(name, b"connection", 10):
                bit = 4
                if not _has_upgrade(value, long_):
                    return False
        elif length == 14:
            if _is(name, b"content-length", 14):
                return False
        elif length == 17:
            if _is(name, b"sec-websocket-key", 17):
                bit = 8
                if long_ != KEY or value[22] != 0x3D or value[23] != 0x3D:
                    return False
                found.key = value - data
                for long_ in range(22):
                    if not _kinds[value[long_]] & IN_KEY:
                        return False
            elif _is(name, b"transfer-encoding", 17):
                return False
        elif length == 21:
            if _is(name, b"sec-websocket-version", 21):
                bit = 16
                if long_ != 2 or value[0] != 0x31 or value[1] != 0x33:
                    return False
        elif length == 22:
            if _is(name, b"sec-websocket-protocol", 22):
                bit = 64
                found.protocols = value - data
                found.protocols_size = long_
        elif length == 24:
            if _is(name, b"sec-websocket-extensions", 24):
                bit = 128
                found.offers = value - data
                found.offers_size = long_
        if seen & bit:
            return False  # twice
        seen |= bit


cdef bint of_host(const uint8_t* data, const Plain* found) noexcept nogil:
    """Whether the Origin is a scheme and then Host as spelled, in any case: a page of this very site."""
    cdef const uint8_t* origin = data + found.origin
    cdef const uint8_t* host = data + found.host
    cdef Py_ssize_t scheme = found.origin_size - found.host_size, i
    cdef uint8_t one, other
    if scheme == 7:
        if not (_is(origin, b"http", 4) and memcmp(origin + 4, b"://", 3) == 0):
            return False
    elif scheme == 8:
        if not (_is(origin, b"https", 5) and memcmp(origin + 5, b"://", 3) == 0):
            return False
    else:
        return False
    for i in range(found.host_size):
        one = host[i]
        other = origin[scheme + i]
        if 0x41 <= one <= 0x5A:
            one |= 0x20
        if 0x41 <= other <= 0x5A:
            other |= 0x20
        if one != other:
            return False
    return True


cdef bytes answer_to(const uint8_t* key, bytes lines):
    """101 for a key of 24 characters (§4.2.2), with further header *lines*."""
    cdef uint8_t keyed[60]
    cdef bytes digest
    cdef bytes out
    cdef const uint8_t* d
    cdef uint8_t* p
    cdef Py_ssize_t size = len(_SWITCHING), more = len(lines)
    cdef int _
    memcpy(keyed, key, KEY)
    memcpy(keyed + KEY, PyBytes_AS_STRING(_GUID), 36)
    digest = _sha1(PyBytes_FromStringAndSize(<char*>keyed, 60), usedforsecurity=False).digest()
    d = <const uint8_t*>PyBytes_AS_STRING(digest)
    out = PyBytes_FromStringAndSize(NULL, size + ACCEPT + 4 + more)
    p = <uint8_t*>PyBytes_AS_STRING(out)
    memcpy(p, PyBytes_AS_STRING(_SWITCHING), size)
    p += size
    for _ in range(6):
        p[0] = _alphabet[d[0] >> 2]
        p[1] = _alphabet[(d[0] & 3) << 4 | d[1] >> 4]
        p[2] = _alphabet[(d[1] & 15) << 2 | d[2] >> 6]
        p[3] = _alphabet[d[2] & 63]
        p += 4
        d += 3
    p[0] = _alphabet[d[0] >> 2]
    p[1] = _alphabet[(d[0] & 3) << 4 | d[1] >> 4]
    p[2] = _alphabet[(d[1] & 15) << 2]
    p[3] = 0x3D
    p[4] = 0x0D
    p[5] = 0x0A
    memcpy(p + 6, PyBytes_AS_STRING(lines), more)
    p[6 + more] = 0x0D
    p[7 + more] = 0x0A
    return out


# ---- the same for tests


def glance(const uint8_t[::1] head not None):
    """What is found in a plain upgrade request, or None."""
    cdef Plain found
    if head.shape[0] == 0 or not plain(&head[0], head.shape[0], &found):
        return None

    def part(Py_ssize_t start, Py_ssize_t size):
        return None if size < 0 else bytes(head[start:start + size])

    return {
        "size": found.size,
        "count": found.count,
        "target": part(found.target, found.target_size),
        "path": part(found.target, found.path_size),
        "key": part(found.key, KEY),
        "host": part(found.host, found.host_size),
        "origin": part(found.origin, found.origin_size),
        "offers": part(found.offers, found.offers_size),
        "protocols": part(found.protocols, found.protocols_size),
    }


def is_of_host(bytes head not None):
    """Whether a plain upgrade request has an Origin that is its Host's."""
    cdef Plain found
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(head)
    return plain(data, len(head), &found) and found.origin_size >= 0 and of_host(data, &found)


def switching(bytes key not None, bytes lines=b""):
    """The answer to a key."""
    if len(key) != KEY:
        raise ValueError(f"key={key!r} must have 24 characters")
    return answer_to(<const uint8_t*>PyBytes_AS_STRING(key), lines)
