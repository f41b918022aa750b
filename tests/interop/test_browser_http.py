"""A page that Chromium has from our server asks the same port by fetch and by WebSocket, at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from certificates import Issued
from chromium import Chromium
from support import echo, nothing_leaks  # noqa: F401

from firefly_ws import Request, Response, http_server

pytestmark = pytest.mark.peers

BOTH = """
    const socket = new WebSocket(location.origin.replace('http', 'ws') + '/chat'), next = events(socket), wrong = [];
    await next();
    const ask = async number => {
        const answer = await (await fetch(`/number/${number}`)).json();
        if (answer.number !== number) wrong.push(answer);
    };
    const asked = Promise.all([...Array(200).keys()].map(ask));
    for (let i = 0; i < 200; i++) socket.send(`message ${i}`);
    for (let i = 0; i < 200; i++) {
        const [kind, data] = await next();
        if (kind !== 'text' || data !== `message ${i}`) wrong.push([kind, data]);
    }
    await asked;
    const posted = await (await fetch('/upload', {method: 'POST', body: new Uint8Array(300000)})).text();
    const pieces = (await fetch('/ticks')).body.getReader(), ticks = [];
    for (let got; !(got = await pieces.read()).done;) ticks.push(new TextDecoder().decode(got.value));
    socket.close(1000);
    await next();
    return {wrong, posted, ticks: ticks.join(''), chat: (await fetch('/chat')).status, title: document.title};
"""


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.usefixtures("nothing_leaks")
async def test_one_page_fetches_and_talks_on_one_port(  # F11, K2, W1
    chromium: Chromium, certificate: Issued, secure: bool
) -> None:
    async def later(request: Request) -> dict[str, int]:
        number = int(request.path_params["number"])
        await asyncio.sleep(number % 3 / 1000)
        return {"number": number}

    async def upload(request: Request) -> str:
        return str(len(await request.body()))

    async def ticks(request: Request) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number} "
            await asyncio.sleep(0)

    app = (
        http_server()
        .get("/", lambda request: Response(200, "<!doctype html><title>both</title>", content_type="text/html"))
        .get("/number/{number}", later)
        .post("/upload", upload)
        .get("/ticks", ticks)
        .websocket("/chat")
        .on_message(echo)
    )
    if secure:
        app.secure(certificate.server_context())
    async with app.listen("127.0.0.1", 0) as server:
        scheme = "https" if secure else "http"
        async with chromium.page(f"{scheme}://127.0.0.1:{server.port}/", served=True) as page:
            said = await page.run(BOTH)
    assert said == {"wrong": [], "posted": "300000", "ticks": "0 1 2 ", "chat": 426, "title": "both"}
