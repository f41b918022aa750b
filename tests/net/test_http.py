"""HTTP beside websockets on one port: requests, answers, their order, and the turn to a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any

import httpx
import pytest
from http_support import answer, request, serving
from support import (
    TEXT,
    Inbox,
    echo,
    frame,
    logged,
    nothing_leaks,  # noqa: F401
    raw_client,
    soon,
    upgrade,
)

from firefly_ws import HttpServer, Request, Response, Server, http_client, http_server


async def later(value: Any) -> Any:
    await asyncio.sleep(0.01)
    return value


# --- routes


async def test_websockets_and_http_share_port_path_and_parameters() -> None:  # F11, W1
    app = (
        http_server()
        .get("/", lambda request: "home")
        .get("/room/{name}", lambda request: f"page of {request.path_params['name']}")
        .websocket("/room/{name}")
        .on_accept(lambda connection: connection.send(connection.request.path_params["name"]))
        .get("/files/*", lambda request: request.path_params["*"])
        .websocket("/chat")
        .on_message(echo)
    )
    async with app.listen("127.0.0.1", 0) as server:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            assert (await client.get("/")).text == "home"
            assert (await client.get("/room/a%2Fb")).text == "page of a/b"
            assert (await client.get("/files/x/y")).text == "x/y"
            refused = await client.get("/chat")
            assert (refused.status_code, refused.headers["upgrade"]) == (426, "websocket")
        url = f"ws://127.0.0.1:{server.port}"
        async with http_client().websocket(f"{url}/room/ada").connect() as connection:
            assert await soon(connection.receive()) == "ada"
        async with http_client().websocket(f"{url}/chat").connect() as connection:
            connection.send("hello")
            assert await soon(connection.receive()) == "hello"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_each_method_has_its_handler(method: str) -> None:  # F11
    def change(app: HttpServer) -> None:
        for name in ("get", "post", "put", "patch", "delete"):
            getattr(app, name)("/", lambda request, name=name: f"{name} {request.method}")

    async with serving(change) as (_, peer):
        peer.send(request(method))
        assert (await answer(peer)).body.decode() == f"{method.lower()} {method}"


async def test_another_method_gets_405_and_options_204_with_allow() -> None:
    async with serving(lambda app: app.get("/", lambda _: "x").post("/", lambda _: "y")) as (_, peer):
        for method, status in (("DELETE", 405), ("OPTIONS", 204)):
            peer.send(request(method))
            got = await answer(peer)
            assert (got.status, got.headers["allow"]) == (status, "GET, HEAD, OPTIONS, POST")
        peer.send(request("OPTIONS", "*"))
        assert (await answer(peer)).status == 204


async def test_a_body_that_is_no_json_is_its_senders_fault() -> None:
    async def keys(request: Request) -> str:
        return ",".join(await request.json())

    caught: list[ValueError] = []

    async def careful(request: Request) -> str:
        try:
            await request.json()
        except ValueError as error:
            caught.append(error)
        return "well"

    async with serving(lambda app: app.post("/", keys).post("/careful", careful)) as (server, peer):
        with logged() as log:
            for body in (b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000):
                peer.send(request("POST", body=body, accept="application/json", content_length=f"{len(body)}"))
                got = await answer(peer)
                assert (got.status, got.body[:44]) == (400, b'{"status":400,"error":"the body is no JSON: '), body[:9]
                for word in (b"sys.", b"codec", b"recursion", b"char "):  # Python's own words
                    assert word not in got.body
            peer.send(request("POST", body=b'{"a":1}'), request("POST", "/careful", body=b"{"))
            assert [(await answer(peer)).body for _ in range(2)] == [b"a", b"well"]
        assert log == []
        assert len(caught) == 1
        assert server.stats()["http_errors"] == 0


async def test_what_is_no_json_is_not_sent_as_some() -> None:
    async with serving(lambda app: app.get("/", lambda _: {"rate": float("nan")})) as (_, peer):
        with logged() as log:
            peer.send(request())
            assert (await answer(peer)).status == 500
        assert [type(record.exc_info[1]) for record in log if record.exc_info] == [ValueError]


async def test_head_is_answered_as_get_without_the_body() -> None:
    async with serving(lambda app: app.get("/", lambda _: "four")) as (_, peer):
        peer.send(request("HEAD"), request())
        got = await answer(peer, "HEAD")
        assert (got.status, got.headers["content-length"], "date" in got.headers) == (200, "4", True)
        assert (await answer(peer)).body == b"four"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("text/html;q=0.1, application/json;q=0.5", "application/json"),
        ("*/*", "text/plain; charset=utf-8"),
    ],
)
async def test_an_error_is_written_as_the_client_reads(accept: str, kind: str) -> None:
    async with serving(lambda app: app.get("/", lambda _: "x")) as (_, peer):
        peer.send(request(path="/<b>", accept=accept))
        got = await answer(peer)
        assert (got.status, got.headers["content-type"]) == (404, kind)
        assert (b"<b>" in got.body) == ("html" not in kind)


@pytest.mark.parametrize("wrap", [lambda value: value, later], ids=["plain", "async"])
async def test_own_pages_for_404_and_errors(wrap: Any) -> None:  # F11
    def change(app: HttpServer) -> None:
        app.on_not_found(lambda request: wrap(f"no {request.path} here"))
        app.on_exception(lambda request, error: wrap(Response(503, f"{error!r} at {request.path}")))
        app.get("/boom", lambda request: wrap(None) if request.query else {}["key"])

    async with serving(change) as (_, peer):
        with logged() as records:
            peer.send(request(path="/nothing"), request(path="/boom"), request(path="/boom?none"))
            got = [await answer(peer) for _ in range(3)]
        assert [one.status for one in got] == [404, 503, 503]
        assert [one.body for one in got[:2]] == [b"no /nothing here", b"KeyError('key') at /boom"]
        assert b"not None" in got[2].body
        assert len(records) == 2


# --- handlers and their answers


def of_a_thread(value: Any) -> Any:
    return asyncio.get_running_loop().run_in_executor(None, lambda: value)


@pytest.mark.parametrize("wrap", [lambda value: value, later, of_a_thread], ids=["plain", "async", "future"])
@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ("ä", "ä".encode(), "text/plain; charset=utf-8"),
        (b"\0", b"\0", "application/octet-stream"),
        ({"a": [1]}, b'{"a":[1]}', "application/json"),
        ([1, 2], b"[1,2]", "application/json"),
        (("a", b"b"), b"ab", "application/octet-stream"),
    ],
)
async def test_what_a_handler_may_return(wrap: Any, value: Any, body: bytes, kind: str) -> None:  # F11
    async with serving(lambda app: app.get("/", lambda _: wrap(value))) as (_, peer):
        peer.send(request())
        got = await answer(peer)
        assert (got.status, got.headers["content-type"], got.body) == (200, kind, body)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_handler_that_raises_gives_500_without_the_reason_and_the_connection_goes_on(is_async: bool) -> None:
    async def raising(request: Request) -> None:
        await asyncio.sleep(0)
        raise KeyError("secret")

    handler = raising if is_async else lambda request: {}["secret"]
    async with serving(lambda app: app.get("/", handler).get("/fine", lambda _: "fine")) as (_, peer):
        with logged() as records:
            peer.send(request(), request(path="/fine"))
            got = await answer(peer)
        assert (got.status, b"secret" in got.body, b"Traceback" in got.body) == (500, False, False)
        assert "GET /" in records[0].getMessage()
        assert records[0].exc_info is not None
        assert (await answer(peer)).body == b"fine"


async def test_facts_of_a_request() -> None:
    def handler(request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "cookies": request.cookies,
            "x": request.headers.get("x-y"),
            "host": request.host,
            "peer": request.remote_address[0],
        }

    async with serving(lambda app: app.get("/a", handler)) as (server, peer):
        async with httpx.AsyncClient(cookies={"c": "d"}) as client:
            got = await client.get(f"http://127.0.0.1:{server.port}/a?q=%C3%A4", headers={"X-Y": "z"})
        host = f"127.0.0.1:{server.port}"
        facts = {"method": "GET", "path": "/a", "query": {"q": "ä"}, "cookies": {"c": "d"}, "x": "z", "host": host}
        assert got.json() == {**facts, "peer": "127.0.0.1"}
        peer.send(request(path="http://other.example:81/a"))
        assert b'"host":"other.example:81"' in (await answer(peer)).body


async def test_cookies_and_redirects() -> None:
    def change(app: HttpServer) -> None:
        app.post("/in", lambda _: Response.redirect("/me", 303).cookie("name", "ada").cookie("b", "2", max_age=60))
        app.get("/me", lambda request: request.cookies)

    async with serving(change) as (server, _), httpx.AsyncClient(follow_redirects=True) as client:
        got = await client.post(f"http://127.0.0.1:{server.port}/in")
        assert got.json() == {"name": "ada", "b": "2"}


# --- order and length of connections


async def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    async def slow(request: Request) -> str:
        await asyncio.sleep(0.02)
        return "slow"

    async with serving(lambda app: app.get("/slow", slow).get("/{n}", lambda r: r.path_params["n"])) as (_, peer):
        peer.send(*[request(path=path) for path in ("/slow", "/1", "/slow", "/2", "/3")])
        assert [(await answer(peer)).body for _ in range(5)] == [b"slow", b"1", b"slow", b"2", b"3"]


async def test_a_thousand_requests_sent_ahead_and_cut_anyhow() -> None:
    async with serving(lambda app: app.post("/", lambda request: later_body(request))) as (_, peer):
        data = b"".join(
            request("POST", body=b"%d" % n)
            if n % 2
            else request("POST", body=b"1\r\n%d\r\n0\r\n\r\n" % (n % 10), transfer_encoding="chunked")
            for n in range(1000)
        )
        cut = [data[at : at + 777] for at in range(0, len(data), 777)]

        async def write() -> None:
            for part in cut:
                peer.send(part)
                await peer.writer.drain()
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        got = [(await answer(peer)).body for _ in range(1000)]
        await writing
        assert got == [b"%d" % (n if n % 2 else n % 10) for n in range(1000)]


async def later_body(request: Request) -> bytes:
    return await request.body()


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "x, Close", False),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
    ],
)
async def test_a_connection_stays_open_as_the_client_says(version: str, connection: str, stays: bool) -> None:
    async with serving(lambda app: app.get("/", lambda _: "x")) as (_, peer):
        peer.send(request(version=version, connection=connection))
        got = await answer(peer)
        assert got.body == b"x"
        assert got.headers.get("connection") == ("close" if not stays else "keep-alive" if version == "1.0" else None)
        if stays:
            peer.send(request(version=version, connection=connection))
            assert (await answer(peer)).body == b"x"
        else:
            assert await peer.rest() == b""


async def test_a_client_that_has_ended_its_side_gets_its_answers() -> None:
    async with serving(lambda app: app.get("/", lambda _: later("x"))) as (_, peer):
        peer.send(request(), request())
        peer.writer.write_eof()
        assert [(await answer(peer)).body for _ in range(2)] == [b"x", b"x"]
        assert await peer.rest() == b""


async def test_an_idle_connection_is_closed_behind_timeout() -> None:
    async with serving(lambda app: app.get("/", lambda _: "x").timeout(0.05)) as (_, peer):
        peer.send(request())
        assert (await answer(peer)).body == b"x"
        assert await peer.rest() == b""


# --- the turn to a websocket


async def test_a_connection_that_has_spoken_http_may_become_a_websocket() -> None:  # W1
    got = Inbox()
    async with serving(
        lambda app: app.get("/", lambda _: later("x")).get("/ws", lambda _: "page").websocket("/ws").on_text(got)
    ) as (_, peer):
        peer.send(request(), request(path="/ws"), upgrade("/ws"), frame(TEXT, "one"))
        assert [(await answer(peer)).body for _ in range(2)] == [b"x", b"page"]
        assert (await peer.head()).status == 101
        peer.send(frame(TEXT, "two"))
        assert await got.take(2) == ["one", "two"]


async def test_a_websocket_without_http_answers_by_the_rules_of_http_and_keeps_the_connection(  # W1
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Inbox()
    cases = (
        (request(path="/ws"), "GET", 426, b"this is a websocket: ask with Upgrade: websocket, in HTTP/1.1\n"),
        (request(path="/ws", accept="application/json"), "GET", 426, b'{"status":426,"error":"this is a websocket: '),
        (upgrade("/ws", upgrade="h2c"), "GET", 426, b"this is"),
        (upgrade("/ws", method="HEAD"), "HEAD", 426, b""),
        (upgrade("/ws", method="OPTIONS"), "OPTIONS", 204, b""),
        (upgrade("/ws", method="POST"), "POST", 405, b"method POST is not allowed\n"),
        (request(), "GET", 200, b"x"),
        (upgrade("/ws", version="1.0"), "GET", 426, b"this is"),
    )
    said: list[Any] = []
    monkeypatch.setattr("firefly_ws.answering.seldom", lambda *args: said.append(args))
    change = lambda app: app.get("/", lambda _: "x").on_upgrade(asked).websocket("/ws").discard()  # noqa: E731
    async with serving(change) as (_, peer):
        for sent, method, status, begin in cases:
            peer.send(sent)
            got = await answer(peer, method)
            assert (got.status, got.body[: len(begin) or None]) == (status, begin), sent
            if status == 426:
                assert got.headers["upgrade"] == "websocket", sent
            elif status != 200:
                assert got.headers["allow"] == "GET, HEAD, OPTIONS", sent
        assert await peer.rest() == b""
    assert len(asked) == 0
    assert [one[0] for one in said] == ["refused 426"] * 5


async def test_on_upgrade_refuses_the_websocket_and_leaves_http_alone() -> None:  # F11
    async with serving(
        lambda app: app.get("/ws", lambda _: "page").on_upgrade(lambda _: Response(403)).websocket("/ws").discard()
    ) as (_, peer):
        peer.send(request(path="/ws"), upgrade("/ws"))
        assert (await answer(peer)).body == b"page"
        assert (await peer.answer()).status == 403


# --- the server's end


async def test_a_closing_server_ends_idle_connections_at_once_and_lets_handlers_finish() -> None:
    go = asyncio.Event()

    async def slow(request: Request) -> str:
        await go.wait()
        return "done"

    async with serving(lambda app: app.get("/", lambda _: "x").get("/slow", slow)) as (server, idle):
        idle.send(request())
        await answer(idle)
        async with raw_client(server.port) as busy:
            busy.send(request(path="/slow"))
            await asyncio.sleep(0.02)
            closing = asyncio.ensure_future(server.close())
            assert await idle.rest() == b""
            assert not closing.done()
            go.set()
            got = await busy.answer()
            assert (got.body, got.headers["connection"]) == (b"done", "close")
            await soon(closing)


async def test_a_handler_that_outlives_the_grace_is_cancelled() -> None:
    ended = Inbox()

    async def slow(request: Request) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended("cancelled")

    async with serving(lambda app: app.get("/", slow)) as (server, peer):
        peer.send(request())
        await asyncio.sleep(0.02)
        await soon(server.close(grace=0.05))
        assert await ended.next() == "cancelled"
        with contextlib.suppress(ConnectionResetError):
            assert await peer.rest() == b""


async def test_a_handler_may_close_its_server_and_still_answers() -> None:
    servers: list[Server] = []

    async def handler(request: Request) -> str:
        await servers[0].close()
        return "closed"

    async with serving(lambda app: app.get("/", handler)) as (server, peer):
        servers.append(server)
        peer.send(request())
        assert (await answer(peer)).body == b"closed"


async def test_over_tls_too(net: Any) -> None:  # K3
    server = await net.listen(net.route().on_message(echo).get("/page", lambda request: {"secure": request.is_secure}))
    scheme = "https" if net.secure else "http"
    async with httpx.AsyncClient(verify=net.client_context or False) as client:
        for _ in range(2):
            got = await client.get(f"{scheme}://127.0.0.1:{server.port}/page")
            assert got.json() == {"secure": net.secure}


async def test_requests_have_contexts_of_their_own() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")

    async def handler(request: Request) -> str:
        before = name.get()
        name.set(request.path)
        await asyncio.sleep(0)
        return before

    async with serving(lambda app: app.get("/{n}", handler)) as (_, peer):
        peer.send(request(path="/1"), request(path="/2"), request(path="/3"))
        assert [(await answer(peer)).body for _ in range(3)] == [b"none"] * 3


async def test_a_client_that_has_ended_its_side_and_reads_late_gets_all_its_answers() -> None:
    async with serving(lambda app: app.get("/", lambda _: bytes(3_000_000))) as (_, peer):
        peer.send(request(), request(), request())
        peer.writer.write_eof()
        await asyncio.sleep(0.05)
        assert [len((await answer(peer)).body) for _ in range(3)] == [3_000_000] * 3
        assert await peer.rest() == b""
