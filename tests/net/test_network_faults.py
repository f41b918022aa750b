"""The network fails in each state of a connection, at both ends of it at once: what each of them is told, and when.

A case is a state that is brought about, and the codes that both ends have then, whatever the fault is: a cut (FIN), a
reset (RST), or silence, behind which the time-out of that state ends the connection. Both ends are the library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from line import Line, line_to
from support import (
    eventually,
    nothing_leaks,  # noqa: F401
    soon,
)

from firefly_ws import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    PingTimeout,
    WebSocketConnection,
    WebSocketConnectionException,
    WriteTimeout,
    http_client,
    http_server,
)

SHORT = 0.1
AT_ONCE = 12
FAULTS = ("cut", "reset", "silence")


class End:
    """One end: what it has heard, in order."""

    def __init__(self) -> None:
        self.connection: Any = None
        self.heard: list[Any] = []
        self.errors: list[Exception] = []
        self.raised: ConnectionClosed | None = None

    def on(self, builder: Any, style: str, *, is_server: bool) -> Any:
        """Configure *builder*: callbacks, or a reader."""
        builder = builder.on_close(self.close).on_error(lambda _, error: self.errors.append(error))
        if style == "callbacks":
            return builder.on_text(lambda text, _: self.heard.append(text)).on_accept(self.accept)
        return builder.handler(self.read) if is_server else builder

    def accept(self, connection: WebSocketConnection) -> None:
        assert self.connection is None
        self.connection = connection

    def close(self, connection: WebSocketConnection, reason: Any) -> None:
        assert reason == connection.close_reason
        self.heard.append(("close", reason.code))

    async def read(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        try:
            while True:
                self.heard.append(await connection.receive())
        except ConnectionClosed as error:
            self.raised = error

    async def has_ended(self, style: str, code: int, heard: list[str], fault: str) -> None:
        """Everything that can be asked says the same."""
        reason = await soon(self.connection.wait_closed())
        assert reason.code == code
        assert (reason.message != "") == (code == 1006)
        assert await soon(self.connection.close()) == reason == self.connection.close_reason
        await eventually(lambda: ("close", code) in self.heard)
        assert self.heard == [*heard, ("close", code)]
        if style == "pull":
            await eventually(lambda: self.raised is not None)
            assert type(self.raised) is (ConnectionClosedOK if code == 1000 else ConnectionClosedError)
        with pytest.raises(ConnectionClosed):
            self.connection.send("late")
        # A peer that has ended its side may still read: what waits for it is kept until write_timeout.
        kinds = {"cut": WriteTimeout, "reset": ConnectionError, "silence": (PingTimeout, WriteTimeout)}
        assert len(self.errors) <= (code == 1006)
        assert all(isinstance(error, kinds[fault]) for error in self.errors), self.errors  # type: ignore[arg-type]


class Case:
    """Two ends and the line between them."""

    def __init__(self, contexts: Any, style: str, fault: str) -> None:
        self.server_context, self.client_context = contexts or (None, None)
        self.style, self.fault = style, fault
        self.client, self.server = End(), End()
        self.line: Line

    async def run(self, state: State) -> None:
        short = self.fault == "silence"
        open_timeout = SHORT if short and state.codes is None else 5
        if state.asked is not None and short:
            open_timeout = 1  # before it is asked, nothing may have ended
        app = http_server().open_timeout(open_timeout)
        if state.asked is not None:
            app.on_upgrade(lambda request: state.asked(self))
        if self.server_context is not None:
            app.secure(self.server_context)
        close_timeout = SHORT if short else 1
        route = self.server.on(app.websocket("/"), self.style, is_server=True).close_timeout(close_timeout)
        async with route.listen("127.0.0.1", 0) as server, line_to(server.port) as self.line:
            scheme = "ws" if self.client_context is None else "wss"
            builder = http_client().websocket(f"{scheme}://127.0.0.1:{self.line.port}/").close_timeout(close_timeout)
            if self.client_context is not None:
                builder.ssl(self.client_context)
            builder = self.client.on(builder, self.style, is_server=False)
            if state.codes is None:
                await self._fails_to_open(state, builder.open_timeout(open_timeout))
                assert self.client.heard == []
                if state.is_answered:
                    # It knows nothing of a client that has not got its answer, but by asking.
                    await eventually(lambda: self.server.connection is not None)
                    self._hurry(self.server)
                    await self.server.has_ended(self.style, 1006, [], self.fault)
                await self.line.server_has_ended()
                assert not server.connections
                assert len(self.server.heard) == state.is_answered
                return
            await self._opens(builder)
            reader = None
            if self.style == "pull":
                reader = asyncio.create_task(self.client.read(self.client.connection))
            # Each way has had a message, which is to arrive whatever happens then.
            for end, other in ((self.client, self.server), (self.server, self.client)):
                end.connection.send("whole")
                await eventually(lambda other=other: other.heard == ["whole"])
            await state.reach(self)
            await self.line.fail(self.fault)
            self._hurry(self.client)
            self._hurry(self.server)
            for end, code in ((self.client, state.codes[0]), (self.server, state.codes[1])):
                await end.has_ended(self.style, code, ["whole"], self.fault)
            if reader is not None:
                await soon(reader)

    def _hurry(self, end: End) -> None:
        """The state is reached: from here on time-outs are short."""
        if not end.connection.is_closed:
            end.connection.write_timeout = SHORT
            if self.fault == "silence":
                end.connection.ping_interval = end.connection.ping_timeout = SHORT / 2

    async def _opens(self, builder: Any) -> None:
        self.client.connection = await soon(builder.connect())
        await eventually(lambda: self.server.connection is not None)

    async def _fails_to_open(self, state: State, builder: Any) -> None:
        self.builder = builder
        await state.reach(self)
        connecting = asyncio.ensure_future(builder.connect())
        try:
            await soon(self.line.connected.wait())
            await soon(self.kept.wait())
            await self.line.fail(self.fault)
            with pytest.raises(WebSocketConnectionException) as raised:
                await soon(connecting)
        finally:
            connecting.cancel()
        assert f"://127.0.0.1:{self.line.port}/" in str(raised.value), raised.value

    builder: Any
    kept: asyncio.Event


class State(NamedTuple):
    """How it is reached; the codes of client and server, or None where there is no connection yet."""

    reach: Callable[[Case], Awaitable[None]]
    codes: tuple[int, int] | None = None
    only: str = ""
    """plain or tls."""
    is_answered: bool = False
    """The server has a connection already."""
    asked: Callable[[Case], Any] | None = None
    """on_upgrade: the request has come."""


def keeps(way: str, size: int) -> Callable[[Case], Awaitable[None]]:
    """A handshake of which *size* bytes pass one way, and no more."""

    async def reach(case: Case) -> None:
        chosen = getattr(case.line, way)
        chosen.left = size
        case.kept = chosen.held

    return reach


async def half_a_long_request(case: Case) -> None:
    """More passes than all of TLS's part, and less than the request."""
    case.builder.header("X-Long", "x" * 12_000)
    await keeps("to_server", 6_000)(case)


