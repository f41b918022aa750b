"""Options of routes and connections: what is kept, what wins, what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from every import for_each

from firefly_ws import PerMessageDeflate, WebSocketPolicy, http_client, http_server
from firefly_ws._core.delivery import Callbacks
from firefly_ws.options import ConnectionDefaults, ConnectionOptions, check_sub_protocols
from firefly_ws.policy import POLICY_FIELDS

CALLBACKS = {
    "on_accept": "accept", "on_accept_async": "accept", "on_open": "accept", "on_message": "message",
    "on_text": "text", "on_binary": "binary", "on_frame": "frame", "on_ping": "ping", "on_pong": "pong",
    "on_close": "close", "on_error": "error",
}  # fmt: skip


GOOD: dict[str, Any] = {"max_queue": (3, 30), "over_rate": "pause", "slow_consumer": "latest"}

Make = Callable[[], ConnectionOptions]


def good(name: str) -> Any:
    """A value of this limit that is no default."""
    return GOOD.get(name, 300_000)


def a_route() -> ConnectionOptions:
    return http_server().websocket("/")


def a_client() -> ConnectionOptions:
    return http_client().websocket("ws://localhost/")


@pytest.fixture(params=[a_route, a_client])
def options(request: pytest.FixtureRequest) -> ConnectionOptions:
    made: ConnectionOptions = request.param()
    return made


# Every slot of the core's callbacks, with a value that nothing else has.
SLOTS = {name: f"the {name}" for name in (*sorted(set(CALLBACKS.values())), "converters", "route")}
SLOTS |= {"pull": True, "raw": True, "coroutines": True}


def test_a_copy_of_callbacks_has_all_of_them_but_on_accept() -> None:
    assert SLOTS.keys() == {name for name in dir(Callbacks) if name[0] != "_"} - {"with_accept"}
    callbacks = Callbacks()
    for name, value in SLOTS.items():
        setattr(callbacks, name, value)
    copied = callbacks.with_accept("another")  # type: ignore[arg-type]
    assert {name: getattr(copied, name) for name in SLOTS} == SLOTS | {"accept": "another"}
    assert callbacks.accept == SLOTS["accept"]


def nothing(*arguments: object) -> None:
    pass


@for_each("make", [a_route, a_client])
@for_each("name", CALLBACKS)
def test_a_callback_goes_to_its_slot_and_the_call_returns_the_builder(make: Make, name: str) -> None:
    options = make()
    assert getattr(options, name)(nothing) is options
    callbacks = options.current().callbacks
    for slot in set(CALLBACKS.values()):
        assert getattr(callbacks, slot) is (nothing if slot == CALLBACKS[name] else None)


@for_each("make", [a_route, a_client])
@for_each("name", CALLBACKS)
@for_each("value", [None, 5, "print", object()])
def test_a_callback_must_be_callable(make: Make, name: str, value: object) -> None:
    options = make()
    with pytest.raises(TypeError, match=rf"{name}\(.*\): a callback must be callable, not {type(value).__name__}"):
        getattr(options, name)(value)


@for_each("make", [a_route, a_client])
@for_each("first", CALLBACKS)
@for_each("second", CALLBACKS)
def test_the_same_slot_twice_raises(make: Make, first: str, second: str) -> None:
    options = make()
    getattr(options, first)(nothing)
    if CALLBACKS[first] == CALLBACKS[second]:
        with pytest.raises(ValueError, match=rf"{second}\(\) is set already, to <function nothing"):
            getattr(options, second)(print)
    else:
        getattr(options, second)(print)


@pytest.mark.parametrize("name", ["on_message", "on_text", "on_binary"])
def test_discard_and_a_message_callback_exclude_each_other(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}\(\) and discard\(\) exclude each other"):
        getattr(http_server().websocket("/").discard(), name)(nothing)
    route = http_server().websocket("/")
    getattr(route, name)(nothing)
    with pytest.raises(ValueError, match=rf"discard\(\) and {name}\(\) exclude each other"):
        route.discard()


@pytest.mark.parametrize("last", ["on_message", "on_text", "on_binary"])
def test_on_message_with_on_text_and_on_binary_would_never_be_called(options: ConnectionOptions, last: str) -> None:
    for name in {"on_message", "on_text", "on_binary"} - {last}:
        getattr(options, name)(nothing)
    with pytest.raises(ValueError, match=r"on_message\(\) and on_text\(\) and .* exclude each other"):
        getattr(options, last)(nothing)


@for_each("make", [a_route, a_client])
@for_each("name", sorted(POLICY_FIELDS))
def test_a_setter_sets_its_field(make: Make, name: str) -> None:
    if make is a_route and name in {"open_timeout", "max_header_size", "max_header_count"}:
        return  # the server's: see test_builder
    options = make()
    value = good(name)
    assert getattr(options, name)(value) is options
    policy = options.current().policy
    assert getattr(policy, name) == value
    assert policy == WebSocketPolicy().replace(**{name: value})


@for_each("make", [a_route, a_client])
@for_each("name", sorted(POLICY_FIELDS))
def test_a_refused_value_changes_nothing(make: Make, name: str) -> None:
    options = make()
    before = options.current().policy
    with pytest.raises((ValueError, TypeError), match=rf"{name}=-1 must be "):
        getattr(options, name)(-1)
    for value in ("x", True, b"1"):
        with pytest.raises((ValueError, TypeError), match=rf"{name}={value!r} must be "):
            getattr(options, name)(value)
    assert options.current().policy == before
    # Nothing of it is left for whoever looks again.
    options.policy(before)
    assert options.current().policy == before


def test_setters_and_policy_come_in_any_order(options: ConnectionOptions) -> None:
    options.max_message_size(5)
    options.policy(WebSocketPolicy(max_message_size=1, max_frame_size=2))
    options.max_fragments(7)
    policy = options.current().policy
    assert (policy.max_message_size, policy.max_frame_size, policy.max_fragments) == (5, 2, 7)


def test_the_water_marks_come_in_any_order_and_are_compared_at_the_end(options: ConnectionOptions) -> None:
    """The default low mark is above a small high one: setting them one after the other must not fail on the way."""
    options.write_high_water(10)
    options.write_low_water(5)
    policy = options.current().policy
    assert (policy.write_high_water, policy.write_low_water) == (10, 5)
    options.write_low_water(11)
    with pytest.raises(ValueError, match="write_low_water=11 is above write_high_water=10"):
        options.current()


def test_a_policy_must_be_one(options: ConnectionOptions) -> None:
    with pytest.raises(TypeError, match=r"policy=\{\} must be a WebSocketPolicy, not dict"):
        options.policy({})  # type: ignore[arg-type]


def test_settings_are_made_once_and_anew_after_a_change(options: ConnectionOptions) -> None:
    first = options.on_text(nothing).current()
    assert options.current() is first
    second = options.max_frame_size(5).current()
    assert second is not first
    assert first.policy.max_frame_size is None
    assert second.callbacks.text is nothing


# ---- defaults ------------------------------------------------------------------------------------------------------


def test_a_default_holds_until_the_route_sets_its_own() -> None:
    server = http_server()
    route = server.websocket("/")
    server.policy(WebSocketPolicy(max_message_size=1, max_frame_size=2))
    route.max_frame_size(3)
    policy = route.current().policy
    assert (policy.max_message_size, policy.max_frame_size) == (1, 3)
    route.policy(WebSocketPolicy(max_message_size=4))
    policy = route.current().policy
    assert (policy.max_message_size, policy.max_frame_size) == (4, 3)


@for_each("name", sorted(POLICY_FIELDS))
def test_each_limit_can_be_set_for_all_of_a_server_or_client(name: str) -> None:  # C1
    # There was .policy() alone, and a header limit could not be set behind http_server().
    value = good(name)
    for all_of_it, one in ((http_server(), "/"), (http_client(), "ws://localhost/")):
        options: Any = all_of_it.websocket(one)
        options.current()
        assert getattr(all_of_it, name)(value) is all_of_it
        assert options.current().policy == all_of_it.default_policy == WebSocketPolicy().replace(**{name: value})
        with pytest.raises((ValueError, TypeError), match=rf"{name}=-1 must be "):
            getattr(all_of_it, name)(-1)
        assert getattr(all_of_it.policy(WebSocketPolicy(max_fragments=9)).default_policy, name) == value


def test_the_water_marks_of_all_connections_come_in_any_order() -> None:
    client = http_client().write_high_water(10).write_low_water(5)
    assert client.websocket("ws://localhost/").current().policy.write_low_water == 5
    client.write_low_water(11)
    with pytest.raises(ValueError, match="write_low_water=11 is above write_high_water=10"):
        client.websocket("ws://localhost/").current()


def test_a_changed_default_reaches_settings_that_were_made() -> None:
    server = http_server()
    route = server.websocket("/")
    assert route.current().policy.max_message_size == 1 << 20
    server.policy(WebSocketPolicy(max_message_size=1))
    assert route.current().policy.max_message_size == 1
    server.extensions([])
    assert route.current().extensions == ()


def test_defaults_are_checked_too() -> None:
    defaults = ConnectionDefaults()
    with pytest.raises(TypeError, match="policy=5"):
        defaults.policy(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="extension 'nope' is unknown; known: permessage-deflate"):
        defaults.extensions(["nope"])
    with pytest.raises(TypeError, match="policy=5"):
        ConnectionDefaults(5)  # type: ignore[arg-type]


# ---- extensions and subprotocols -----------------------------------------------------------------------------------


def test_extensions_by_name_and_as_objects(options: ConnectionOptions) -> None:
    mine = PerMessageDeflate(level=3)
    options.extensions([mine])
    assert options.current().extensions == (mine,)
    options.extensions(iter(["permessage-deflate"]))
    extensions = options.current().extensions
    assert extensions is not None
    assert [one.name for one in extensions] == ["permessage-deflate"]
    options.extensions([])
    assert options.current().extensions == ()


@pytest.mark.parametrize("value", ["permessage-deflate", 5, None])
def test_extensions_are_a_list(options: ConnectionOptions, value: Any) -> None:
    with pytest.raises(TypeError, match=r"extensions=.* must be a list of names or objects"):
        options.extensions(value)


def test_sub_protocols_are_tokens_in_order(options: ConnectionOptions) -> None:
    assert options.sub_protocols(["b", "a.v2"]).current().sub_protocols == ("b", "a.v2")
    assert check_sub_protocols(iter(["x"])) == ("x",)


@pytest.mark.parametrize("value", ["chat", 5, None])
def test_sub_protocols_are_a_list(options: ConnectionOptions, value: Any) -> None:
    with pytest.raises(TypeError, match=r"sub_protocols=.* must be a list of names"):
        options.sub_protocols(value)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "ü", 'a"b', "a\r\n", "a/b"])
def test_a_sub_protocol_is_a_token(options: ConnectionOptions, name: str) -> None:
    with pytest.raises(ValueError, match="is no token"):
        options.sub_protocols([name])


def test_a_sub_protocol_stands_there_once_and_is_text(options: ConnectionOptions) -> None:
    with pytest.raises(ValueError, match=r"sub_protocols=\['a', 'a'\] has a name twice"):
        options.sub_protocols(["a", "a"])
    with pytest.raises(TypeError, match="5 must be a str"):
        options.sub_protocols([5])  # type: ignore[list-item]


def test_every_option_returns_the_builder() -> None:
    for name, method in inspect.getmembers(ConnectionOptions, inspect.isfunction):
        if not name.startswith("_") and name != "current":
            assert inspect.signature(method).return_annotation == "Self", name
