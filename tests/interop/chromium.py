"""A browser whose pages run JavaScript for a test; our own client drives it, over its DevTools socket.

Knows the few DevTools commands that open a page, run code in it, and close it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import os
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from firefly_ws import WebSocketConnection, http_client

EMPTY = base64.b64encode(b"<!doctype html><title>empty</title>").decode()
LIMIT = 60.0  # seconds, for the browser to begin, and for one script of a page

# No window, no sandbox (which root cannot have), and no traffic of the browser's own.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-proxy-server",
    "--disable-features=LocalNetworkAccessChecks",  # pages of other sites may not ask for 127.0.0.1 otherwise
    "--remote-debugging-port=0",
]


class Chromium:
    """A running browser; with *trusted* it accepts that certificate, whoever signed it."""

    def __init__(self, path: str, directory: Path, *, trusted: Path) -> None:
        key = x509.load_pem_x509_certificate(trusted.read_bytes()).public_key()
        spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        digest = base64.b64encode(hashlib.sha256(spki).digest()).decode()
        self._process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={directory}", f"--ignore-certificate-errors-spki-list={digest}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(directory)},
        )
        self._timer = threading.Timer(LIMIT, self._process.kill)
        self._timer.start()
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if line.startswith("DevTools listening on "):
                self.url = line.split()[-1]
                break
        else:
            raise RuntimeError(f"{path} ended without listening: {''.join(said)[-1000:]}")
        self._timer.cancel()
        # What it goes on to say must not fill the pipe.
        self._reading = threading.Thread(target=self._process.stderr.read)
        self._reading.start()

    def end(self) -> None:
        """Kill it, and what it has started with it: they end when their pipe to it does."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    @asynccontextmanager
    async def page(self, url: str, *, served: bool = False) -> AsyncIterator[Page]:
        """A new page at *url*, closed at the end: empty, or with *served* what a server answers there."""
        devtools = DevTools()
        client = http_client().websocket(self.url).max_message_size(2**24).on_text(devtools.received)
        async with client.connect() as devtools.connection:
            target = (await devtools.call("Target.createTarget", url="about:blank"))["targetId"]
            attached = await devtools.call("Target.attachToTarget", targetId=target, flatten=True)
            page = Page(devtools, attached["sessionId"])
            if not served:
                # Pages come from here, so that they may be of any origin.
                await devtools.call("Fetch.enable", attached["sessionId"])
            await page.open(url)
            yield page
            await devtools.call("Target.closeTarget", targetId=target)


class DevTools:
    """Commands and their answers."""

    connection: WebSocketConnection

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    def received(self, text: str, connection: WebSocketConnection) -> None:
        """An answer, or an event that nobody asked for."""
        answer = json.loads(text)
        if answer.get("method") == "Fetch.requestPaused":
            params = {"requestId": answer["params"]["requestId"], "responseCode": 200, "body": EMPTY}
            self._send("Fetch.fulfillRequest", answer["sessionId"], params)
        waiting = self._answers.pop(answer.get("id"), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _send(self, method: str, session: str | None, params: dict[str, Any]) -> int:
        number = next(self._numbers)
        to = {} if session is None else {"sessionId": session}
        self.connection.send(json.dumps({"id": number, "method": method, "params": params, **to}))
        return number

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Run a command; raises what the browser answers to a bad one."""
        number = self._send(method, session, params)
        self._answers[number] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(LIMIT):
            answer = await self._answers[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result


class Page:
    """A page; what it runs for a test sees `PRELUDE`."""

    def __init__(self, devtools: DevTools, session: str) -> None:
        self._devtools, self._session = devtools, session

    async def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        found = await self._devtools.call("Page.navigate", self._session, url=url)
        assert "errorText" not in found, f"{url}: {found['errorText']}"
        await self.run(
            "await new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    async def run(self, code: str, **values: Any) -> Any:
        """Run the body of an async function, with *values* as its names; gives what it returns, by way of JSON."""
        names = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
        answer = await self._devtools.call(
            "Runtime.evaluate",
            self._session,
            expression=f"(async () => {{ {PRELUDE}\n{names}{code}\n }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", answer))
        return answer["result"].get("value")

    async def choose(self, selector: str, *files: Path) -> None:
        """Choose files in the input that *selector* finds, as a user does."""
        await self._devtools.call("DOM.enable", self._session)
        root = (await self._devtools.call("DOM.getDocument", self._session))["root"]["nodeId"]
        found = await self._devtools.call("DOM.querySelector", self._session, nodeId=root, selector=selector)
        names = [str(file) for file in files]
        await self._devtools.call("DOM.setFileInputFiles", self._session, nodeId=found["nodeId"], files=names)

    async def press(self, key: str, code: int, text: str = "", modifiers: int = 0) -> None:
        """Press a key and let it go, wherever the focus is; *modifiers* 8 is Shift."""
        keys = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        await self._devtools.call("Input.dispatchKeyEvent", self._session, type="keyDown", text=text, **keys)
        await self._devtools.call("Input.dispatchKeyEvent", self._session, type="keyUp", **keys)

    async def picture(self, width: int, height: int, *, dark: bool = False) -> bytes:
        """The page as PNG, in a window of that size."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._devtools.call("Emulation.setEmulatedMedia", self._session, features=[scheme])
        await self._devtools.call("Emulation.setScrollbarsHidden", self._session, hidden=True)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._devtools.call("Emulation.setDeviceMetricsOverride", self._session, **size)
        shot = await self._devtools.call("Page.captureScreenshot", self._session, format="png")
        return base64.b64decode(shot["data"])


# `events(socket)`: an async queue of what happens to a socket, each as a list.
PRELUDE = """
const events = socket => {
    socket.binaryType = 'arraybuffer';
    const kept = [], waiting = [];
    const put = event => waiting.length ? waiting.shift()(event) : kept.push(event);
    socket.onopen = () => put(['open', socket.protocol, socket.extensions]);
    socket.onmessage = ({data}) => put(typeof data === 'string' ? ['text', data] : ['binary', data]);
    socket.onerror = () => put(['error']);
    socket.onclose = ({code, reason, wasClean}) => put(['close', code, reason, wasClean]);
    return () => kept.length ? Promise.resolve(kept.shift()) : new Promise(done => waiting.push(done));
};
"""