async def a_decision(case: Case) -> None:
    """It is asked for."""
    case.kept = asyncio.Event()


async def an_answer(case: Case) -> None:
    """It is kept back, as `answers` says."""
    case.kept = case.line.to_client.held


def undecided(case: Case) -> Awaitable[object]:
    """on_upgrade takes its time."""
    case.kept.set()
    return asyncio.Event().wait()


def answers(size: int) -> Callable[[Case], None]:
    """on_upgrade, behind which *size* bytes of the answer pass."""

    def asked(case: Case) -> None:
        case.line.to_client.left = size

    return asked


async def nothing(case: Case) -> None:
    """Open, and idle."""


def half_a_message(by: str) -> Callable[[Case], Awaitable[None]]:
    """A part of what one end sends has arrived at the other."""

    async def reach(case: Case) -> None:
        way = case.line.to_server if by == "client" else case.line.to_client
        way.left = 100
        getattr(case, by).connection.send("x" * 1000)
        await soon(way.held.wait())

    return reach


def full(by: str) -> Callable[[Case], Awaitable[None]]:
    """One end has sent more than the system takes."""

    async def reach(case: Case) -> None:
        way = case.line.to_server if by == "client" else case.line.to_client
        way.left = 1000
        connection = getattr(case, by).connection
        for _ in range(8):
            connection.send(bytes(2**20))
        await soon(way.held.wait())
        assert connection.buffered_amount > 0

    return reach


