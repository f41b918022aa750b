"""The command's arguments and what it says of bad ones; nothing listens here."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import firefly_ws
from firefly_ws import WebSocketConnectionException, cli
from firefly_ws.cli import bench, echo

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been run."""
    called: list[Any] = []
    monkeypatch.setattr(echo, "run", called.append)
    return called


def test_the_console_script_and_the_page_are_in_the_package() -> None:  # W2
    module, _, name = PROJECT["project"]["scripts"]["firefly-ws"].partition(":")
    assert getattr(importlib.import_module(module), name) is cli.main
    assert PROJECT["tool"]["setuptools"]["package-data"]["firefly_ws"] == ["echo.html"]


def test_echo_runs_without_arguments_and_ends_with_0(run: list[Any]) -> None:
    assert cli.main(["echo"]) == 0
    assert len(run) == 1


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"firefly-ws {firefly_ws.__version__}, Python 3.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "an echo server for testing clients"),
        (["other"], "invalid choice: 'other'"),
        (["echo", "--port", "65536"], "argument --port: '65536' must be a number from 0 to 65535"),
        (["echo", "--port", "-1"], "argument --port: '-1' must be a number from 0 to 65535"),
        (["echo", "--port", "http"], "argument --port: 'http' must be a number from 0 to 65535"),
        (["echo", "--key", "server.key"], "--key server.key is of no use without --cert FILE"),
        (["echo", "more"], "unrecognized arguments: more"),
        (["connect"], "the following arguments are required: URL"),
        (["connect", "http://u:secret@host/"], "url 'http://***@host/' must begin with ws:// or wss://"),
        (["connect", "ws://h/", "--insecure"], "--insecure is of no use for ws://"),
        (["connect", "wss://h/", "--cacert", "/nowhere"], "--cacert /nowhere: No such file"),
        (["connect", "wss://h/", "--cacert", __file__], "--cacert "),
        (["connect", "ws://h/", "-H", "Authorization: secret\nX: y"], "value '***' must not contain CR"),
        (["connect", "ws://h/", "-H", "Upgrade: secret"], "-H 'Upgrade': header 'Upgrade' belongs to the handshake"),
        (["connect", "ws://h/", "--proxy", "ftp://u:secret@p"], "proxy 'ftp://***@p' must begin with"),
        (["connect", "ws://h/", "--subprotocol", "a b"], "a b"),
        (["check", "http://u:secret@host/"], "url 'http://***@host/' must begin with ws:// or wss://"),
        (["check", "ws://h/", "-H", "Upgrade: secret"], "-H 'Upgrade': header 'Upgrade' belongs to the handshake"),
        (["check", "ws://h/", "-H", "Authorization: secret\x1b"], "value '***' must not contain CR"),
        (["check", "ws://h/", "--timeout", "0"], "argument --timeout: '0' must be a number of seconds, above 0"),
        (["bench", "ws://h/", "--connections", "0"], "'0' must be a whole number from 1 to 100000"),
        (["bench", "ws://h/", "--text", "--binary"], "argument --binary: not allowed with argument --text"),
        (["bench", "ws://h/", "-c", "9", "-d", "99", "-s", "9999999"], "--size 9999999 would have more than 1024 MiB"),
        (["bench", "ws://h/", "-H", "Authorization: secret\x1b"], "value '***' must not contain CR"),
        (["--nope"], "the following arguments are required: COMMAND"),
        (["connect", "ws://h/", "--ping", "0"], "argument --ping: '0' must be a number of seconds, above 0"),
    ],
)
def test_what_is_no_command_gets_the_usage_and_2(
    run: list[Any], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("usage: firefly-ws")
    assert "secret" not in error
    assert not run


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere.pem", "no such file"), (".", "Is a directory"), ("text", "no certificate with its key")]
)
def test_a_certificate_that_is_none_is_one_line(
    run: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "text").write_text("nothing of the kind\n")
    assert cli.main(["echo", "--cert", str(tmp_path / name)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("firefly-ws: ")
    assert str(tmp_path) in line
    assert why in line
    assert not run


def test_tls_without_cryptography_names_what_to_install(
    run: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert cli.main(["echo", "--tls"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'firefly-ws[tls]'" in line
    assert "cryptography>=43" in PROJECT["project"]["optional-dependencies"]["tls"]
    assert not run


def test_a_prompt_without_its_packages_names_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("prompt_toolkit", "rich"):
        with monkeypatch.context() as patch:
            for name in [name for name in sys.modules if name.startswith((package, "firefly_ws.cli.talking"))]:
                patch.delitem(sys.modules, name)
            patch.setitem(sys.modules, package, None)
            patch.setattr(sys.stdin, "isatty", lambda: True)
            patch.setattr(sys.stdout, "isatty", lambda: True)
            assert cli.main(["connect", "ws://127.0.0.1:1/"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"package {package}" in line
        assert "pip install 'firefly-ws[cli]'" in line
        extra = PROJECT["project"]["optional-dependencies"]["cli"]
        assert any(one.startswith(package.replace("_", "-")) for one in extra)


def test_a_chart_without_its_package_or_its_directory_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr(bench, "run_to_exit", never)
    for option in ("--png", "--json"):
        assert cli.main(["bench", "ws://127.0.0.1:1/", option, "/nowhere/at all"]) == 1
        assert capsys.readouterr().err == f"firefly-ws: {option} /nowhere/at all: there is no directory /nowhere\n"
    for name in [name for name in sys.modules if name.startswith(("matplotlib", "firefly_ws.cli.benching.chart"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("firefly_ws.cli.benching.chart", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["bench", "ws://127.0.0.1:1/", "--png", "x.png"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'firefly-ws[chart]'" in line
    assert any(one.startswith("matplotlib") for one in PROJECT["project"]["optional-dependencies"]["chart"])


def test_more_connections_than_files_are_refused_with_the_limit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource", reason="POSIX alone")
    raised: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 500))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: raised.append(limits))
    monkeypatch.setattr(bench, "run_to_exit", lambda main: 0)
    for connections in ("10", "200"):
        assert cli.main(["bench", "ws://127.0.0.1:1/", "-c", connections]) == 0
    assert raised == [(264, 500)]
    with pytest.raises(SystemExit):
        cli.main(["bench", "ws://127.0.0.1:1/", "-c", "450"])
    assert "--connections 450 needs 514 open files; this process may have 500" in capsys.readouterr().err


def test_where_it_cannot_listen_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(main: object) -> None:
        raise WebSocketConnectionException("cannot listen on nowhere:8080: Name or service not known")

    monkeypatch.setattr(echo, "run", refuse)
    assert cli.main(["echo", "--host", "nowhere"]) == 1
    assert capsys.readouterr().err == "firefly-ws: cannot listen on nowhere:8080: Name or service not known\n"
