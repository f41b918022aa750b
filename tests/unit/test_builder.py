"""The fluent face: chains, defaults, and bad values refused at once by the call that got them."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from every import for_each

import firefly_ws
from firefly_ws import (
    HttpConfig,
    HttpServer,
    WebSocketClient,
    WebSocketPolicy,
    WebSocketRoute,
    http_client,
    http_server,
    websocket,
    ws,
    wss,
)


def route() -> WebSocketRoute:
    return http_server().websocket("/")


def client() -> WebSocketClient:
    return http_client().websocket("ws://localhost/")


# What was called, which error it raises, and what its text says: the parameter, the value, what is allowed.
REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("a config", lambda: http_server(5), TypeError, "config=5 must be an HttpConfig, not int"),  # type: ignore[arg-type]
    ("a client's config", lambda: http_client({}), TypeError, "config={} must be an HttpConfig"),  # type: ignore[arg-type]
    ("a policy", lambda: HttpConfig(policy=1), TypeError, "policy=1 must be a WebSocketPolicy"),  # type: ignore[arg-type]
    ("a context", lambda: HttpConfig(ssl=1), TypeError, "ssl=1 must be an ssl.SSLContext"),  # type: ignore[arg-type]
    ("extensions", lambda: HttpConfig(extensions="x"), TypeError, "extensions='x' must be a list"),  # type: ignore[arg-type]
    ("an extension", lambda: HttpConfig(extensions=("x",)), ValueError, "extension 'x' is unknown; known: perm"),
    ("a time", lambda: HttpConfig(open_timeout=-1), ValueError, "open_timeout=-1 must be more than 0 seconds"),
    ("a size", lambda: HttpConfig(max_header_size=-1), ValueError, "max_header_size=-1 must be at least 0 bytes"),
    ("a count", lambda: HttpConfig(max_header_count=0), ValueError, "max_header_count=0 must be at least 1"),
    ("a URL", lambda: websocket(17), TypeError, "url=17 must be a str"),  # type: ignore[arg-type]
    ("no URL", lambda: wss(None), TypeError, "url=None must be a str"),  # type: ignore[arg-type]
    ("a scheme", lambda: websocket("http://h/"), ValueError, "url 'http://h/' must begin with ws:// or wss://"),
    ("a fragment", lambda: websocket("ws://h/#x"), ValueError, "must not have a #fragment"),
    ("no host", lambda: websocket("ws:///"), ValueError, "url 'ws:///' has no host"),
    ("an empty host", lambda: websocket(""), ValueError, "'' is no host name"),
    ("a port in text", lambda: ws("h", "80", "/"), TypeError, "port='80' must be an int"),  # type: ignore[arg-type]
    ("a port that is true", lambda: ws("h", True, "/"), TypeError, "port=True must be an int"),
    ("a port above", lambda: ws("h", 65536, "/"), ValueError, "port=65536 must be 1 to 65535"),
    ("a port below", lambda: ws("h", 0, "/"), ValueError, "port=0 must be 1 to 65535"),
    ("a path", lambda: ws("h", 80, "x"), ValueError, "path='x' must start with '/'"),
    ("a path that is none", lambda: ws("h", 80, 5), TypeError, "path=5 must be a str"),  # type: ignore[arg-type]
    ("a host with a path", lambda: ws("h/x", 80), ValueError, "'h/x' is no host name"),
    ("a host with a blank", lambda: ws("h x", 80), ValueError, "'h x' is no valid host name"),
    ("a URL and a port", lambda: ws("ws://h/", 80), ValueError, "'ws://h/' is no host name"),
    ("wss of ws", lambda: wss("ws://h/"), ValueError, "the URL's scheme must be wss"),
    ("a route without /", lambda: http_server().websocket("x"), ValueError, "path 'x' must begin with '/'"),
    ("a route that is none", lambda: http_server().websocket(5), TypeError, "path=5 must be a str"),  # type: ignore[arg-type]
    ("a route twice", lambda: route().websocket("/"), ValueError, "path '/' is already registered"),
    ("no such route", lambda: http_server().unregister("/x"), KeyError, "path '/x' is not registered"),
    ("on_upgrade", lambda: route().on_upgrade(5), TypeError, "on_upgrade(5): a callback must be callable"),  # type: ignore[arg-type]
    ("on_upgrade twice", lambda: route().on_upgrade(print).on_upgrade(max), ValueError, "on_upgrade() is set already"),
    ("the choice", lambda: route().on_sub_protocol_select(5), TypeError, "on_sub_protocol_select(5)"),  # type: ignore[arg-type]
    (
        "the choice twice",
        lambda: route().on_sub_protocol_select(min).on_sub_protocol_select(max),  # type: ignore[arg-type]
        ValueError,
        "on_sub_protocol_select() is set already",
    ),
    ("no origin", lambda: route().origins(), ValueError, "origins() needs at least one origin"),
    ("an origin", lambda: http_server().origins(5), TypeError, "origins: 5 must be a str"),  # type: ignore[arg-type]
    ("an origin's scheme", lambda: route().origins("h"), ValueError, "origins: 'h' has no scheme"),
    ("an origin's slash", lambda: route().origins("https://a/"), ValueError, "'https://a/' must be a scheme, a host"),
    ("an origin's pattern", lambda: route().origins("https://*.a"), ValueError, "no path, user or pattern"),
    ("an origin's user", lambda: route().origins("https://u@a"), ValueError, "no path, user or pattern"),
    ("an origin in Unicode", lambda: route().origins("https://b\xfccher.example"), ValueError, "a host in ASCII"),
    ("two origins in one", lambda: route().origins("https://a, https://b"), ValueError, "an argument of its own"),
    ("a certificate", lambda: route().secure(5), TypeError, "certificate=5 must be a path or"),  # type: ignore[arg-type]
    ("a key", lambda: route().secure("x", 5), TypeError, "key=5 must be a path or None"),  # type: ignore[arg-type]
    ("no certificate", lambda: route().secure("/no/where"), ValueError, "secure('/no/where', None): no such file"),
    ("no key", lambda: route().secure(__file__), ValueError, "no certificate with its key"),
    ("a host", lambda: route().listen(5, 80), TypeError, "host=5 must be a str or None"),  # type: ignore[arg-type]
    ("a listening port", lambda: route().listen("h", 65536), ValueError, "port=65536 must be 0 to 65535"),
    ("its type", lambda: route().listen("h", "1"), TypeError, "port='1' must be an int"),  # type: ignore[arg-type]
    ("a backlog", lambda: route().listen("h", 1, backlog=0), ValueError, "backlog=0 must be an int, at least 1"),
    ("reuse_port", lambda: route().listen("h", 1, reuse_port=1), TypeError, "reuse_port=1 must be a bool"),  # type: ignore[arg-type]
    ("a socket", lambda: route().listen(sock=5), TypeError, "sock=5 must be a socket or None"),  # type: ignore[arg-type]
    ("a socket's path", lambda: route().listen(path=5), TypeError, "path=5 must be a path or None"),  # type: ignore[arg-type]
    ("two ways", lambda: route().listen("h", 1, path="/x"), ValueError, "give one of them"),
    ("a header's name", lambda: client().header("a b", "x"), ValueError, "header name 'a b' must be a token"),
    ("a header's value", lambda: client().header("a", "x\r\ny"), ValueError, "must not contain CR, LF, NUL"),
    ("a header of ours", lambda: client().header("Upgrade", "x"), ValueError, "belongs to the handshake"),
    ("a header's type", lambda: client().header("a", 5), TypeError, "header 'a'=5: name and value must be str"),  # type: ignore[arg-type]
    ("headers", lambda: client().headers(5), TypeError, "headers=5 must be a mapping of str to str, or pairs"),  # type: ignore[arg-type]
    ("a user", lambda: client().basic_auth("a:b", "x"), ValueError, "user='a:***' may have no ':'"),
    ("a user's type", lambda: client().basic_auth(5, "x"), TypeError, "user=5 must be a str"),  # type: ignore[arg-type]
    ("a password", lambda: client().basic_auth("a", b"x"), TypeError, "password must be a str, not bytes"),  # type: ignore[arg-type]
    ("a token", lambda: client().bearer(5), TypeError, "token must be a str, not int"),  # type: ignore[arg-type]
    ("a token's line", lambda: client().bearer("x\n"), ValueError, "must not contain CR, LF"),
    ("cookies", lambda: client().cookies(5), TypeError, "cookies must be a mapping"),  # type: ignore[arg-type]
    ("a cookie", lambda: client().cookies({"a": 5}), TypeError, "cookie 'a' must be a str"),  # type: ignore[dict-item]
    ("a cookie's value", lambda: client().cookies({"a": "b;c"}), ValueError, "cookie 'a': no blanks"),
    ("an Origin", lambda: client().origin("x\n"), ValueError, "must not contain CR, LF"),
    ("a client's context", lambda: client().ssl(5), TypeError, "ssl=5 must be an ssl.SSLContext"),  # type: ignore[arg-type]
    ("TLS for ws", lambda: client().ssl(ssl.create_default_context()), ValueError, "ssl(): ws://localhost/ is not wss"),
    (
        "a host with its port",
        lambda: ws("h:80"),
        ValueError,
        "'h:80' is no host name; a URL begins with ws:// or wss://",
    ),
    ("a host and a port in one", lambda: route().listen("h:80"), ValueError, "host='h:80' must be a host alone"),
    ("a client's TLS", lambda: route().secure(ssl.create_default_context()), ValueError, "is a context for clients"),
    ("a part of a byte", lambda: route().max_message_size(1.5), TypeError, "max_message_size=1.5 must be an int"),  # type: ignore[arg-type]
    ("a route's option", lambda: http_server().on_text(print), AttributeError, "on_text() is a route's: http_server()"),  # type: ignore[attr-defined]
    ("no option", lambda: http_server().on_tex(print), AttributeError, "no attribute 'on_tex'"),  # type: ignore[attr-defined]
    ("a client's callback", lambda: client().connect_async(5), TypeError, "connect_async(5): a callback must be"),  # type: ignore[arg-type]
]


@for_each(("call", "kind", "text"), [one[1:] for one in REFUSED])
def test_a_bad_value_is_refused_by_the_call_that_got_it(
    call: Callable[[], Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert text in str(caught.value)


def test_one_chain_builds_several_routes() -> None:
    server = http_server()
    last = server.websocket("/a").on_text(print).websocket("/b/{name}").max_message_size(5).websocket("/c/*")
    assert isinstance(last, WebSocketRoute)
    assert {path for path, _ in server.routes.items()} == {"/a", "/b/{name}", "/c/*"}
    found = server.routes.match("/a")
    assert found is not None
    assert found[0].websocket is not None
    assert found[0].websocket.current().callbacks.text is print
    assert last.unregister("/a") is server
    assert server.routes.match("/a") is None
    server.websocket("/a")


def test_a_route_has_every_method_of_the_server() -> None:
    for name in dir(HttpServer):
        if not name.startswith("_") and callable(getattr(HttpServer, name)):
            assert callable(getattr(WebSocketRoute, name)), name


def test_what_a_route_sets_on_the_server_is_the_servers() -> None:
    server = http_server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.websocket("/").secure(context).on_upgrade(print)
    assert server.ssl_context is context
    assert server.upgrade_hook is print


def test_origins_of_a_route_are_its_own() -> None:
    http_server().origins("https://[::1]:8443", "file://", "chrome-extension://abc", "null")
    server = http_server().origins("https://a.example")
    route = server.websocket("/").origins("*", "https://b.example")
    assert server.allowed_origins == ("https://a.example",)
    assert route.allowed_origins == ("*", "https://b.example")


def test_a_server_takes_permessage_deflate_by_default_and_a_client_offers_nothing() -> None:
    extensions = route().current().extensions
    assert extensions is not None
    assert [one.name for one in extensions] == ["permessage-deflate"]
    assert not client().current().extensions
    assert http_server(HttpConfig(extensions=())).websocket("/").current().extensions == ()


def test_a_config_has_its_policys_limits_where_it_sets_none() -> None:
    config = HttpConfig(policy=WebSocketPolicy(open_timeout=3, max_header_size=100, max_header_count=None))
    assert (config.open_timeout, config.max_header_size, config.max_header_count) == (3, 100, None)
    assert HttpConfig(policy=WebSocketPolicy(open_timeout=3), open_timeout=5).open_timeout == 5
    with pytest.raises(AttributeError):
        config.open_timeout = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        HttpConfig(WebSocketPolicy())  # type: ignore[misc]


@pytest.mark.parametrize(("name", "value"), [("open_timeout", 1), ("max_header_size", 100), ("max_header_count", None)])
def test_a_limit_that_holds_before_the_route_is_known_is_refused_by_a_route(name: str, value: int | None) -> None:
    said = rf"{name}={value} cannot hold for a route.*http_server\(\)\.{name}\({value}\)"
    policy = WebSocketPolicy(max_message_size=5).replace(**{name: value})
    one = route()
    with pytest.raises(ValueError, match=said):
        getattr(one, name)(value)
    with pytest.raises(ValueError, match=said):
        one.policy(policy)
    assert one.current().policy == WebSocketPolicy()
    assert http_server().policy(policy).websocket("/").policy(policy).current().policy == policy
    getattr(client(), name)(value).policy(policy)


def url(builder: WebSocketClient) -> str:
    return str(builder._url)


@pytest.mark.parametrize(
    ("builder", "expected"),
    [
        (lambda: websocket("ws://h/chat?x=1"), "ws://h/chat?x=1"),
        (lambda: ws("ws://h"), "ws://h/"),
        (lambda: wss("wss://h/x"), "wss://h/x"),
        (lambda: ws("h"), "ws://h/"),
        (lambda: ws("h", 8080), "ws://h:8080/"),
        (lambda: ws("h", 8080, "/x?y"), "ws://h:8080/x?y"),
        (lambda: wss("h"), "wss://h/"),
        (lambda: wss("h", 8443, "/x"), "wss://h:8443/x"),
        (lambda: ws("::1", 8080, "/"), "ws://[::1]:8080/"),
        (lambda: ws("[::1]", 8080, "/"), "ws://[::1]:8080/"),
        (lambda: websocket("127.0.0.1", 80, "/a b"), "ws://127.0.0.1/a%20b"),
    ],
)
def test_a_url_or_its_parts(builder: Callable[[], WebSocketClient], expected: str) -> None:
    assert url(builder()) == expected


def headers(builder: WebSocketClient) -> dict[str, str]:
    return dict(builder._headers)


def test_headers_of_a_client() -> None:
    builder = client().header("X-One", "1").headers({"X-Two": "2"}).headers([("X-Three", "3")])
    builder.cookies({"a": "1", "b": "2"}).bearer("abc")
    assert headers(builder) == {
        "X-One": "1", "X-Two": "2", "X-Three": "3", "Cookie": "a=1; b=2", "Authorization": "Bearer abc",
    }  # fmt: skip
    # One Authorization, the last; in UTF-8.
    credentials = base64.b64encode("user:pä:ss".encode()).decode()
    assert headers(builder.basic_auth("user", "pä:ss"))["Authorization"] == f"Basic {credentials}"
    assert [name for name, _ in builder._headers].count("Authorization") == 1


def test_the_user_of_a_url_is_authorized() -> None:
    assert headers(websocket("ws://user:pass@h/"))["Authorization"] == "Basic dXNlcjpwYXNz"


def test_module_level_functions_are_a_default_clients() -> None:
    for function in (firefly_ws.websocket, firefly_ws.ws):
        assert isinstance(function("ws://h/"), WebSocketClient)
    assert isinstance(firefly_ws.wss("h"), WebSocketClient)


def test_a_bad_route_is_noticed_by_listen_before_it_binds() -> None:
    chain = route().write_low_water(10).write_high_water(5)
    with pytest.raises(ValueError, match="write_low_water=10 is above write_high_water=5"):
        chain.listen("127.0.0.1", 0)


def test_a_bad_connection_is_noticed_by_connect() -> None:
    chain = client().write_low_water(10).write_high_water(5)
    with pytest.raises(ValueError, match="write_low_water=10 is above write_high_water=5"):
        chain.connect()


def test_a_socket_and_a_path_like_are_taken(tmp_path: os.PathLike[str]) -> None:
    """What is right passes the same checks; two of them at once are still one too many."""
    with socket.socket() as sock, pytest.raises(ValueError, match="give one of them"):
        route().listen(sock=sock, path=tmp_path)


def test_http_and_a_websocket_share_a_path_and_unregister_frees_both() -> None:
    app = http_server()
    assert app.get("/a", print).post("/a", print) is app
    app.websocket("/a").put("/a", print)
    with pytest.raises(ValueError, match="GET '/a' is already registered"):
        app.get("/a", print)
    with pytest.raises(ValueError, match="'/a' is already registered"):
        app.websocket("/a")
    app.unregister("/a").get("/a", print)


def test_what_cannot_be_a_route_is_refused() -> None:
    app = http_server()
    with pytest.raises(TypeError, match="must be callable"):
        app.get("/", "page")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'BREW' must be one of GET"):
        app.route("/", print, ["BREW"])
    with pytest.raises(TypeError, match="must be a list"):
        app.route("/", print, "GET")
    with pytest.raises(ValueError, match="methods is empty"):
        app.route("/", print, [])
    with pytest.raises(ValueError, match="max_body_size=-1"):
        app.post("/", print, max_body_size=-1)
    with pytest.raises(ValueError, match="timeout=0"):
        app.timeout(0)
    with pytest.raises(ValueError, match="is set already"):
        app.on_not_found(print).on_not_found(print)
    with pytest.raises(TypeError, match="max_body_size='1'"):
        HttpConfig(max_body_size="1")  # type: ignore[arg-type]


def test_the_limit_of_bodies_holds_for_routes_before_and_behind_it() -> None:
    app = http_server(HttpConfig(max_body_size=5)).post("/a", print).post("/b", print, max_body_size=7)
    assert app._place("/a").methods["POST"].max_body_size == 5
    app.max_body_size(6).post("/c", print)
    assert [app._place(path).methods["POST"].max_body_size for path in ("/a", "/b", "/c")] == [6, 7, 6]


async def test_async_with_a_builder_that_listens_nowhere_says_what_is_missing() -> None:
    # Python's own words were that it "does not support the asynchronous context manager protocol".
    server: Any = http_server()
    for builder, call in (
        (server, r"HttpServer holds nothing open yet; write async with builder\.listen\(host, port\) as server"),
        (server.websocket("/"), r"WebSocketRoute .*builder\.listen\("),
        (http_client(), r"HttpClient .*async with client\.websocket\(url\) as connection"),
    ):
        with pytest.raises(TypeError, match=call):
            async with builder:
                raise AssertionError
