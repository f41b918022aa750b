"""What `firefly-ws serve` makes of MODULE:ATTRIBUTE and its other arguments; nothing listens here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firefly_ws import HttpServer, cli
from firefly_ws.cli.loading import CannotLoad, load

MODULE = """
from firefly_ws import http_server
app = http_server()
route = app.websocket("/")
class Of:
    app = app
    number = 7
def make():
    return route
async def make_later():
    return app
def broken():
    raise LookupError("of mine")
class Listening:
    pass
class Application:
    async def __call__(self, scope, receive, send):
        pass
asgi = Application()
text = "text"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of its own in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "served_here.py").write_text(MODULE)
    (tmp_path / "broken_here.py").write_text("import not_here_either")
    yield "served_here"
    for name in ("served_here", "broken_here"):
        sys.modules.pop(name, None)


async def test_a_builder_a_route_and_what_a_function_gives_are_the_server(module: str) -> None:
    for attribute in ("app", "route", "Of.app", "make", "make_later"):
        assert isinstance(await load(f"{module}:{attribute}"), HttpServer), attribute


async def test_what_is_no_server_is_named(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    for target, said in {
        "not_here:app": "no module 'not_here' in ",
        "served_here.below:app": "no module 'served_here.below'",
        f"{module}:nothing": "module 'served_here' has no 'nothing'",
        f"{module}:Of.nothing": "has no 'nothing'",
        f"{module}:text": "served_here:text is 'text'; it must be an HttpServer, a route of one, or a function",
        f"{module}:Of.number": "served_here:Of.number is 7; it must be",
        f"{module}:asgi": "an ASGI application goes below a server: app = http_server().asgi(asgi)",
        f"{module}:Listening": "it must be an HttpServer",
    }.items():
        with pytest.raises(CannotLoad) as refused:
            await load(target)
        assert said in str(refused.value), target
    assert capsys.readouterr().err == ""


async def test_what_the_users_code_raises_is_shown_from_where_it_begins(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for target, why, last in (
        (f"{module}:broken", "served_here:broken() raised", "LookupError: of mine"),
        ("broken_here:app", "broken_here cannot be imported", "ModuleNotFoundError: No module named 'not_here_either'"),
    ):
        with pytest.raises(CannotLoad, match=why.replace("(", r"\(").replace(")", r"\)")):
            await load(target)
        trace = capsys.readouterr().err.splitlines()
        assert trace[-1] == last
        assert "_here.py" in trace[1], "our own frames and those of the import are left out"


async def test_a_server_that_listens_already_is_not_taken(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await load(f"{module}:app")
    async with app.listen("127.0.0.1", 0) as server:
        monkeypatch.setattr(sys.modules[module], "app", server)
        with pytest.raises(CannotLoad, match="listens already: leave"):
            await load(f"{module}:app")


def test_arguments_that_make_no_sense_get_the_usage_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in {
        "chat": "'chat' must be MODULE:ATTRIBUTE, as chat:app for app in chat.py",
        "chat.py:app:more": "must be MODULE:ATTRIBUTE",
        "": "the following arguments are required: MODULE:ATTRIBUTE",
        "chat:app --workers 0": "'0' must be a whole number from 1 to 1000",
        "chat:app --workers two": "'two' must be a whole number from 1 to 1000",
        "chat:app --fd -1": "argument --fd: ",
        "chat:app --grace -1": "argument --grace: ",
        "chat:app --grace nan": "'nan' must be a number of seconds, at least 0",
        "chat:app --spread soon": "'soon' must be a number of seconds, at least 0",
        "chat:app --host here --path there": "--host and --path: give one of them",
        "chat:app --port 1 --fd 3": "--port and --fd: give one of them",
        "chat:app --path a --fd 3": "--path and --fd: give one of them",
        "chat:app --path a --reuse-port": "--reuse-port is for --host and --port",
        "chat:app --key a": "--key a is of no use without --cert FILE",
    }.items():
        with pytest.raises(SystemExit) as left:
            cli.main(["serve", *arguments.split()])
        assert left.value.code == 2, arguments
        assert said in capsys.readouterr().err, arguments


def test_a_spread_longer_than_the_grace_is_one_line(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", f"{module}:app", "--port", "0", "--spread", "20"]) == 1
    assert capsys.readouterr().err == (
        "firefly-ws: spread=20.0 must be at most grace=10 seconds: give more grace, or None\n"
    )
