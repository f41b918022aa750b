# cython: language_level=3, boundscheck=False, wraparound=False
"""Frames as they came, for a raw session: in the place of `Messages`, and it puts nothing together.

Knows neither fragments nor UTF-8, and answers nothing; heads are judged by the parser.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from .delivery cimport ENDED, PER_MESSAGE, Delivery, payload_copy
from .frames cimport Frame, wire_frame
from .inbox cimport Inbox
from .parser cimport FrameSink


cdef class RawFrames(FrameSink):
    """Gives every frame to the reader or to the callback, once all of it has come."""

    def __init__(self, Delivery delivery not None, RawInbox inbox):
        self.delivery = delivery
        self.inbox = inbox

    cdef int frame(self, int first, const uint8_t* payload, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        return self.whole(first, payload_copy(payload, size, mask, masked))

    cdef int begin(self, int first, uint64_t length) except -1:
        self.first = first
        self.parts = []
        return 0

    cdef int chunk(self, const uint8_t* data, Py_ssize_t size, uint32_t mask, bint masked) except -1:
        self.parts.append(payload_copy(data, size, mask, masked))
        return 0

    cdef int end(self) except -1:
        cdef list parts = self.parts
        self.parts = None
        return self.whole(self.first, b"".join(parts))

    cdef int whole(self, int first, bytes payload) except -1:
        cdef Delivery delivery = self.delivery
        cdef Frame frame = wire_frame(first, payload)
        cdef int opcode = first & 15
        cdef int more
        if 0 < opcode < 8:
            self.opcode = opcode
        if opcode < 8 and first & 0x80 and not delivery.hold & ENDED:
            delivery.received_of[self.opcode == 2] += 1
        if opcode == 8 and self.inbox is not None:
            # Also behind our own Close: it is what the reader waits for then.
            more = self.inbox.keep(frame, len(payload))
        elif self.inbox is not None:
            more = self.inbox.put(frame, len(payload))
        elif opcode == 8:
            # The same for a callback; behind the frames that wait for it, in order.
            delivery.work -= PER_MESSAGE + len(payload)
            more = delivery.keep(frame, len(payload))
        else:
            delivery.work -= PER_MESSAGE + len(payload)
            more = delivery.enqueue(frame, len(payload)) if delivery.hold else delivery.deliver(frame, False)
        if opcode == 10:
            # No answer: it ends the wait of a ping().
            delivery.control(opcode, payload)
        elif opcode == 8:
            reason = frame.reason
            return delivery.peer_close(None if reason is None else reason.code,
                                       "" if reason is None else reason.message)
        return more


cdef class RawInbox(Inbox):
    """Frames to a reader."""

    def __init__(self, Delivery delivery not None):
        Inbox.__init__(self, delivery)
        # The peer's Close is among the frames, and is not made up again at the end.
        self.close_shown = True

    def is_empty(self, str doing):
        """See `Inbox`; messages are not to be had here."""
        if doing not in ("receive_frame()", "incoming"):
            raise RuntimeError(f"{doing}: a raw session has frames, not messages; use receive_frame() or incoming")
        return Inbox.is_empty(self, doing)

    def no_stream(self, str doing):
        """See `Inbox`."""
        return self.is_empty(doing)
