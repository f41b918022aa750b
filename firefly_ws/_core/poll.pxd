"""Many descriptors as one in the loop's eyes."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "epoll.h" nogil:
    ctypedef struct ready_event:
        pass

    enum:
        EPOLL_HERE
        EPOLLIN
        EPOLLOUT
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD

    int ready_create()
    int ready_control(int set, int operation, int fd, uint32_t events, uint64_t data)
    int ready_now(int set, ready_event* events, int most)
    uint32_t ready_events(const ready_event* event)
    uint64_t ready_data(const ready_event* event)
    ptrdiff_t sys_recv(int fd, void* data, size_t size)
    int sys_accept(int listening, uint8_t* host, int* port)
    int sys_shutdown_write(int fd)
    int sys_close(int fd)


cdef class Watched:
    cdef int fd                 # -1: closed
    cdef uint32_t events        # what it is watched for; 0: it is not in the set
    cdef uint32_t serial        # tells it from an earlier one with the same descriptor
    cdef object context         # the `contextvars.Context` its callbacks run in

    cdef int ready(self, uint32_t events) except -1
    cdef int finish(self) except -1
    cdef int freed(self) except -1


cdef class Poller:
    cdef readonly object loop
    cdef int set_fd             # of the epoll set; -1 while nothing is watched
    cdef Py_ssize_t count       # descriptors in the set
    cdef uint32_t serials
    cdef list watched           # by descriptor
    cdef list ended             # finish() is due for these
    cdef list starved           # freed() is due for these once a descriptor is; None: for nobody
    cdef bint within            # a batch of events is being handled
    cdef bint scheduled         # _finish is due next turn
    cdef uint8_t* buffer        # what is read, by whoever reads

    cdef int watch(self, Watched one, uint32_t events) except -1
    cdef int start(self) except -1
    cdef int batch(self) except -1
    cdef int end(self, Watched one) except -1
    cdef int finish(self) except -1
    cdef int stop(self) except -1


cdef enum:
    READ = 262144               # bytes of Poller.buffer
