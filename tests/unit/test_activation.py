"""Sockets that a process was begun with: which they are, by the variables of sd_listen_fds(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from firefly_ws import activation, http_server, inherited_sockets
from firefly_ws.sockets import adopt, is_inherited


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The first of two descriptors of listening sockets in a row, as if they had been there from the beginning."""
    first, second = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    base = max(first.fileno(), second.fileno()) + 100
    fds = [os.dup2(sock.fileno(), base + number) for number, sock in enumerate((first, second))]
    first.close()
    second.close()
    monkeypatch.setattr(activation, "_FIRST", base)
    monkeypatch.setenv("LISTEN_PID", f"{os.getpid()}")
    monkeypatch.setenv("LISTEN_FDS", "2")
    yield base
    for fd in fds:
        with contextlib.suppress(OSError):  # its server has closed it
            adopt(fd).close()


def test_they_are_taken_once_in_order_and_not_handed_on(handed: int) -> None:
    sockets = inherited_sockets()
    assert [sock.fileno() for sock in sockets] == [handed, handed + 1]
    assert all(sock.family == socket.AF_INET and not sock.get_inheritable() for sock in sockets)
    assert all(one is other for one, other in zip(sockets, inherited_sockets(), strict=True))
    assert is_inherited(sockets[0])
    with socket.socket() as other:
        assert not is_inherited(other)


def test_one_may_be_asked_for_by_its_name(handed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDNAMES", "http:admin")
    assert [sock.fileno() for sock in inherited_sockets("admin")] == [handed + 1]
    assert inherited_sockets("other") == []


def test_nothing_is_there_where_the_variables_are_anothers_or_none(
    handed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"LISTEN_PID": "1", "LISTEN_FDS": None}.items():
        with monkeypatch.context() as changed:
            changed.delenv(variable) if value is None else changed.setenv(variable, value)
            assert inherited_sockets() == [], variable
    with pytest.raises(ValueError, match=r"sock=\[\] has no socket; was none handed over"):
        http_server().listen(sock=[])


def test_variables_that_are_malformed_are_named(handed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "two")
    with pytest.raises(ValueError, match=r"LISTEN_FDS='two' must be a number"):
        inherited_sockets()
    monkeypatch.setenv("LISTEN_FDS", "3")
    with pytest.raises(ValueError, match=f"LISTEN_FDS=3: descriptor {handed + 2} is no socket: Bad file descriptor"):
        inherited_sockets()
    monkeypatch.setenv("LISTEN_FDS", "2")


async def test_a_server_listens_on_all_of_them_and_leaves_who_waits_to_the_others(handed: int) -> None:
    sockets = inherited_sockets()
    kept = [sock.dup() for sock in sockets]
    server = await http_server().listen(sock=sockets)
    assert server.addresses == tuple(sock.getsockname() for sock in kept)
    with socket.create_connection(kept[0].getsockname()):
        await server.close()  # and has not looked at its sockets since
        kept[0].accept()[0].close()
    assert server.stats()["opened"] == 0
    for sock in kept:
        sock.close()
