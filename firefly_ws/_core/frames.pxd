"""Frames as objects."""


cdef class Frame:
    cdef readonly int opcode      # RFC 6455 §5.2
    cdef int _first               # FIN and RSV bits as on the wire
    cdef object _payload          # bytes, or None where only the text is known
    cdef object _text             # str, or None where only the payload is known

    cdef _fill(self, int opcode, object payload, bint fin, bint rsv1, bint rsv2, bint rsv3)


cdef Frame text_frame(str text)
cdef Frame binary_frame(bytes data)
cdef Frame wire_frame(int first, bytes payload)
