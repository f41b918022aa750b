"""Running what callbacks return, and things to await."""


cdef class Wait:
    cdef object _loop
    cdef object _result
    cdef object _error        # the exception it ended with
    cdef bint _done
    cdef list _waiting        # futures and callbacks to tell

    cdef resolve(self, object result)
    cdef fail(self, object error)
    cdef _tell(self)


cdef class Steps:
    cdef readonly object loop
    cdef object context           # what the callbacks' own contexts are copied from
    cdef object task_context      # of the task kept ready
    cdef object pristine          # a copy of it, to see whether a callback changed a variable
    cdef object task              # a task kept ready, or None
    cdef Step step                # what that task runs
    cdef bint staying             # a batch of messages for an `async def` is being delivered
    cdef bint inside              # the task kept ready is the current one, for the next message of that batch

    cdef object start(self, object result)
    cdef object drive(self, object coroutine)
    cdef int leave(self) except -1
    cdef make(self)
    cdef bint keep(self, object task, Step step, object context) except -1


cdef class Step:
    cdef object loop
    cdef object coroutine
    cdef object yielded       # what its first step waits for
    cdef bint has_yielded
    cdef bint blocking        # which is a future, and said that it is being awaited
    cdef bint over            # the task is to end
    cdef object wake          # what the idle task waits for
    cdef object name          # the task's own, to see whether a callback gave it another

    cdef hand_over(self)
