"""`firefly-ws serve --workers`: begins workers, replaces those that die, renews and ends all; loads no server itself.

The listening sockets are the supervisor's and stay open for as long as it runs. Where the system shares connections
out among sockets of one port (Linux), each worker has a socket of its own, which its successor gets with all who wait
there; elsewhere, at unix sockets and at those that were handed over, all have the same one. So no connection is refused
or lost while workers come and go.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterable
from typing import Any, Final

from firefly_ws.sockets import bound, bound_unix, remove_unix, shared

from . import notify
from .arguments import failed
from .worker import ABORT, CONTROL, REPLACED, STOP, Worker

__all__ = ["ABORT", "CONTROL", "REPLACED", "STOP", "heeds", "places", "supervise"]

STABLE: Final = 5.0
"""Seconds that a worker has to serve to count as one that works."""
MOST: Final = 5
"""Workers of one place that may fail one behind the other."""
_FIRST_PAUSE = 0.2  # seconds, doubled with each failure
_SAID = "exit code 1"  # of a worker that has said itself what was wrong


def heeds(name: str) -> bool:
    """Whether a signal is there and for us: `nohup`, or a shell's background job, has some ignored."""
    return hasattr(signal, name) and signal.getsignal(signal.Signals[name]) is not signal.SIG_IGN


def places(addresses: Iterable[Any], secure: bool) -> str:
    """Where it serves, as one can write it into a browser."""
    return ", ".join(dict.fromkeys(_place(address, secure) for address in addresses))


def _place(address: Any, secure: bool) -> str:
    if not isinstance(address, tuple):
        return f"unix:{address if isinstance(address, str) else address.decode()}".replace("\0", "@")
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http{'s' if secure else ''}://{host}:{address[1]}/"


def supervise(options: argparse.Namespace, handed: list[socket.socket]) -> int:
    """Serve by ``options.workers`` processes until a signal comes; gives the exit code."""
    return asyncio.run(_supervise(options, handed))


async def _supervise(options: argparse.Namespace, handed: list[socket.socket]) -> int:
    count: int = options.workers
    remove = None
    try:
        if handed:
            sockets = [handed] * count
        elif options.path is not None:
            sockets = [[bound_unix(options.path)]] * count
            remove = remove_unix(sockets[0][0])
        else:
            loop, reuse = asyncio.get_running_loop(), options.reuse_port or None
            sockets = shared(await bound(loop, options.host_or_default, options.port_or_default, reuse), count)
    except OSError as error:
        where = options.path or f"{options.host_or_default}:{options.port_or_default}"
        return failed(f"cannot listen on {where}: {error.strerror or error}")
    try:
        return await Supervisor(options.target, _arguments(options), sockets, options.metrics_port).run()
    finally:
        for each in sockets:
            for sock in each:
                sock.close()
        if remove is not None:
            remove()


def _arguments(options: argparse.Namespace) -> list[str]:
    """What a worker is begun with, but for its sockets."""
    given = ["serve", options.target]
    for name in ("cert", "key", "grace", "spread", "metrics_host"):
        if getattr(options, name) is not None:
            given.append(f"--{name.replace('_', '-')}={getattr(options, name)}")
    return given


class _Place:
    """What one worker after the other has: its sockets, and the port of its page for Prometheus."""

    def __init__(self, number: int, sockets: list[socket.socket], metrics_port: int | None) -> None:
        self.number = number
        self.sockets = sockets
        self.arguments = [] if metrics_port is None else [f"--metrics-port={metrics_port + number - 1}"]
        self.worker: Worker | None = None
        self.lock = asyncio.Lock()  # of who begins a worker here


