"""The page of `firefly-ws echo` in Chromium, served by the command itself, over http and https."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from certificates import Issued
from chromium import Chromium, Page
from command import Echo, echoing
from echo_picture import picture
from support import nothing_leaks  # noqa: F401

pytestmark = pytest.mark.peers
ROOT = Path(__file__).parent.parent.parent

# `log()` is what the log shows; `until(n)` waits for its first n lines; `press(id)` clicks, if that is possible.
TOOLS = """
const $ = id => document.getElementById(id);
const lines = () => [...document.querySelectorAll('#log .what')];
const log = () => lines().map(line => line.textContent);
const until = async count => {
    while (lines().length < count) await new Promise(done => setTimeout(done, 5));
    return log();
};
const press = id => { if ($(id).disabled) throw new Error(`${id} is disabled`); $(id).click(); };
const say = text => { $('message').value = text; press('send'); };
const able = () => ['connect', 'disconnect', 'send', 'sendfile'].filter(id => !$(id).disabled);
"""


class EchoPage:
    """The page, and what its user does."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def run(self, code: str, **values: Any) -> Any:
        return await self.page.run(TOOLS + code, **values)


@pytest.fixture(params=["http", "https"])
def command(request: pytest.FixtureRequest, certificate: Issued) -> Iterator[Echo]:
    """The command, with TLS or without."""
    files = ["--cert", str(certificate.certificate), "--key", str(certificate.key)]
    with echoing(*(files if request.param == "https" else [])) as echo:
        yield echo


@pytest.fixture
def opened(chromium: Chromium, command: Echo) -> AbstractAsyncContextManager[Page]:
    return chromium.page(command.page, served=True)


@pytest.fixture
async def echo(opened: AbstractAsyncContextManager[Page], nothing_leaks: None) -> AsyncIterator[EchoPage]:  # noqa: F811
    """The page in the browser."""
    async with opened as page:
        yield EchoPage(page)


async def test_the_page_knows_its_server_and_sends_text_and_gets_it_back(echo: EchoPage, command: Echo) -> None:  # W3
    code = """
        const before = [$('support').textContent, $('location').value, $('message').value, ...able()];
        press('connect');
        await until(1);
        press('send');
        await until(3);
        const after = able();
        press('disconnect');
        await until(4);
        return [before, after, log(), able(), getComputedStyle(lines()[2]).color];
    """
    before, while_open, log, after, color = await echo.run(code)
    assert command.url.startswith("wss:" if command.page.startswith("https:") else "ws:")
    assert before == ["This browser supports WebSocket", command.url, "Rock it with HTML5 WebSocket", "connect"]
    assert while_open == ["disconnect", "send"]
    said = "Rock it with HTML5 WebSocket"
    assert log == ["CONNECTED", f"SENT: {said}", f"RECEIVED: {said}", "DISCONNECTED"]
    assert after == ["connect"]
    assert color == "rgb(11, 80, 208)"


@pytest.mark.parametrize("text", ["", "ä€😀 中文", "<b>no markup</b>\nin two lines", "a" * 10000])
async def test_every_text_is_shown_as_it_is(echo: EchoPage, text: str) -> None:  # W3
    log = await echo.run("press('connect'); await until(1); say(text); return await until(3)", text=text)
    assert log == ["CONNECTED", f"SENT: {text}", f"RECEIVED: {text}"]


async def test_a_file_goes_as_one_binary_message(echo: EchoPage, tmp_path: Path) -> None:  # W3
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    small.write_bytes(b"\x00\x01\xff\n")
    large.write_bytes(bytes(range(256)) * 2**14)
    await echo.run("press('connect'); await until(1)")
    for count, file in ((3, small), (5, large)):
        await echo.page.choose("#file", file)
        await echo.run("press('sendfile'); await until(count)", count=count)
    code = "return [log(), [...document.querySelectorAll('.sent .detail')].map(one => one.textContent)]"
    (_, *log), details = await echo.run(code)
    begin = "4,194,304 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f …"
    four = "4 bytes: 00 01 ff 0a"
    assert log == [f"SENT: {four}", f"RECEIVED: {four}", f"SENT: {begin}", f"RECEIVED: {begin}"]
    assert details == ["binary, small.bin", "binary, large.bin"]