def closing(by: str, *, arrives: bool) -> Callable[[Case], Awaitable[None]]:
    """One end has sent Close, which has not arrived; or has arrived, and the answer has not."""

    async def reach(case: Case) -> None:
        way = case.line.to_server if (by == "client") is not arrives else case.line.to_client
        way.left = 1  # of a frame, or a record
        getattr(case, by).connection.close()
        await soon(way.held.wait())

    return reach


async def agreed(case: Case) -> None:
    """Both have said Close; the server has ended TCP, and the client has not heard of it."""
    case.line.to_client.passes_end = False
    case.client.connection.close()
    await soon(case.server.connection.wait_closed())
    await soon(case.line.to_client.held.wait())


STATES = {
    "connecting, and nothing is said": State(keeps("to_server", 0)),
    "half of the client's part of TLS": State(keeps("to_server", 100), only="tls"),
    "half of the server's part of TLS": State(keeps("to_client", 200), only="tls"),
    "a request, and nothing of TLS comes back": State(keeps("to_client", 0), only="tls"),
    "half a request": State(keeps("to_server", 40), only="plain"),
    "a request without an answer": State(keeps("to_client", 0), only="plain", is_answered=True),
    "half an answer": State(keeps("to_client", 40), only="plain", is_answered=True),
    "half a long request": State(half_a_long_request),
    "a request that nobody has decided on": State(a_decision, asked=undecided),
    "a request without an answer, over TLS": State(an_answer, only="tls", is_answered=True, asked=answers(0)),
    "half an answer over TLS": State(an_answer, only="tls", is_answered=True, asked=answers(10)),
    "open": State(nothing, (1006, 1006)),
    "half a message of the client's": State(half_a_message("client"), (1006, 1006)),
    "half a message of the server's": State(half_a_message("server"), (1006, 1006)),
    "more than the system takes, of the client's": State(full("client"), (1006, 1006)),
    "more than the system takes, of the server's": State(full("server"), (1006, 1006)),
    "the client's Close under way": State(closing("client", arrives=False), (1006, 1006)),
    "the server's Close under way": State(closing("server", arrives=False), (1006, 1006)),
    "the server's answer to Close under way": State(closing("client", arrives=True), (1006, 1000)),
    "the client's answer to Close under way": State(closing("server", arrives=True), (1000, 1006)),
    "both have said Close": State(agreed, (1000, 1000)),
}


@pytest.mark.parametrize("style", ["callbacks", "pull"])
@pytest.mark.parametrize("kind", ["plain", pytest.param("tls", marks=pytest.mark.slow)])
async def test_an_end_of_the_network_in_any_state_ends_as_the_contract_says(
    kind: str, style: str, contexts: Any
) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, fault: str) -> str | None:
        async with places:
            try:
                async with asyncio.timeout(20):
                    await Case(contexts if kind == "tls" else None, style, fault).run(STATES[name])
            except Exception as error:
                error.add_note(f"in the case {name!r}, {fault}")
                raise
        return None

    cases = [(name, fault) for name, state in STATES.items() for fault in FAULTS if state.only in ("", kind)]
    found = await asyncio.gather(*(one(*case) for case in cases), return_exceptions=True)
    failed = [error for error in found if isinstance(error, Exception)]
    if failed:
        raise ExceptionGroup(f"{len(failed)} of {len(cases)} cases fail", failed)


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_a_slow_line_that_splits_everything_changes_nothing_but_the_time(kind: str, contexts: Any) -> None:
    server_context, client_context = contexts if kind == "tls" else (None, None)
    app = http_server()
    if server_context is not None:
        app.secure(server_context)
    route = app.websocket("/").on_message(lambda frame, connection: connection.send(frame))
    async with route.listen("127.0.0.1", 0) as server, line_to(server.port) as line:
        for way in (line.to_server, line.to_client):
            way.delay, way.piece = 0.001, 97
        builder = http_client().websocket(f"{'ws' if client_context is None else 'wss'}://127.0.0.1:{line.port}/")
        if client_context is not None:
            builder.ssl(client_context)
        async with builder.connect() as connection:
            sent = ["", "a", "x" * 126, bytes(2000), "ü" * 300]
            for message in sent:
                connection.send(message)
            assert [await soon(connection.receive()) for _ in sent] == sent
        assert connection.close_reason.code == 1000
