"""Which route takes a path."""

from __future__ import annotations

import sys
import threading
from itertools import permutations

import pytest

from firefly_ws.routes import RouteTable


def table(*paths: str) -> RouteTable[str]:
    made: RouteTable[str] = RouteTable()
    for path in paths:
        made.add(path, path)
    return made


@pytest.mark.parametrize(
    ("path", "route", "params"),
    [
        ("/", "/", {}),
        ("/chat", "/chat", {}),
        ("/chat/", None, {}),
        ("/Chat", None, {}),
        ("/c%68at", "/chat", {}),
        ("/room/x", "/room/{name}", {"name": "x"}),
        ("/room/lobby", "/room/lobby", {}),
        ("/room/", None, {}),
        ("/room/x/y", None, {}),
        ("/room/a%2Fb", "/room/{name}", {"name": "a/b"}),
        ("/room/%C3%A4+b", "/room/{name}", {"name": "ä+b"}),
        ("/user/1/post/2", "/user/:id/post/:post", {"id": "1", "post": "2"}),
        ("/files/", "/files/*", {"*": ""}),
        ("/files", None, {}),
        ("/files/a", "/files/*", {"*": "a"}),
        ("/files/a/b%20c/", "/files/*", {"*": "a/b c/"}),
        ("/files/x/info", "/files/{file}/info", {"file": "x"}),
        ("/files/x/other", "/files/*", {"*": "x/other"}),
        ("/ä", None, {}),
        ("/%C3%BC", "/ü", {}),
        ("", None, {}),
        ("*", None, {}),
        ("chat", None, {}),
    ],
)
def test_a_path_finds_its_route(path: str, route: str | None, params: dict[str, str]) -> None:
    paths = ["/", "/chat", "/room/{name}", "/room/lobby", "/user/:id/post/:post"]
    paths += ["/files/*", "/files/{file}/info", "/ü"]
    found = table(*paths).match(path)
    assert found == (None if route is None else (route, params))


def test_the_order_of_adding_does_not_matter() -> None:
    for paths in permutations(["/a/b", "/a/{x}", "/a/*", "/{y}/b", "/*"]):
        made = table(*paths)
        assert made.match("/a/b") == ("/a/b", {})
        assert made.match("/a/c") == ("/a/{x}", {"x": "c"})
        assert made.match("/a/c/d") == ("/a/*", {"*": "c/d"})
        assert made.match("/z/b") == ("/{y}/b", {"y": "z"})
        assert made.match("/z/c") == ("/*", {"*": "z/c"})


def test_parameters_of_different_names_may_share_a_beginning() -> None:
    made = table("/room/{a}/x", "/room/{b}/y")
    assert made.match("/room/1/x") == ("/room/{a}/x", {"a": "1"})
    assert made.match("/room/1/y") == ("/room/{b}/y", {"b": "1"})
    assert made.match("/room/1/z") is None


def test_an_encoded_path_is_found_where_only_exact_ones_are_registered() -> None:
    assert table("/chat room").match("/chat%20room") == ("/chat room", {})
    assert table("/a").match("/b") is None


@pytest.mark.parametrize(
    ("first", "second"), [("/a", "/a"), ("/a/{x}", "/a/:y"), ("/a/{x}", "/a/{x}"), ("/a/*", "/a/*")]
)
def test_a_path_is_registered_once(first: str, second: str) -> None:
    made = table(first)
    with pytest.raises(ValueError, match="already registered") as caught:
        made.add(second, "x")
    assert repr(second) in str(caught.value)
    assert repr(first) in str(caught.value)
    assert len(made) == 1


def test_a_removed_path_is_free_again() -> None:
    made = table("/a", "/b/{x}")
    assert made.match("/b/1") is not None
    assert made.remove("/a") == "/a"
    assert made.remove("/b/:other") == "/b/{x}"
    assert made.match("/a") is None
    assert made.match("/b/1") is None
    made.add("/b/:y", "new")
    assert made.match("/b/1") == ("new", {"y": "1"})


def test_removing_what_is_not_there_names_what_is() -> None:
    with pytest.raises(KeyError, match=r"/b.*registered: /a"):
        table("/a").remove("/b")
    with pytest.raises(KeyError, match="none"):
        table().remove("/b")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("chat", "must begin with '/'"),
        ("", "must begin with '/'"),
        ("/a?b", "no query"),
        ("/a#b", "no query and no fragment"),
        ("/*/a", "must be the last segment"),
        ("/a*", "must be text"),
        ("/{}", "must be text"),
        ("/{1}", "must be text"),
        ("/a{x}", "must be text"),
        ("/:", "must be text"),
        ("/{x}/{x}", "parameter 'x' twice"),
        ("/{x}/:x", "parameter 'x' twice"),
    ],
)
def test_a_malformed_path_is_named_with_its_fault(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        table(path)
    assert repr(path) in str(caught.value)


def test_a_path_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="path=None must be a str"):
        table().add(None, "x")  # type: ignore[arg-type]


def test_the_table_lists_its_paths_in_order() -> None:
    made = table("/b", "/a/{x}")
    assert list(made) == ["/b", "/a/{x}"]
    assert made.items() == [("/b", "/b"), ("/a/{x}", "/a/{x}")]
    assert "/b" in made
    assert "/c" not in made
    assert None not in made


def test_routes_may_come_and_go_in_another_thread_while_requests_are_matched() -> None:
    """What a plain script does: its builder is changed in the script's thread, the loop looks routes up in its own."""
    table: RouteTable[int] = RouteTable()
    for number in range(50):
        table.add(f"/always/{number}/{{name}}", number)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            table.add("/now/{and}/then", -1)
            table.remove("/now/{and}/then")

    often, thread = sys.getswitchinterval(), threading.Thread(target=change)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for number in range(1000):
            assert table.match(f"/always/{number % 50}/x") is not None
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(often)
    assert table.match("/now/x/then") is None


def test_what_is_at_a_path_is_found_by_its_spelling() -> None:
    table: RouteTable[str] = RouteTable()
    table.add("/a/{x}", "a")
    assert table.at("/a/:x") == table.at("/a/{x}") == "a"
    assert table.at("/b") is None
    with pytest.raises(ValueError, match="name its parameters the same"):
        table.at("/a/{y}")
