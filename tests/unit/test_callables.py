"""What can be a callback, by its signature: refused where it is given, not when the first message comes."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from every import for_each

from firefly_ws import DeflateFrame, PerMessageDeflate, http_client, http_server
from firefly_ws.callables import check_callable


class Some:
    def two(self, text: str, connection: object) -> None: ...

    def __call__(self, text: str, connection: object) -> None: ...

    @staticmethod
    def of_class(text: str, connection: object) -> None: ...


def three(database: object, text: str, connection: object) -> None: ...


async def later(text: str, connection: object) -> None: ...


def pieces(text: str, connection: object) -> Iterator[str]:
    yield text


async def pieces_later(text: str, connection: object) -> AsyncIterator[str]:
    yield text


def with_database(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapped(*arguments: object) -> object:
        return function("database", *arguments)

    return wrapped


TAKES_TWO: list[Callable[..., object]] = [
    lambda text, connection: None,
    lambda text, connection, more=5: None,
    lambda *arguments: None,
    lambda text, /, connection, **more: None,
    later,
    Some().two,
    Some(),
    Some.of_class,
    functools.partial(three, "database"),
    with_database(three),
    Mock(),
    AsyncMock(),
    print,
    dict.fromkeys,
]


@for_each("callback", TAKES_TWO)
def test_what_takes_the_arguments_is_taken(callback: Callable[..., object]) -> None:
    check_callable("on_text()", callback, "text", "connection")


TAKES_OTHERS: list[tuple[Callable[..., object], str]] = [
    (lambda: None, "its parameters are (): too many positional arguments"),
    (lambda text: None, "its parameters are (text): too many positional arguments"),
    (lambda text, connection, more: None, "missing a required argument: 'more'"),
    (lambda text, connection, *, more: None, "'more'"),
    (three, "missing a required argument: 'connection'"),
    (functools.partial(three, "a", "b"), "too many positional arguments"),
    (Some.two, "missing a required argument: 'connection'"),
    (Mock(spec=later).assert_called, "too many positional arguments"),
]


@for_each(("callback", "why"), TAKES_OTHERS)
def test_what_does_not_take_them_is_named_with_its_parameters(callback: Callable[..., object], why: str) -> None:
    with pytest.raises(TypeError) as caught:
        check_callable("on_text(...)", callback, "text", "connection")
    assert str(caught.value).startswith("on_text(...): it is called with (text, connection), but its parameters are (")
    assert why in str(caught.value)


@for_each("callback", [pieces, pieces_later, functools.partial(pieces)])
def test_what_a_generator_function_yields_would_be_lost(callback: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="a generator function does nothing when it is called"):
        check_callable("on_text()", callback, "text", "connection")
    check_callable("get()", callback, "text", "connection", yields=True)


def test_an_answer_that_is_needed_at_once_comes_from_a_plain_function() -> None:
    check_callable("retry_if", later, "text", "connection")
    with pytest.raises(TypeError, match="retry_if: it must be a plain function, not an async one"):
        check_callable("retry_if", later, "text", "connection", plain=True)


class Wrong:
    def received(self, message: str) -> None: ...


def nothing() -> None: ...


async def judges(payload: object) -> None: ...


def route() -> Any:
    return http_server().websocket("/")


def client() -> Any:
    return http_client().websocket("ws://localhost/")


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: route().on_open(nothing), "(connection)"),
    (lambda: route().on_accept(nothing), "(connection)"),
    (lambda: route().handler(nothing), "(connection)"),
    (lambda: route().on_accept_async(nothing), "(connection)"),
    (lambda: client().connect_async(nothing), "(connection)"),
    (lambda: route().on_message(nothing), "(message, connection)"),
    (lambda: route().on_message(nothing, type=int), "(message, connection)"),
    (lambda: route().on_text(nothing), "(text, connection)"),
    (lambda: client().on_binary(nothing), "(data, connection)"),
    (lambda: route().on_frame(nothing), "(frame, connection)"),
    (lambda: route().on_ping(nothing), "(payload, connection)"),
    (lambda: route().on_pong(nothing), "(payload, connection)"),
    (lambda: route().on_close(nothing), "(connection, reason)"),
    (lambda: route().on_error(nothing), "(connection, error)"),
    (lambda: route().service(Wrong()), "(message, connection)"),
    (lambda: route().on_upgrade(nothing), "(request)"),
    (lambda: route().get("/x", nothing), "(request)"),
    (lambda: route().on_not_found(nothing), "(request)"),
    (lambda: route().on_exception(nothing), "(request, exception)"),
    (lambda: route().on_extension_select(nothing), "(offered, request)"),
    (lambda: route().on_sub_protocol_select(nothing), "(offered, request)"),
    (lambda: PerMessageDeflate(compress_if=nothing), "(payload)"),
    (lambda: DeflateFrame(compress_if=judges), "plain function"),
    (lambda: route().asgi(nothing), "(scope, receive, send)"),
    (lambda: client().reconnect(retry_if=nothing), "(error)"),
    (lambda: client().reconnect(retry_if=later), "plain function"),
    (lambda: client().reconnect(before_try=nothing), "(builder)"),
    (lambda: route().health(checks={"three": three}), "()"),
]


@for_each(("call", "text"), REFUSED)
def test_a_callback_that_could_not_be_called_is_refused_at_once(call: Callable[[], object], text: str) -> None:
    with pytest.raises(TypeError, match=r"called with|plain function") as caught:
        call()
    assert text in str(caught.value)
