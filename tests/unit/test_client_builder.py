"""The client's fluent face: what each option stores, what excludes what, and capabilities."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from firefly_ws import (
    Capability,
    HttpConfig,
    WebSocketCapability,
    WebSocketClient,
    WebSocketExtensionsCapability,
    WebSocketPolicy,
    http_client,
    websocket,
    ws,
    wss,
)
from firefly_ws.extensions.registry import resolve


def client() -> WebSocketClient:
    return http_client().websocket("ws://localhost/")


def headers(builder: WebSocketClient) -> list[tuple[str, str]]:
    return list(builder._target().headers)


def test_what_a_client_can_do_may_be_asked() -> None:  # C6
    assert http_client().is_supported(WebSocketCapability)
    assert http_client().is_supported(WebSocketExtensionsCapability)
    assert not http_client().is_supported(Capability("something else"))
    assert repr(WebSocketCapability) == "WebSocketCapability"


def test_the_supported_extensions_are_those_that_can_be_listed() -> None:  # C6
    names = http_client().supported_extensions()
    assert "permessage-deflate" in names
    assert [resolve(name).name for name in names] == list(names)
    assert http_client().websocket("ws://h/").extensions([names[0]])


def test_what_is_no_capability_is_refused() -> None:
    with pytest.raises(TypeError, match="capability='websocket' must be a capability, as WebSocketCapability, not str"):
        http_client().is_supported("websocket")  # type: ignore[arg-type]


REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("a proxy", lambda: client().proxy("ftp://x"), ValueError, "proxy 'ftp://x' must begin with one of http://"),
    ("a client's proxy", lambda: http_client().proxy("x"), ValueError, "proxy 'x' must begin with one of http://"),
    ("a proxy's type", lambda: client().proxy(5), TypeError, "proxy=5 must be a str, as"),  # type: ignore[arg-type]
    ("a proxy's TLS", lambda: client().proxy("https://p", ssl=5), TypeError, "ssl=5 must be an ssl.SSLContext"),  # type: ignore[arg-type]
    (
        "TLS of a proxy without",
        lambda: client().proxy("http://p", ssl=ssl.create_default_context()),
        ValueError,
        "the proxy http://p:80 has no TLS to set up",
    ),
    ("a client's TLS", lambda: http_client().ssl(5), TypeError, "ssl=5 must be an ssl.SSLContext"),  # type: ignore[arg-type]
    ("a path", lambda: client().unix(5), TypeError, "path=5 must be a path"),  # type: ignore[arg-type]
    ("an empty path", lambda: client().unix(""), ValueError, "unix(''): the path is empty"),
    ("a delay", lambda: client().reconnect(base_delay=-1), ValueError, "base_delay=-1 must be at least 0"),
    ("a hook", lambda: client().reconnect(before_try=5), TypeError, "before_try=5: a callback must be callable"),  # type: ignore[arg-type]
    ("two cookies", lambda: client().header("cookie", "a").header("Cookie", "b"), ValueError, "Cookie is set already"),
    ("cookies twice", lambda: client().header("cookie", "a").cookies({"b": "c"}), ValueError, "has set it already"),
    ("an Origin twice", lambda: client().origin("a").header("Origin", "b"), ValueError, ".origin('a') has set it"),
    ("and back", lambda: client().header("origin", "b").origin("a"), ValueError, ".header('Origin', ...) has set it"),
    ("a cookie's name", lambda: client().cookies({"a=b": "c"}), ValueError, "cookie 'a=b': its name must be a token"),
    ("no name", lambda: client().cookies({"": "c"}), ValueError, "cookie '': its name must be a token"),
    ("a cookie's tab", lambda: client().cookies({"a": "b\t"}), ValueError, "cookie 'a': no blanks"),
    ("an empty token", lambda: client().bearer(""), ValueError, "the token is empty"),
    ("a cookie's line", lambda: client().cookies({"a": "b\x01"}), ValueError, "must not contain CR, LF"),
    ("forever's ways", lambda: client().unix("/x").redirects(1).forever(), ValueError, "exclude each other"),
]


@pytest.mark.parametrize(("call", "kind", "text"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_a_bad_value_is_refused_by_the_call_that_got_it(
    call: Callable[[], Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_authorization_is_one_header_whoever_sets_it() -> None:  # C2
    builder = http_client().websocket("ws://ada:pw@localhost/")
    assert headers(builder) == [("Authorization", "Basic YWRhOnB3")]
    assert headers(builder.bearer("x")) == [("Authorization", "Bearer x")]
    assert headers(builder.header("authorization", "Digest y")) == [("Authorization", "Digest y")]


def test_headers_are_a_mapping_or_pairs_and_what_is_neither_is_named() -> None:
    builder = client().headers({"X": "1"}).headers([("X", "2"), ("Y", "3")]).headers(iter([("Z", "4")]))
    assert headers(builder) == [("X", "1"), ("X", "2"), ("Y", "3"), ("Z", "4")]
    for value, said in (
        ("abc", "headers='abc' must be a mapping"), (b"X: 1", "headers=b'X: 1' must be"), (5, "headers=5 must be"),
        (["abc"], "'abc' must be a pair"), ([("X",)], "('X',) must be a pair"), ([5], "headers: 5 must be a pair"),
        ({"X": 1}, "1"),
    ):  # fmt: skip
        with pytest.raises(TypeError) as caught:
            client().headers(value)  # type: ignore[arg-type]
        assert said in str(caught.value), value


def test_cookies_add_up_to_one_header_and_the_last_of_a_name_wins() -> None:  # C2
    builder = client().cookies({"a": "1", "b": "2"}).cookies({"b": "3", "c": "4"}).cookies({})
    assert headers(builder) == [("Cookie", "a=1; b=3; c=4")]
    assert headers(client().cookies({})) == []


def test_settings_of_a_client_are_for_all_its_connections_and_theirs_win() -> None:  # C1
    ours = http_client(HttpConfig(policy=WebSocketPolicy(max_frame_size=99), extensions=("permessage-deflate",)))
    first, second = ours.ws("h"), ours.wss("h").max_frame_size(5).extensions([])
    assert first.current().policy.max_frame_size == 99
    assert [one.name for one in first.current().extensions or ()] == ["permessage-deflate"]
    assert (second.current().policy.max_frame_size, second.current().extensions) == (5, ())


def test_tls_of_a_client_is_for_all_its_connections_and_theirs_wins() -> None:  # C1
    one, two, three = (ssl.create_default_context() for _ in range(3))
    ours = http_client(HttpConfig(ssl=one))
    assert ours.wss("h")._target().context() is one
    assert ours.ssl(two).wss("h")._target().context() is two
    assert ours.wss("h").ssl(three)._target().context() is three


def test_short_forms_and_default_ports() -> None:  # C3, W6
    assert [(one._url.port, one._url.secure) for one in (ws("h"), wss("h"), websocket("wss://h"))] == [
        (80, False), (443, True), (443, True),
    ]  # fmt: skip


def test_host_port_and_path_may_be_given_by_their_names() -> None:  # C2, C3
    for make, port in ((ws, 80), (wss, 443), (websocket, 80)):
        assert make(host="h", port=8080, path="/ws")._url == make("h", 8080, "/ws")._url
        assert make(host="h")._url.port == port
        assert make(url="wss://h/ws")._url.target == "/ws"
        with pytest.raises(TypeError, match="url and host exclude each other"):
            make("ws://h/", host="h")
        with pytest.raises(TypeError, match="url=None must be a str"):
            make(port=80)
        with pytest.raises(TypeError, match="host=1 must be a str"):
            make(host=1)  # type: ignore[arg-type]


def test_a_copy_for_a_hook_shares_nothing_that_can_be_set() -> None:
    builder = client().cookies({"a": "1"}).header("X", "1").max_frame_size(7)
    other = builder._copy().cookies({"a": "2"}).header("X", "2").max_frame_size(8).on_text(print).bearer("x")
    assert headers(builder) == [("Cookie", "a=1"), ("X", "1")]
    assert builder.current().policy.max_frame_size == 7
    assert builder.current().callbacks.text is None
    assert headers(other) == [("X", "1"), ("Cookie", "a=2"), ("X", "2"), ("Authorization", "Bearer x")]


def test_the_defaults_of_trying_again_stand_in_the_signature() -> None:
    import inspect

    from firefly_ws.backoff import Reconnect, is_worth_retrying

    found = {name: one.default for name, one in inspect.signature(WebSocketClient.reconnect).parameters.items()}
    del found["self"]
    assert found == {name: getattr(Reconnect(), name) for name in found}
    assert found["retry_if"] is is_worth_retrying
    assert (found["base_delay"], found["max_delay"], found["factor"], found["max_tries"]) == (1.0, 60.0, 2.0, None)
