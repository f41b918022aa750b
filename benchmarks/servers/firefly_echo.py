"""firefly_ws' echo servers: one route, its limit raised, and one of the ways to hand a message to the user."""

from typing import Any

from firefly_ws import Request, Response, http_server

LARGEST = 32 * 1024 * 1024


def on_message(frame: Any, connection: Any) -> None:
    connection.send_frame(frame)


async def on_message_async(frame: Any, connection: Any) -> None:
    await connection.send_frame(frame)


def on_text(text: str, connection: Any) -> None:
    connection.send_text(text)


def on_binary(data: bytes, connection: Any) -> None:
    connection.send_data(data)


def hello(request: Any) -> str:
    return "Hello, World!"


def on_upgrade(request: Request) -> Response | None:
    return None if request.path_params["name"] == "garden" else Response(403, "there is no such room")


async def start(variant: str) -> int:
    """`http`: an answer on a route; `asgi`: the same by a bare ASGI application; `starlette`: its echo below `.asgi`;
    `typed`: `on_text` and `on_binary`; `async`: an `async def` that awaits its send; `deflate`, `defaults`: the
    default extensions; `chain`: `fragment` as well; `hooks`: a route with a parameter, and on_upgrade, which reads it;
    otherwise `on_message`. None is agreed on unless it is offered."""
    if variant in ("http", "asgi", "starlette"):
        from benchmarks.servers import uvicorn_echo

        app = http_server().max_message_size(LARGEST).extensions([])
        if variant == "http":
            app.get("/", hello)
        else:
            app.asgi(uvicorn_echo.hello if variant == "asgi" else uvicorn_echo.echoing())
        return int((await app.listen("127.0.0.1", 0)).port)
    app = http_server()
    if variant == "hooks":
        app.on_upgrade(on_upgrade)
    route = app.websocket("/room/{name}" if variant == "hooks" else "/").max_message_size(LARGEST)
    if variant == "chain":
        route = route.extensions(["fragment", "permessage-deflate"])
    elif variant not in ("deflate", "defaults"):
        route = route.extensions([])
    if variant == "typed":
        route = route.on_text(on_text).on_binary(on_binary)
    elif variant == "async":
        route = route.on_message(on_message_async)
    else:
        route = route.on_message(on_message)
    server = await route.listen("127.0.0.1", 0)
    return int(server.port)
