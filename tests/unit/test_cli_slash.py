"""The prompt's commands: what a line means and how it may go on; nothing is done."""

from __future__ import annotations

from pathlib import Path

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from firefly_ws.cli.slash import Line, SlashCompleter, read_line


def test_a_line_is_a_text_or_a_command() -> None:
    cases = {
        "hello": Line("send", "hello"),
        " /x": Line("send", " /x"),
        "//x y": Line("send", "/x y"),
        "": Line("send", ""),
        "/ping": Line("ping", ""),
        "/close 1000  done now ": Line("close", "1000  done now"),
        "/": Line("", ""),
    }
    for line, meaning in cases.items():
        assert read_line(line) == meaning, line


def completed(text: str) -> list[str]:
    found = SlashCompleter().get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + one.start_position] + one.text for one in found]


def test_commands_codes_and_files_are_completed_and_texts_are_not(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    assert completed("/") == ["/ping", "/binary", "/close", "/help"]
    assert completed("/cl") == ["/close"]
    assert completed("/close 101") == ["/close 1010", "/close 1011", "/close 1012", "/close 1013", "/close 1014"]
    assert "/close 1005" not in completed("/close 100")
    assert completed(f"/binary {tmp_path}/ph") == [f"/binary {tmp_path}/photo.png"]
    for text in ("cl", "//cl", "/close 1000 b", "/ping x"):
        assert completed(text) == [], text
