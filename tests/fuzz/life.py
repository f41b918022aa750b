"""A connection's life as a state machine: any order of what its user, its peer, its transport and time may do.

Knows the transport of `fakes` and the promises of docs/guide.md; what is promised at every moment is an invariant,
what is promised of the end is asked there. Nothing waits: the loop goes round when a rule says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from asyncio import events
from collections.abc import Callable
from typing import Any

from fakes import Peer, turns
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from judge import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload, judge

from firefly_ws import ConnectionClosed, ConnectionState, QueueOverflow
from firefly_ws._core import probe
from firefly_ws._core.connection import Connection
from firefly_ws._core.deflate import Deflate
from firefly_ws.receiving import Receiving

__all__ = ["Life"]

KINDS = ["plain callbacks", "async callbacks", "receive()", "raising callbacks"]
LIMITS = {
    "close_timeout": 10.0, "write_timeout": 30.0, "max_queue": (3, 500), "write_high_water": 200, "write_low_water": 50,
    "max_write_buffer": 2000,
}  # fmt: skip


class Life(RuleBasedStateMachine):
    """One connection, from its opening to its end."""

    connection_class: type[Connection] = Connection

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.unheard: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.unheard.append(context))
        self.log: list[tuple[Any, ...]] = []
        self.peer_sent: list[Any] = []  # whole messages, in order
        self.delivered: list[Any] = []
        self.accepted: list[Any] = []  # by send, in order
        self.flushed = 0  # of these, what a flush() that ended well has vouched for
        self.unread = b""  # on its way to the connection
        self.gates: list[asyncio.Future[None]] = []
        self.waits: list[asyncio.Task[Any]] = []
        self.states = [ConnectionState.CONNECTING]
        self.numbers = 0
        self.in_message = False
        self.peer_ended = False  # it has sent Close, or broken a rule: nothing of sense follows
        self.readers: list[asyncio.Task[Any]] = []
        self.quiet = 0  # steps before anything ends it: a life that is short shows little

    @initialize(
        kind=st.sampled_from(KINDS),
        is_client=st.booleans(),
        deflate=st.booleans(),
        keepalive=st.booleans(),
        quiet=st.sampled_from([0, 8, 20]),
    )
    def begin(self, kind: str, is_client: bool, deflate: bool, keepalive: bool, quiet: int) -> None:
        self.kind = kind
        self.quiet = quiet
        self.deflated = deflate
        limits = LIMITS | ({"ping_interval": 20.0, "ping_timeout": 5.0} if keepalive else {})
        how: dict[str, Any] = {"pull": True} if kind == "receive()" else {"text": self.hears, "binary": self.hears}

        def begins() -> None:
            self.peer = Peer(
                kind=Receiving if kind == "receive()" else self.connection_class,
                is_client=is_client,
                deflate=Deflate(compress_takeover=True, threshold=1) if deflate else None,
                limits=limits,
                error=lambda connection, error: self.log.append(("error", error)),
                close=lambda connection, reason: self.log.append(("close", reason)),
                **how,
            )

        self.now(begins)
        self.connection = self.peer.connection
        self.transport = self.peer.transport

    # --- the world

    def may_end(self) -> bool:
        return len(self.states) > self.quiet

    def now(self, act: Callable[[], Any]) -> Any:
        """Within the loop, in no task, as what a transport calls."""
        events._set_running_loop(self.loop)
        try:
            return act()
        finally:
            events._set_running_loop(None)

    def go_round(self, count: int) -> None:
        self.loop.run_until_complete(turns(count))

    def later(self, awaitable: Any, then: Callable[[], None] = lambda: None) -> None:
        """Await it in a task, as a user does; only the end of the connection may raise there."""

        async def wait() -> None:
            with contextlib.suppress(ConnectionClosed, QueueOverflow):
                await awaitable
                then()

        coroutine = wait()
        self.waits.append(self.now(lambda: self.loop.create_task(coroutine)))

    def hears(self, message: Any, connection: Any) -> Any:
        self.log.append(("message", message))
        self.delivered.append(message)
        if self.kind == "raising callbacks" and len(self.delivered) == 3:
            raise ZeroDivisionError
        if self.kind == "async callbacks":
            return self.takes_its_time()
        return None

    async def takes_its_time(self) -> None:
        gate = self.loop.create_future()
        self.gates.append(gate)
        await gate
        self.log.append(("answered",))

    def deliver(self, size: int) -> None:
        """A read of the transport: nothing while reading is paused."""
        if self.transport.reading and not self.transport.ended and not self.transport.lost and self.unread:
            data, self.unread = self.unread[:size], self.unread[size:]
            self.now(lambda: self.peer.feed(data))

    def number(self, kind: str, filling: int) -> Any:
        self.numbers += 1
        text = f"{self.numbers}{'.' * filling}"
        return text if kind == "text" else text.encode()

    # --- the peer

    @precondition(lambda self: not self.peer_ended and not self.in_message)
    @rule(kind=st.sampled_from(["text", "binary"]), filling=st.sampled_from([0, 10, 150]), pieces=st.integers(1, 3))
    def peer_sends(self, kind: str, filling: int, pieces: int) -> None:
        message = self.number(kind, filling)
        data = message.encode() if isinstance(message, str) else message
        size = -(-len(data) // pieces)
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        for index, part in enumerate(parts):
            opcode = CONT if index else TEXT if kind == "text" else BINARY
            self.unread += self.peer.frame(opcode, part, fin=index == len(parts) - 1)
        self.peer_sent.append(message)

    @precondition(lambda self: not self.peer_ended)
    @rule(opcode=st.sampled_from([PING, PONG]), payload=st.sampled_from([b"", b"beat"]))
    def peer_beats(self, opcode: int, payload: bytes) -> None:
        self.unread += self.peer.frame(opcode, payload)

    @precondition(lambda self: not self.peer_ended and not self.in_message)
    @rule()
    def peer_begins_a_message_that_it_never_ends(self) -> None:
        self.unread += self.peer.frame(TEXT, b"half", fin=False)
        self.in_message = True

    @precondition(lambda self: self.may_end() and not self.peer_ended)
    @rule(code=st.sampled_from([1000, 1001, 3000]))
    def peer_closes(self, code: int) -> None:
        self.unread += self.peer.frame(CLOSE, close_payload(code))
        self.peer_ended = True

    @precondition(lambda self: self.may_end() and not self.peer_ended)
    @rule(data=st.sampled_from([b"\x83\x00", b"\xff\xff\xff\xff", b"\x89\x7e"]))
    def peer_breaks_a_rule(self, data: bytes) -> None:
        self.unread += data
        self.peer_ended = True

    # --- the transport

    @rule(size=st.sampled_from([1, 3, 7, 50, 10_000]))
    def bytes_arrive(self, size: int) -> None:
        self.deliver(size)

    @rule(kind=st.sampled_from(["text", "binary"]), filling=st.sampled_from([0, 60, 300]))
    def the_peer_stops_reading_and_is_sent_to(self, kind: str, filling: int) -> None:
        if not self.transport.lost:
            self.transport.stuck = True
        self.user_sends(kind, filling, False)

    @rule(count=st.sampled_from([1, 100, None]))
    def the_peer_reads(self, count: int | None) -> None:
        if not self.transport.lost:
            self.now(lambda: self.transport.take(count))

    @precondition(lambda self: self.may_end())
    @rule()
    def the_peers_side_ends(self) -> None:
        if self.transport.reading and not self.transport.ended and not self.transport.lost:
            self.deliver(100_000)
            self.peer_ended = True
            if self.transport.reading and not self.transport.ended and not self.unread:
                # As plain TCP has it: the other direction stays open until we close it.
                self.now(self.peer.protocol.eof_received)

    @precondition(lambda self: self.may_end())
    @rule(error=st.sampled_from([None, ConnectionResetError("reset by peer")]))
    def the_transport_is_lost(self, error: Exception | None) -> None:
        if not self.transport.lost:
            self.now(lambda: self.peer.lose(error))

    @rule(count=st.integers(1, 4))
    def the_loop_goes_round(self, count: int) -> None:
        self.go_round(count)

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        probe.pass_time(seconds)
        self.now(lambda: probe.turn(probe.wheel_of(self.loop)))

    # --- the user

    @rule(kind=st.sampled_from(["text", "binary"]), filling=st.sampled_from([0, 60, 300, 3000]), wait=st.booleans())
    def user_sends_something(self, kind: str, filling: int, wait: bool) -> None:
        self.user_sends(kind, filling, wait)

    def user_sends(self, kind: str, filling: int, wait: bool) -> None:
        message = self.number(kind, filling)
        try:
            sent = self.now(lambda: self.connection.send(message))
        except ConnectionClosed:
            assert not self.connection.is_open
            return
        except QueueOverflow:
            assert self.connection.buffered_amount + len(message) > 1000
            return
        self.accepted.append(message)
        if wait:
            self.later(sent)

    @rule(rounds=st.integers(0, 2))
    def user_flushes(self, rounds: int) -> None:
        count = len(self.accepted)

        def vouched() -> None:
            # It never raises: behind the end of TCP it says no more than that nothing waits.
            if not self.transport.lost and self.transport.ended != "abort":
                self.flushed = max(self.flushed, count)

        try:
            flushed = self.now(self.connection.flush)
        except ConnectionClosed:
            return
        self.later(flushed, vouched)
        if rounds:
            self.go_round(rounds)

    @rule()
    def user_pings(self) -> None:
        try:
            self.later(self.now(self.connection.ping))
        except ConnectionClosed:
            assert not self.connection.is_open
        except QueueOverflow:
            pass

    @precondition(lambda self: self.may_end())
    @rule(code=st.sampled_from([1000, 1011, 4000]))
    def user_closes(self, code: int) -> None:
        self.later(self.now(lambda: self.connection.close(code, "user")))

    @rule()
    def user_waits_for_the_end(self) -> None:
        self.later(self.now(self.connection.wait_closed))

    @precondition(lambda self: self.may_end())
    @rule()
    def user_terminates(self) -> None:
        self.now(self.connection.terminate)

    @precondition(lambda self: self.may_end())
    @rule()
    def user_drops(self) -> None:
        self.now(lambda: self.connection.drop(1001, "away"))

    @rule(pause=st.booleans())
    def user_pauses_or_resumes_reading(self, pause: bool) -> None:
        with contextlib.suppress(ConnectionClosed):
            self.now(self.connection.pause_reading if pause else self.connection.resume_reading)

    @precondition(lambda self: self.gates)
    @rule()
    def a_callback_ends(self) -> None:
        gate = self.gates.pop(0)
        if not gate.done():
            self.now(lambda: gate.set_result(None))

    @precondition(lambda self: self.waits)
    @rule(which=st.integers(0, 1000))
    def user_cancels_what_it_awaits(self, which: int) -> None:
        task = self.waits[which % len(self.waits)]
        self.now(task.cancel)

    @precondition(lambda self: self.kind == "receive()" and all(one.done() for one in self.readers))
    @rule()
    def user_receives(self) -> None:
        async def receive() -> None:
            try:
                message = await self.connection.receive()
            except ConnectionClosed:
                self.log.append(("end of receiving",))
                return
            self.delivered.append(message)

        self.readers.append(self.now(lambda: self.loop.create_task(receive())))

    @precondition(lambda self: self.readers)
    @rule()
    def user_cancels_its_receive(self) -> None:
        self.now(self.readers[-1].cancel)

    # --- what holds at every moment

    def sent(self) -> list[Any]:
        """What has left so far, as the judge reads it."""
        wire = b"".join(self.transport.writes)
        role = "server" if self.peer.is_client else "client"
        return judge(wire, role, deflate=self.deflated, takeover=True, max_message_size=None)

    @invariant()
    def order_is_kept_and_nothing_is_made_up(self) -> None:
        if not hasattr(self, "peer"):
            return
        assert self.delivered == self.peer_sent[: len(self.delivered)]
        out = self.sent()
        assert not [event for event in out if event[0] == "error"]
        messages = [event[1] for event in out if event[0] in ("text", "binary")]
        assert messages == self.accepted[: len(messages)]
        assert len(messages) >= self.flushed, "flush() vouched for what has not left"

    @invariant()
    def states_only_go_forward(self) -> None:
        if not hasattr(self, "peer"):
            return
        state = self.connection.state
        assert state >= self.states[-1], (self.states, state)
        self.states.append(state)
        assert self.connection.is_open == (state is ConnectionState.OPEN)

    @invariant()
    def on_close_is_once_and_last(self) -> None:
        heard = [entry[0] for entry in self.log if entry[0] not in ("answered", "end of receiving")]
        assert heard.count("close") <= 1
        assert "close" not in heard[:-1], heard
        assert heard.count("error") <= 1
        if "close" in heard:
            assert self.connection.is_closed
            assert not [gate for gate in self.gates if not gate.done()], "on_close before a message callback has ended"

    @invariant()
    def buffered_amount_is_honest(self) -> None:
        if not hasattr(self, "peer"):
            return
        amount = self.connection.buffered_amount
        assert amount >= 0
        if not self.transport.lost and not self.transport.ended:
            assert amount >= len(self.transport.waiting)
            assert amount <= 2 * LIMITS["max_write_buffer"]

    # --- the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "peer"):
                self.ends()
        finally:
            pending = asyncio.all_tasks(self.loop)
            for task in pending:
                task.cancel()
            self.go_round(3)
            self.loop.close()

    def ends(self) -> None:
        if not self.transport.lost:
            self.now(self.transport.take)
        self.go_round(2)
        if not self.transport.lost and not self.transport.ended:
            assert self.connection.buffered_amount == 0 or not self.connection.is_open, self.connection.buffered_amount
            if self.connection.is_open:
                self.all_arrives()
        if not self.transport.lost:
            self.now(self.connection.terminate)
        # Behind the end a pause holds messages back for close_timeout, by the loop's clock, which no step turns.
        self.now(self.connection.resume_reading)
        self.go_round(3)
        for _ in range(100):
            if not self.gates:
                break
            self.a_callback_ends()
            self.go_round(2)
        self.go_round(5)
        assert self.connection.state is ConnectionState.CLOSED
        assert self.connection.close_reason is not None
        assert [entry[0] for entry in self.log].count("close") == 1
        self.on_close_is_once_and_last()
        self.order_is_kept_and_nothing_is_made_up()
        if self.kind == "receive()":
            # What had arrived is received, then the end is told, as often as one asks.
            for _ in range(len(self.peer_sent) + 2):
                self.loop.run_until_complete(asyncio.wait_for(self.received(), 5))
            assert self.log[-1] == ("end of receiving",)
        self.order_is_kept_and_nothing_is_made_up()
        assert not [task for task in self.waits if not task.done()], "something is awaited for ever"
        assert asyncio.all_tasks(self.loop) == set()
        for task in self.waits:
            assert task.cancelled() or task.exception() is None, task.exception()
        gc.collect(0)
        self.go_round(1)
        assert not self.unheard, self.unheard

    def all_arrives(self) -> None:
        """Nobody ends it, and everybody reads: what was sent either way is heard."""
        self.now(self.connection.resume_reading)
        for _ in range(400):
            if not self.connection.is_open or (not self.unread and self.delivered == self.peer_sent):
                break
            self.deliver(100_000)
            if self.gates:
                self.a_callback_ends()
            if self.kind == "receive()" and all(one.done() for one in self.readers):
                self.user_receives()
            self.go_round(2)
        if self.connection.is_open:
            assert not self.unread, "nothing pauses reading, and nothing is read"
            assert self.delivered == self.peer_sent, "not all that an open connection was sent has been heard"
            sent = [event[1] for event in self.sent() if event[0] in ("text", "binary")]
            assert sent == self.accepted, "not all that an open connection has accepted was sent"

    async def received(self) -> None:
        for task in self.readers:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.readers.clear()
        try:
            self.delivered.append(await self.connection.receive())
        except ConnectionClosed:
            self.log.append(("end of receiving",))
