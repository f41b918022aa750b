"""Every Python block of the README and the docs is a program that runs to its end."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Programs
from snippets import PAGES, ROOT, snippets

import firefly_ws
from firefly_ws import testing
from firefly_ws.session import Incoming, Outgoing


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with Programs(ROOT) as programs:
        yield programs


@pytest.mark.parametrize(("name", "code"), snippets(), ids=[name for name, _ in snippets()])
def test_a_documented_program_runs(name: str, code: str, tmp_path: Path, programs: Programs) -> None:  # K6
    program = tmp_path / "snippet.py"
    program.write_text(code)
    status, _, errors = programs.run(program)
    assert status == 0, errors
    assert "Traceback" not in errors


def test_the_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "theme")
    pages = importlib.import_module("pages")
    assert not pages.unlisted(), "add it to `nav` in mkdocs.yml"


def test_the_reference_describes_every_public_name() -> None:
    text = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    described = set(re.findall(r"^::: firefly_ws\.(\w+)$", text, re.M))
    assert set(firefly_ws.__all__) <= described, "add `::: firefly_ws.NAME` to a page of docs/reference"
    assert described - {"errors"} <= set(firefly_ws.__all__)


# --- the pages for those who come from elsewhere

NAME = re.compile(r"(?<=\.)[a-z]\w*|[A-Za-z]\w*(?=\()|^[A-Za-z]\w*$")  # behind a dot, called, or all there is
ELSEWHERE = {"asyncio", "datetime", "msgspec", "now", "sent", "sleep", "TypedDict", *dir(builtins), *keyword.kwlist}


OWNER = re.compile(r"\b([A-Za-z_]\w*)\.([A-Za-z_]\w*)")
OWNERS: dict[str, tuple[Any, ...]] = {
    "connection": (firefly_ws.WebSocketConnection,),
    "session": (firefly_ws.WebSocketConnection,),
    "server": (firefly_ws.Server, firefly_ws.HttpServer),
    "client": (firefly_ws.HttpClient,),
    "request": (firefly_ws.Request,),
    "frame": (firefly_ws.Frame, firefly_ws.TextFrame, firefly_ws.BinaryFrame, firefly_ws.CloseFrame),
    "policy": (firefly_ws.WebSocketPolicy,),
    "reason": (firefly_ws.CloseReason,),
    "close_reason": (firefly_ws.CloseReason,),
    "close_details": (firefly_ws.CloseDetails,),
    "asyncio": (asyncio,),
    **{name: (getattr(firefly_ws, name),) for name in firefly_ws.__all__},
}


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "coming-from").glob("*.md")), ids=lambda page: page.stem)
def test_what_a_name_of_theirs_becomes_exists(page: Path) -> None:
    owners = [firefly_ws, testing, Incoming, Outgoing, *(getattr(firefly_ws, name) for name in firefly_ws.__all__)]
    known = {name for owner in owners for name in dir(owner)} | ELSEWHERE
    rows = [line.strip("| ").split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) > 10
    unknown = []
    for theirs, *ours in rows:
        cells = [theirs, *ours] if ours[0].startswith("the same") else ours
        for span in re.findall(r"`([^`]+)`", " ".join(cells)):
            unknown += [f"{name} in {span}" for name in NAME.findall(span) if name not in known]
            for owner, name in OWNER.findall(span):
                if owner in OWNERS and not any(hasattr(one, name) for one in OWNERS[owner]):
                    unknown.append(f"{name} of {owner} in {span}")
    assert not unknown
