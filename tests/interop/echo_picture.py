"""Writes `docs/echo.png`: the page of `firefly-ws echo` in Chromium, with a conversation in its log.

`PYTHONPATH=. python tests/interop/echo_picture.py [--dark] [--size WIDTHxHEIGHT] [FILE]`
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "net"))

from certificates import Authority  # noqa: E402
from chromium import Chromium, Page  # noqa: E402
from command import Echo, echoing  # noqa: E402

TALK = """
    const $ = id => document.getElementById(id);
    const until = async count => {
        while ($('log').childElementCount < count) await new Promise(done => setTimeout(done, 5));
    };
    $('connect').click();
    await until(1);
    for (const [number, text] of ['Rock it with HTML5 WebSocket', 'ä € 😀'].entries()) {
        $('message').value = text;
        $('send').click();
        await until(3 + 2 * number);
    }
"""


async def picture(chromium: Chromium, echo: Echo, file: Path, size: tuple[int, int], dark: bool) -> bytes:
    async with chromium.page(echo.page, served=True) as page:
        await page.run(TALK)
        await page.choose("#file", file)
        await _send_file(page)
        return await page.picture(*size, dark=dark)


async def _send_file(page: Page) -> None:
    code = "document.getElementById('sendfile').click();"
    wait = "while (document.getElementById('log').childElementCount < 7) await new Promise(f => setTimeout(f, 5));"
    await page.run(code + wait + "document.getElementById('message').focus()")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--size", default="960x656")
    parser.add_argument("file", nargs="?", default=HERE.parent.parent / "docs" / "echo.png", type=Path)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        directory = Path(name)
        some = directory / "photo.jpg"
        some.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(1990))
        chromium = Chromium(path, directory, trusted=Authority(directory).issue("localhost").certificate)
        try:
            with echoing() as echo:
                png = asyncio.run(picture(chromium, echo, some, (width, height), options.dark))
        finally:
            chromium.end()
    options.file.write_bytes(png)


if __name__ == "__main__":
    main()
