# cython: language_level=3
"""`DONE`: an awaitable that has already finished, bound to no loop (Firefly's ``Result.DONE``)."""

from typing import Final

cdef object _exhausted = iter(())
next(_exhausted, None)  # from now on it stops at once, for whoever awaits, as often as it is asked


cdef class Done:
    """The type of `DONE`: finished with ``None``, reusable, awaited without suspending and without an object."""

    def __await__(self):
        return _exhausted

    def done(self):
        """Always true."""
        return True

    def cancelled(self):
        """Never: there was nothing to cancel."""
        return False

    def result(self, timeout=None):
        """``None``, at once."""
        return None

    def exception(self, timeout=None):
        """``None``: it succeeded."""
        return None

    def add_done_callback(self, callback, *, context=None):
        """Call ``callback(DONE)`` now."""
        if context is None:
            callback(self)
        else:
            context.run(callback, self)

    def remove_done_callback(self, callback):
        """Zero: none waits."""
        return 0

    def cancel(self, msg=None):
        """False: it has finished."""
        return False

    def __repr__(self):
        return "DONE"

    def __reduce__(self):
        return "DONE"


DONE: Final = Done()
