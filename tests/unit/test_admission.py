"""What counts as one address, and that a place taken is given back once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firefly_ws import HttpConfig, http_server
from firefly_ws.admission import Admission, address_key


def test_an_address_is_one_of_ipv4_or_64_bits_of_ipv6() -> None:
    assert address_key(("10.0.0.1", 5)) == address_key(("10.0.0.1", 6)) != address_key(("10.0.0.2", 5))
    assert address_key(("::ffff:10.0.0.1", 5, 0, 0)) == address_key(("10.0.0.1", 5))
    assert address_key(("2001:db8:0:1::1", 5, 0, 0)) == address_key(("2001:db8:0:1:ffff::2", 6, 0, 0))
    assert address_key(("2001:db8:0:1::1", 5, 0, 0)) != address_key(("2001:db8:0:2::1", 5, 0, 0))
    assert address_key(("fe80::1%lo", 5, 0, 1)) == address_key(("fe80::2", 5, 0, 1))
    for unix in ("", "/run/a.sock", b"\0abstract", None):
        assert address_key(unix) is None


async def test_a_place_is_taken_once_and_given_back_once_whatever_the_address_is_by_then() -> None:
    server: Any = None
    admission = Admission(server, asyncio.get_running_loop(), 3, 2)
    peers: dict[str, Any] = {"a": ("10.0.0.1", 1), "b": ("10.0.0.1", 2), "c": ("10.0.0.2", 3), "unix": ""}
    waiting, connections = admission.places(peers.get), admission.places(peers.get)
    for name in ("a", "a", "b"):
        waiting.add(name)
    refused = admission.refusal(("10.0.0.1", 9))
    assert refused is not None
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    assert admission.refusal(peers["c"]) is None
    assert admission.refusal(peers["unix"]) is None
    waiting.discard("a")
    connections.add("a")
    assert admission.refusal(("10.0.0.1", 9)) is not None
    connections.add("unix")
    refused = admission.refusal(peers["c"])
    assert refused is not None
    assert refused.status == 503
    peers["a"] = None  # a transport that has ended knows nothing any more
    connections.discard("a")
    connections.discard("a")
    connections.discard("nobody")
    assert admission.refusal(("10.0.0.1", 9)) is None
    waiting.discard("b")
    connections.discard("unix")
    assert admission._taken == 0
    assert admission._of_one == {}


def test_the_numbers_are_checked_when_they_are_set() -> None:
    for name in ("max_connections", "max_connections_per_address"):
        for app in (http_server(), http_server().websocket("/")):
            assert getattr(app, name)(5) is app
            assert getattr(app, name)(None) is app
            with pytest.raises(ValueError, match=f"{name}=0 must be at least 1, or None"):
                getattr(app, name)(0)
            with pytest.raises(TypeError, match=f"{name}='5' must be an int"):
                getattr(app, name)("5")
        config: dict[str, Any] = {name: 0}
        with pytest.raises(ValueError, match=f"{name}=0"):
            HttpConfig(**config)
    app = http_server(HttpConfig(max_connections=7, max_connections_per_address=3))
    assert (app.most_connections, app.most_per_address) == (7, 3)
