# cython: language_level=3
"""One message in fragments (RFC 6455 §5.4), and what is sent meanwhile; knows not where the pieces come from.

No data frame may stand between the fragments of a message, so what is sent while one
is under way waits here, in order; control frames pass. Pieces that come in one turn
of the loop are joined: a piece of one byte is no frame of one byte.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from .buffer cimport buffer_release, buffer_reserve
from .deflate cimport Deflate
from .delivery cimport DRAINING
from .sending cimport OPEN, Sender
from .steps cimport Wait

import asyncio
import zlib
from collections import deque

from .done import DONE

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    JOINED = 16384    # bytes that small pieces are joined to
    BUDGET = 524288   # bytes of one turn of the loop, which other connections want as well
    PER_PIECE = 128   # of that budget: what taking a piece costs beside its bytes
    A_FLUSH = 0       # marks of what waits and is no message
    A_STREAM = -1

cdef object _DONE = DONE
cdef object _SYNC = zlib.Z_SYNC_FLUSH


cdef class _Behind(Wait):
    """The wait for the end of a message in fragments: whoever gives its pieces would wait for itself, and is told."""

    cdef Sender sender

    def __init__(self, Sender sender not None):
        Wait.__init__(self, sender.loop)
        self.sender = sender

    def __await__(self):
        cdef Stream stream = self.sender.stream
        if not self._done and stream is not None and stream.task is not None:
            if stream.task is asyncio.current_task():
                raise RuntimeError("the pieces of send_stream() cannot wait for its end: what is sent meanwhile leaves "
                                   "behind it; send without awaiting, or from another task")
        return Wait.__await__(self)


cdef class Stream:
    """One message of *sender* that is sent piece by piece.

    *text* fixes its type (True: text, False: binary); None leaves it to the first
    piece. `begin`, then `add` for each piece, then `finish`, or `end` with the error
    that prevented it; what the first three return is to be awaited before the next.
    """

    def __init__(self, Sender sender not None, text=None):
        if text is not None and not isinstance(text, bool):
            raise TypeError(f"send_stream(text={text!r}): True sends text, False binary, None what the first piece is")
        self.sender = sender
        self.opcode = 0 if text is None else 1 if text else 2
        self.held = deque()
        if sender._state != OPEN:
            sender.refuse("send_stream")
        sender.check_thread("send_stream")

    def __dealloc__(self):
        buffer_release(&self.joined)

    def begin(self):
        """Take the turn: None, or what to await where another stream is under way or much waits to be sent."""
        cdef Sender sender = self.sender
        cdef Wait wait
        if sender._state != OPEN:
            raise sender.closed_error("send_stream")
        self.task = asyncio.current_task()
        if sender.stream is None:
            if sender.backlog is not None:
                sender.backlog.commit()
            sender.stream = self
            sender.at_once = 0
            return sender.drained
        wait = _Behind(sender)
        (<Stream>sender.stream).held.append((A_STREAM, self, wait))
        return wait

    def add(self, piece):
        """Send a piece (str or bytes-like): None, or what to await before the next one."""
        cdef Sender sender = self.sender
        cdef Py_buffer view
        cdef const uint8_t* data
        cdef Py_ssize_t size
        cdef object ready = None
        cdef bint is_text = isinstance(piece, str)
        if sender._state != OPEN:
            raise sender.closed_error("send_stream")
        if self.error is not None:
            raise self.error
        if is_text:
            data = <const uint8_t*>PyUnicode_AsUTF8AndSize(piece, &size)
        else:
            try:
                PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE)
            except (TypeError, BufferError) as error:
                raise TypeError("send_stream takes pieces of str or contiguous bytes-like, "
                                f"not {type(piece).__name__}") from error
            data = <const uint8_t*>view.buf
            size = view.len
        try:
            if self.opcode == 0:
                self.opcode = 1 if is_text else 2
            elif (self.opcode == 1) != is_text:
                raise TypeError(f"send_stream: a piece of {type(piece).__name__} in a "
                                f"{'text' if self.opcode == 1 else 'binary'} message; "
                                "all pieces of a message are str, or all are bytes-like")
            self.work += PER_PIECE + size
            if self.joined.size and self.joined.size + size > JOINED:
                ready = self.emit(self.joined.data, self.joined.size, None, False)
                buffer_release(&self.joined)
            if size > JOINED:
                ready = self.emit(data, size, piece, False)
            elif size:
                memcpy(buffer_reserve(&self.joined, size), data, size)
                self.joined.size += size
        finally:
            if not is_text:
                PyBuffer_Release(&view)
        self.schedule()
        if ready is None and self.work > BUDGET:
            if self.breath is None:
                self.breath = Wait(sender.loop)
            ready = self.breath
        return ready

    def finish(self):
        """End the message: None, or what to await."""
        cdef Sender sender = self.sender
        cdef object ready
        if sender._state != OPEN:
            raise sender.closed_error("send_stream")
        if self.error is not None:
            raise self.error
        # memcpy takes no NULL, not even for 0 bytes (C11 §7.24.1), and a compiler draws conclusions from that.
        buffer_reserve(&self.joined, 1)
        if self.begun:
            ready = self.emit(self.joined.data, self.joined.size, None, True)
            sender.sent_of[self.opcode - 1] += 1
        else:
            # All of it came in one turn of the loop: a message as any other.
            ready = sender.put(self.opcode or 2, self.joined.data, self.joined.size, None)
        self.leave()
        self.pass_on()
        return None if ready is _DONE else ready

    def end(self, error):
        """Without `finish`: a message of which something has left cannot be taken back, and ends the connection."""
        cdef Sender sender = self.sender
        if self.over:
            return
        self.leave()
        if sender.stream is not self or sender._state != OPEN or sender.loop.is_closed():
            return
        if not self.begun:
            self.pass_on()
        elif isinstance(error, Exception):
            sender._fail(error)
        else:
            # Cancelled: the peer's view is the same, but it is no error of anyone.
            sender.close(1011)

    cdef int leave(self) except -1:
        """Nothing more will come."""
        self.over = True
        self.task = None
        buffer_release(&self.joined)
        return 0

    cdef object emit(self, const uint8_t* payload, Py_ssize_t size, object owner, bint final):
        """Send a fragment."""
        cdef Sender sender = self.sender
        cdef int first = 0x80 if final else 0
        cdef bytes packed
        cdef object ready
        if not self.begun:
            self.choose(payload, size)
            if sender._state != OPEN:
                # compress_if has closed the connection.
                raise sender.closed_error("send_stream")
            first |= self.opcode if self.compressor is None else self.opcode | 0x40
        self.begun = True
        if self.compressor is not None:
            if size:
                packed = self.compressor.compress(PyBytes_FromStringAndSize(<const char*>payload, size))
                packed += self.compressor.flush(_SYNC)
                if final:
                    packed = packed[:-4]
            else:
                # RFC 7692 §7.2.3.6: what is left of a flush that adds nothing.
                packed = b"\x00"
            owner = packed
            payload = <const uint8_t*>PyBytes_AS_STRING(packed)
            size = len(packed)
        sender.outbox.put_whole(first, payload, size, owner)
        ready = sender.sent()
        return None if ready is _DONE else ready

    cdef int choose(self, const uint8_t* payload, Py_ssize_t size) except -1:
        """Compress, or not: asked once, for what has come by then."""
        cdef Deflate deflate = self.sender.deflate
        if deflate is None or (deflate.compress_if is not None
                               and not deflate.compress_if(PyBytes_FromStringAndSize(<const char*>payload, size))):
            return 0
        # Not the one that connections share: others use that one between our fragments.
        self.compressor = deflate.own_compressor()
        return 0

    cdef int schedule(self) except -1:
        if not self.scheduled:
            self.scheduled = True
            self.sender.loop.call_soon(self._turn)
        return 0

    def _turn(self):
        """The loop has gone round: what small pieces have been joined to leaves."""
        cdef Wait breath = self.breath
        self.scheduled = False
        self.work = 0
        if breath is not None:
            # The source goes on at once: what it has joined to goes on growing.
            self.breath = None
            breath.resolve(None)
            self.schedule()
        else:
            self._send_joined()

    def _send_joined(self):
        if self.joined.size and not self.over and self.sender._state == OPEN:
            try:
                self.emit(self.joined.data, self.joined.size, None, False)
            except Exception as error:
                self.error = error
            buffer_release(&self.joined)

    # ---- what waits behind it ------------------------------------------------------------------------------------

    def hold(self, int opcode, data, key=None):
        """Keep a message (str or bytes) until this one has ended; resolves as its send would."""
        cdef Sender sender = self.sender
        cdef Py_ssize_t size
        cdef Py_ssize_t total
        if opcode == 1:
            PyUnicode_AsUTF8AndSize(data, &size)
        else:
            size = len(<bytes>data)
        total = sender.outbox.buffered() + self.held_bytes + size
        if 0 <= sender.max_write < total:
            sender.overflows(total)
        wait = _Behind(sender)
        self.held.append((opcode, data if key is None else (data, key), wait))
        self.held_bytes += size
        if self.held_bytes > sender.high_water and (
                sender.delivering or (sender.pending is not None and asyncio.current_task() is sender.pending)):
            sender.hold |= DRAINING
        return wait

    def flush(self):
        """What to await for what is held, or None."""
        self._send_joined()
        if not self.held:
            return None
        wait = _Behind(self.sender)
        self.held.append((A_FLUSH, None, wait))
        return wait

    def cut(self, error):
        """The connection ends: what waits behind this message is not sent."""
        cdef Wait wait
        cdef Py_ssize_t messages = 0
        held, self.held = self.held, deque()
        for what, _, _ in held:
            messages += what > 0
        if messages or self.amount:
            self.sender.never_sent(messages, self.amount)
        self.held_bytes = 0
        self.sender.stream = None
        for what, _, wait in held:
            if what == A_FLUSH:
                wait.resolve(None)
            else:
                wait.fail(error)

    @property
    def amount(self):
        """Bytes accepted and not in the outbox yet (int)."""
        return self.held_bytes + self.joined.size

    cdef int pass_on(self) except -1:
        """This message has ended: send what waited, up to the next stream."""
        cdef Sender sender = self.sender
        cdef Py_ssize_t bound = sender.max_write
        cdef Stream following
        cdef Wait wait
        cdef list sent = []
        held, self.held = self.held, None
        sender.stream = None
        sender.at_once = sender.thread if sender.backlog is None else 0
        # They have been accepted: what the stream itself has put into the outbox does not refuse them now.
        sender.max_write = -1
        try:
            while held:
                what, data, wait = held.popleft()
                if what == A_STREAM:
                    following = data
                    if following.over:
                        continue
                    following.held = held
                    following.held_bytes = self.held_bytes
                    if sender.backlog is not None:
                        sender.backlog.commit()
                    sender.stream = following
                    sender.at_once = 0
                    wait.resolve(None)
                    break
                if what == A_FLUSH:
                    sender.outbox.flush()
                elif sender._state != OPEN:
                    wait.fail(sender.closed_error("send"))
                    continue
                else:
                    try:
                        self.put_held(what, data)
                    except Exception as error:
                        # A user's compress_if; the send that it belongs to has returned.
                        wait.fail(error)
                        sender.callback_failed(error)
                        continue
                sent.append((what, wait))
        finally:
            sender.max_write = bound
        for what, wait in sent:
            if what == A_FLUSH:
                _follow(wait, sender.flush())
            else:
                _follow(wait, _DONE if sender.drained is None else sender.drained)
        if sender.hold & DRAINING and sender.drained is None:
            sender.hold &= ~DRAINING
            Sender.schedule(sender)
        return 0

    cdef int put_held(self, int opcode, object data) except -1:
        cdef Py_ssize_t size
        cdef const uint8_t* payload
        cdef object key = None
        if isinstance(data, tuple):
            data, key = data
        if opcode == 1:
            payload = <const uint8_t*>PyUnicode_AsUTF8AndSize(data, &size)
        else:
            payload = <const uint8_t*>PyBytes_AS_STRING(data)
            size = len(<bytes>data)
        self.held_bytes -= size
        if self.sender.backlog is not None:
            self.sender.backlog.add(opcode, data, key)
            return 0
        self.sender.put(opcode, payload, size, data)
        return 0


cdef int _follow(Wait wait, object other) except -1:
    """End *wait* as *other* ends."""
    if other is _DONE:
        wait.resolve(None)
    else:
        other.add_done_callback(_Follower(wait))
    return 0


cdef class _Follower:
    cdef Wait wait

    def __init__(self, Wait wait):
        self.wait = wait

    def __call__(self, other):
        error = other.exception()
        if error is None:
            self.wait.resolve(None)
        else:
            self.wait.fail(error)
