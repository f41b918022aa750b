"""A request's head, read as far as somebody asks."""


cdef class Asked:
    cdef bytes head            # from which the rest is read, None: given from the start
    cdef Py_ssize_t fields     # where the first field begins in it
    cdef readonly str method
    cdef readonly str target
    cdef readonly str http_version
    cdef object _headers       # None: not asked for yet
    cdef object _remote
    cdef bint later            # _remote is the transport that knows it
    cdef public bint is_secure
    cdef public object _path_params, _query, _cookies, _attributes, _body

    cdef int found(self, bytes head, Py_ssize_t fields, str target) except -1
