"""A command's life on the loop: from its main function to its exit code, signals included; knows no command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

from firefly_ws.runtime import new_event_loop

__all__ = ["run_to_exit"]

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


def run_to_exit(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run *main* on uvloop; gives its exit code, or 128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM.

    The first signal cancels *main*, which then says goodbye to its peer; a second one ends it where it stands. Unlike
    `firefly_ws.run`, which closes what is open by itself, this leaves it to the command what to say last.
    """
    came: list[int] = []
    before: dict[signal.Signals, Any] = {}
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        loop = runner.get_loop()
        living = loop.create_task(main())

        def end(number: int) -> None:
            if came:
                loop.stop()
            came.append(number)
            living.cancel()

        for number in _ENDING:
            try:
                handler = signal.getsignal(number)
                # A shell's background job ignores SIGINT, and so do we.
                if handler is not signal.SIG_IGN:
                    loop.add_signal_handler(number, end, number)
                    before[number] = handler
            except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt
                break
        try:
            return loop.run_until_complete(living)
        except asyncio.CancelledError:
            if not came:
                raise
        except KeyboardInterrupt:
            came.append(signal.SIGINT)
        except RuntimeError:  # the loop was stopped
            if len(came) < 2:
                raise
        finally:
            for number, handler in before.items():  # uvloop leaves its handler of SIGTERM behind
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
    return 128 + came[0]
