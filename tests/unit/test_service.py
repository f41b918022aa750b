"""Service objects alone: which methods take what, and what is refused where it is given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from firefly_ws import WebSocketService, http_client, http_server
from firefly_ws.options import ConnectionOptions
from firefly_ws.service import callbacks_of


class Whole(WebSocketService):
    def connected(self, connection: object) -> None:
        pass

    def received(self, message: object, connection: object) -> None:
        pass

    def disconnected(self, connection: object, reason: object) -> None:
        pass


class Bare(WebSocketService):
    def received(self, message: object, connection: object) -> None:
        pass


@pytest.fixture(params=["route", "client"])
def options(request: pytest.FixtureRequest) -> ConnectionOptions:
    if request.param == "route":
        return http_server().websocket("/")
    return http_client().websocket("ws://localhost/")


def test_each_method_takes_its_callback_and_received_both_types(options: ConnectionOptions) -> None:  # K5
    service = Whole()
    assert options.service(service) is options
    callbacks = options.current().callbacks
    assert callbacks.accept == service.connected
    assert callbacks.text == callbacks.binary == service.received
    assert callbacks.close == service.disconnected
    assert callbacks.message is None


@pytest.mark.parametrize("service", [Bare(), SimpleNamespace(received=print)], ids=["derived", "any object"])
def test_only_received_must_be_there_and_what_is_missing_is_not_called(service: object) -> None:  # K5
    assert set(callbacks_of(service)) == {"text", "binary"}


class NoMethod(Bare):
    connected: Any = 5


@pytest.mark.parametrize(
    ("service", "match"),
    [
        (Whole, r"service\(Whole\): give an object, Whole\(\), not its class"),
        (object(), r"it must have a method received\(message, connection\)"),
        (WebSocketService(), r"it must have a method received\(message, connection\)"),
        (SimpleNamespace(received=None), r"it must have a method received\(message, connection\)"),
        (None, r"it must have a method received\(message, connection\)"),
        (NoMethod(), "its connected=5: a callback must be callable"),
        (SimpleNamespace(received=5), "its received=5: a callback must be callable"),
    ],
)
def test_what_is_no_service_is_refused(options: ConnectionOptions, service: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        options.service(service)
    assert options.current().callbacks.text is None


@pytest.mark.parametrize("name", ["on_accept", "on_message", "on_text", "on_binary", "on_close"])
def test_a_service_and_a_callback_of_the_same_slot_exclude_each_other(options: ConnectionOptions, name: str) -> None:
    getattr(options, name)(print)
    with pytest.raises(ValueError, match=rf"service\(.*\) and {name}\(\) exclude each other"):
        options.service(Whole())
    assert len(options._callbacks) == 1


def test_behind_a_service_its_slots_are_taken(options: ConnectionOptions) -> None:
    options.service(Bare())
    for name in ("on_text", "on_binary"):
        with pytest.raises(ValueError, match=rf"{name}\(\) is set already, to <bound method Bare.received"):
            getattr(options, name)(print)
    with pytest.raises(ValueError, match=r"service\(\) is set already, to <.*Bare object"):
        options.service(Bare())
    options.on_close(print).on_accept(print).on_error(print)


def test_on_message_behind_a_service_would_never_be_called(options: ConnectionOptions) -> None:
    with pytest.raises(ValueError, match=r"on_message\(\) and service\(\) exclude each other"):
        options.service(Bare()).on_message(print)
    with pytest.raises(ValueError, match=r"on_message\(\) and service\(\) exclude each other"):
        options.on_message(print, type=int)
    assert options.current().callbacks.message is None


def test_what_excludes_a_service_names_it(options: ConnectionOptions) -> None:
    options.service(Whole())
    for what in (options.discard, options.raw, lambda: options.handler(print)):
        with pytest.raises(ValueError, match=r"\(\) and service\(\) exclude each other"):
            what()


@pytest.mark.parametrize("name", ["discard", "raw", "handler"])
def test_a_service_that_is_refused_sets_no_timeout(options: ConnectionOptions, name: str) -> None:
    class Timed(Bare):
        connection_timeout = 30

    if name == "handler":
        options.handler(print)
    else:
        getattr(options, name)()
    with pytest.raises(ValueError, match=rf"service\(.*\) and {name}\(\) exclude each other"):
        options.service(Timed())
    assert options.current().policy.connection_timeout is None


def test_a_services_connection_timeout_is_the_option(options: ConnectionOptions) -> None:  # K5
    class Timed(Bare):
        connection_timeout = 30

    assert options.service(Timed()).current().policy.connection_timeout == 30


def test_a_wrong_connection_timeout_takes_nothing(options: ConnectionOptions) -> None:
    class Wrong(Bare):
        connection_timeout = -1

    with pytest.raises(ValueError, match="connection_timeout=-1"):
        options.service(Wrong())
    assert options.current().callbacks.text is None
