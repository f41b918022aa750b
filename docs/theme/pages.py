"""Writes `build/pages`, of which the site is made: the pages of the checkout, with links as a site has them.

The README is the first page, the changelog and the examples are pages; a link to any other file of the checkout becomes
its name, for the site has no checkout beside it. Knows where things stand, and of Markdown what a link and a fence are.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path

from spans import linked

import firefly_ws

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "pages"

# Pages that are written elsewhere in the checkout, where readers of the checkout look for them.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
}
EXAMPLES = "examples.md"

FENCE = re.compile(r"^(```.*?^```)", re.M | re.S)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
PROMISE = re.compile(r"^(\| [A-Z]\d+ \|.*\|) (\S.*) \|$", re.M)


def main() -> None:
    if unlisted():
        sys.exit(f"not in `nav` of mkdocs.yml: {', '.join(unlisted())}")
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(DOCS, PAGES, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (PAGES / EXAMPLES).write_text(examples())
    for source in [*ELSEWHERE, *(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))]:
        page = PAGES / place(source)
        page.write_text(converted((ROOT / source).read_text(), source))


def unlisted() -> list[str]:
    """Pages that no reader would find."""
    pages = {EXAMPLES, *ELSEWHERE.values(), *(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))}
    return sorted(pages - set(re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)))


def place(path: str) -> str:
    """Where the site has a file of the checkout."""
    return ELSEWHERE.get(path) or (EXAMPLES if path.startswith("examples/") else path.removeprefix("docs/"))


def converted(text: str, source: str) -> str:
    """The page *source* as the site has it."""
    parts = FENCE.split(text)
    for number in range(0, len(parts), 2):
        part = LINK.sub(lambda found: moved(found, source), parts[number])
        if not source.startswith("docs/reference/"):
            part = "\n".join(line if line.startswith("#") else named(line) for line in part.split("\n"))
        parts[number] = part
    text = "".join(parts)
    return PROMISE.sub(folded, text) if source == "docs/features.md" else text


def moved(link: re.Match[str], source: str) -> str:
    """A link to where the site has its target."""
    image, text, target = link.groups()
    path, _, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if not (ROOT / path).exists():
        return link[0]  # the generator complains
    if (ROOT / path).is_dir():
        path = next(iter(sorted(one.relative_to(ROOT).as_posix() for one in (ROOT / path).glob("*.md"))), path)
    if path.startswith("examples/"):
        anchor = Path(path).stem
    to = place(path)
    if not (DOCS / to).is_file() and to not in (*ELSEWHERE.values(), EXAMPLES):
        if not re.search(r"\.(json|png|svg)$", path):
            return text if "`" in text else f"`{path}`" if text == path.rpartition("/")[2] else text
        (PAGES / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, PAGES / to)
    to = posixpath.relpath(to, posixpath.dirname(place(source)) or ".")
    return f"{image}[{text}]({to}{'#' if anchor else ''}{anchor})"


def named(line: str) -> str:
    """The names of the library in a line lead to the reference; its links stay what they are."""
    parts = re.split(r"(\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)]*\))", line)
    parts[::2] = [linked(part, public) for part in parts[::2]]
    return "".join(parts)


def public(name: str) -> str | None:
    """Where the reference has a public name, or something of it: `Frame`, `Frame.fin`."""
    return f"firefly_ws.{name}" if name.partition(".")[0] in firefly_ws.__all__ else None


def folded(row: re.Match[str]) -> str:
    """A row of the table of features, its long list of tests folded in."""
    count = row[2].count("`test_")
    return f"{row[1]} <details><summary>{count} test{'s' * (count != 1)}</summary>{row[2]}</details> |"


def examples() -> str:
    """A page of the programs below `examples/`."""
    text = "# Examples\n\nEach is a whole program below `examples/` of the checkout, and is run by the tests.\n"
    for path in sorted((ROOT / "examples").glob("*.py")):
        text += f"\n## {path.name} {{ #{path.stem} }}\n\n```python\n{path.read_text().rstrip()}\n```\n"
    return text


if __name__ == "__main__":
    main()