class Supervisor:
    """The processes of one command."""

    def __init__(
        self, target: str, arguments: list[str], sockets: list[list[socket.socket]], metrics_port: int | None = None
    ) -> None:
        self._target = target
        self._arguments = arguments
        self._places = [_Place(number, each, metrics_port) for number, each in enumerate(sockets, 1)]
        self._workers: set[Worker] = set()
        self._asked = asyncio.Event()  # to end
        self._again = asyncio.Event()  # to end at once
        self._renew = asyncio.Event()
        self._code = 0
        self._status = ""

    async def run(self) -> int:
        """All of it; gives the exit code."""
        loop = asyncio.get_running_loop()
        for name, told in {"SIGINT": self._ask, "SIGTERM": self._ask, "SIGHUP": self._renew.set}.items():
            if heeds(name):
                loop.add_signal_handler(signal.Signals[name], told)
        work = loop.create_task(self._work())
        asked = loop.create_task(self._asked.wait())
        try:
            await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._asked.set()
            notify.stopping()
            work.cancel()
            await asyncio.wait({work, asked})
            forced = await asyncio.gather(*(worker.end(STOP, self._again) for worker in list(self._workers)))
            if any(forced):
                _complain(f"{_workers(sum(forced))} did not end in time: killed")
        if not work.cancelled():
            work.result()
        return self._code

    def _ask(self) -> None:
        """A signal to end; the second one: at once."""
        (self._again if self._asked.is_set() else self._asked).set()

    async def _work(self) -> None:
        first, *others = self._places
        # Alone: what is wrong with the module is then said once, by the worker itself.
        first.worker = await self._begin(first)
        # Not awaited itself, which would cancel it where a signal comes meanwhile.
        await asyncio.wait({first.worker.ready})
        said = first.worker.ready.result()
        if said is None:
            await asyncio.wait({first.worker.ended})
            if first.worker.how != _SAID:
                _complain(f"the first worker has ended before it served: {first.worker.how}")
            self._code = 1
            return
        for place in others:
            place.worker = await self._begin(place)
        async with asyncio.TaskGroup() as tasks:
            for place in self._places:
                tasks.create_task(self._keep(place))
            tasks.create_task(self._renewing())
            for place in others:
                assert place.worker is not None
                await asyncio.wait({place.worker.ready})
            where = places([sock.getsockname() for sock in first.sockets], said["secure"])
            self._status = f"serving {self._target} on {where} with {_workers(len(self._places))}"
            _say(self._status)
            notify.ready(self._status)

    async def _begin(self, place: _Place) -> Worker:
        pause = _FIRST_PAUSE
        while True:
            try:
                worker = await Worker.begin([*self._arguments, *place.arguments], place.sockets)
                break
            except OSError as error:  # of a machine that is full just now
                what = f"worker {place.number} cannot be begun: {error.strerror or error}"
                _complain(f"{what}; trying again in {pause:g} s")
                await asyncio.sleep(pause)
                pause = min(2 * pause, STABLE)
        self._workers.add(worker)
        worker.ended.add_done_callback(lambda _: self._workers.discard(worker))
        return worker

    async def _keep(self, place: _Place) -> None:
        """Have a worker serve at a place, whatever becomes of the one before."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._asked.is_set():
            worker = place.worker
            assert worker is not None
            await asyncio.wait({worker.ended})
            async with place.lock:
                if place.worker is not worker or self._asked.is_set():
                    continue  # it has been renewed
                served = worker.ready.result() is not None and loop.time() - worker.since >= STABLE
                failures = 0 if served else failures + 1
                what = f"worker {place.number} (process {worker.pid}) has ended: {worker.how}"
                if failures >= MOST:
                    _complain(f"{what}; giving up, for it was the {MOST}th here that did not serve for {STABLE:g} s")
                    self._code = 1
                    self._asked.set()
                    return
                _complain(f"{what}; another takes its place")
                if failures > 1:
                    await asyncio.sleep(_FIRST_PAUSE * 2 ** (failures - 2))
                place.worker = await self._begin(place)

    async def _renewing(self) -> None:
        """At each SIGHUP: one place after the other gets a new worker, and only then the old one ends."""
        while True:
            await self._renew.wait()
            self._renew.clear()
            notify.reloading()
            for place in self._places:
                async with place.lock:
                    old = place.worker
                    assert old is not None
                    new = await self._begin(place)
                    await asyncio.wait({new.ready})
                    if new.ready.result() is None:
                        await asyncio.wait({new.ended})
                        what = f"the new worker {place.number} has ended before it served: {new.how}"
                        _complain(f"{what}; the old ones stay")
                        break
                    place.worker = new
                if await old.end(REPLACED, self._again):
                    _complain(f"worker {place.number} (process {old.pid}) did not end in time: killed")
            else:
                _say(f"renewed {_workers(len(self._places))}")
            notify.ready(self._status)


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _say(what: str) -> None:
    """For whoever began it: who has gone since then is no reason to end."""
    with contextlib.suppress(OSError):
        print(what, flush=True)


def _complain(what: str) -> None:
    with contextlib.suppress(OSError):
        failed(what)
