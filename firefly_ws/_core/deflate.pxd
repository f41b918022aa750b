"""The codecs of permessage-deflate and deflate-frame."""

from .frames cimport Frame


cdef class Deflate:
    cdef readonly int compress_bits       # log2 of our window
    cdef readonly int decompress_bits     # log2 of the peer's window
    cdef readonly bint compress_takeover
    cdef readonly bint decompress_takeover
    cdef readonly int level
    cdef readonly int mem_level
    cdef readonly Py_ssize_t threshold    # shorter payloads go uncompressed
    cdef object compress_if               # callable(payload) -> bool, or None
    cdef object _compressor               # with takeover: our own, made when first needed
    cdef object _decompressor             # with takeover: kept; without: during one message
    cdef bint packing                     # within a chain: the message being sent is compressed
    cdef bint unpacking                   # so is the one being received

    cdef bytes compress(self, object payload, Py_ssize_t size)
    cdef object own_compressor(self)
    cdef tuple parameters(self)
    cdef bytes decompress(self, object inflater, bytes data, Py_ssize_t most)
    cdef bytes inflate(self, bytes data, Py_ssize_t limit)
    cdef bytes finish(self, Py_ssize_t limit)
    cdef int ended(self) except -1
    cdef Deflate apart(self)
    cdef tuple inflate_some(self, bytes data, Py_ssize_t most)
    cdef bytes _inflate_on(self, bytes data, bytes begun, Py_ssize_t limit)
    cdef bytes pack(self, object payload)
    cdef bytes unpack(self, Frame frame, object limit, bint final)


cdef class FrameDeflate(Deflate):
    pass


cdef class Gauge:
    cdef double ratio
    cdef long long taken          # compressed bytes of the message so far
    cdef long long made           # what they have become

    cdef int begin(self) except -1
    cdef bytes decompress(self, object inflater, bytes data, Py_ssize_t most)


cdef class BoundedDeflate(Deflate):
    cdef Gauge gauge


cdef class BoundedFrameDeflate(FrameDeflate):
    cdef Gauge gauge