async def test_enter_connects_and_sends_and_shift_enter_begins_a_line(echo: EchoPage) -> None:  # W3
    await echo.run("$('location').focus()")
    await echo.page.press("Enter", 13, "\r")
    await echo.run("await until(1); $('message').value = 'one'; $('message').focus()")
    for modifiers in (8, 0):
        await echo.page.press("Enter", 13, "\r", modifiers)
    assert await echo.run("return await until(3)") == ["CONNECTED", "SENT: one\n", "RECEIVED: one\n"]


async def test_the_focus_is_never_lost_with_a_button(echo: EchoPage) -> None:
    code = """
        const where = [];
        for (const [id, count] of [['connect', 1], ['disconnect', 2]]) {
            $(id).focus();
            press(id);
            await until(count);
            where.push(document.activeElement.id);
        }
        return where;
    """
    assert await echo.run(code) == ["message", "connect"]


async def test_everything_has_a_name_and_the_log_is_read_out(echo: EchoPage) -> None:  # W3
    code = """
        const named = [...document.querySelectorAll('input, textarea, button')];
        return [
            named.map(one => one.labels.length ? one.labels[0].textContent : one.textContent),
            $('log').getAttribute('aria-live'), $('log').getAttribute('role'), $('log').tabIndex,
        ];
    """
    names = ["Location", "Connect", "Disconnect", "Message", "Send", "File", "Send file", "Clear log"]
    assert await echo.run(code) == [names, "polite", "log", 0]


async def test_the_log_can_be_cleared(echo: EchoPage) -> None:  # W3
    log = await echo.run("press('connect'); await until(1); press('clear'); say('on'); return await until(2)")
    assert log == ["SENT: on", "RECEIVED: on"]


async def test_a_server_that_ends_disconnects_and_one_that_is_gone_is_an_error(  # W3
    echo: EchoPage, command: Echo
) -> None:
    await echo.run("press('connect'); await until(1)")
    assert command.stop() == (0, "", "")
    code = "await until(2); press('connect'); await until(4); return [log(), $('log').textContent, able()]"
    log, whole, able = await echo.run(code)
    assert log == ["CONNECTED", "DISCONNECTED", "ERROR", "DISCONNECTED"]
    assert "1001 going away" in whole
    assert "1006" in whole
    assert able == ["connect"]


async def test_an_address_that_is_none_is_an_error(echo: EchoPage) -> None:
    code = "$('location').value = 'ftp://example.com/'; press('connect'); return [await until(1), able()]"
    assert await echo.run(code) == [["ERROR"], ["connect"]]


async def test_a_message_beyond_the_servers_limit_says_so(echo: EchoPage, tmp_path: Path) -> None:
    # A file: for so much text in a field Chromium takes half a minute.
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(2**24 + 1))
    await echo.run("press('connect'); await until(1)")
    await echo.page.choose("#file", file)
    code = "press('sendfile'); await until(3); return [log().at(-1), $('log').lastChild.textContent]"
    last, whole = await echo.run(code)
    assert last == "DISCONNECTED"
    assert "1009 message too big" in whole


async def test_two_pages_each_see_only_their_own_and_stay_connected(  # W4
    chromium: Chromium, echo: EchoPage, command: Echo
) -> None:
    async with chromium.page(command.page, served=True) as second:
        other = EchoPage(second)
        for page in (echo, other):
            await page.run("press('connect'); await until(1)")
        for number in range(3):
            await echo.run("say(text); await until(count)", text=f"one {number}", count=3 + 2 * number)
            await other.run("say(text); await until(count)", text=f"other {number}", count=3 + 2 * number)
        assert await echo.run("press('disconnect'); return (await until(8)).at(-1)") == "DISCONNECTED"
        # The other one's connection stays.
        log = await other.run("say('still here'); return await until(9)")
        expected = [f"{what}: other {number}" for number in range(3) for what in ("SENT", "RECEIVED")]
        assert log == ["CONNECTED", *expected, "SENT: still here", "RECEIVED: still here"]


async def test_the_page_asks_the_network_for_nothing_else(echo: EchoPage) -> None:  # W3
    assert await echo.run("return performance.getEntriesByType('resource').map(one => one.name)") == []


async def test_the_picture_of_the_documentation_can_be_made_again(  # W3
    chromium: Chromium,
    tmp_path: Path,
    nothing_leaks: None,  # noqa: F811
) -> None:
    (tmp_path / "photo.jpg").write_bytes(bytes(2000))
    with echoing() as command:
        made = await picture(chromium, command, tmp_path / "photo.jpg", (960, 656), dark=False)
    shown = (ROOT / "docs" / "echo.png").read_bytes()
    assert made[:24] == shown[:24]  # PNG, of the same width and height
