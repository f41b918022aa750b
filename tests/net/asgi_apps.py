"""Applications for the tests of ASGI; knows neither of the servers that they run on."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Header, HTTPException, WebSocket, WebSocketDisconnect


def sockets() -> FastAPI:
    """Websockets: /echo, /user (refuses, or closes with 3001), /refused, /returns, /raises, /raises-first, /floods."""
    app = FastAPI()

    def user(authorization: str = Header("")) -> str:
        if authorization != "Bearer x":
            raise HTTPException(401, "who are you?", {"x-why": "token"})
        return "ada"

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-own", b"1")])
        while True:
            event = await websocket.receive()
            if event["type"] == "websocket.disconnect":
                app.state.left = (event["code"], event["reason"])
                return
            await websocket.send({**event, "type": "websocket.send"})

    @app.websocket("/user")
    async def named(websocket: WebSocket, name: str = Depends(user)) -> None:
        await websocket.accept(subprotocol="chat")
        await websocket.send_json({"user": name, "path": websocket.url.path, "offered": websocket["subprotocols"]})
        await websocket.close(3001, "bye")

    @app.websocket("/refused")
    async def refused(websocket: WebSocket) -> None:
        await websocket.close()

    @app.websocket("/returns")
    async def returns(websocket: WebSocket) -> None:
        await websocket.accept()

    @app.websocket("/raises")
    async def raises(websocket: WebSocket) -> None:
        await websocket.accept()
        raise ValueError("boom")

    @app.websocket("/raises-first")
    async def raises_first(websocket: WebSocket) -> None:
        raise ValueError("boom")

    @app.websocket("/floods")
    async def floods(websocket: WebSocket) -> None:
        await websocket.accept()
        app.state.sent = 0
        try:
            while True:
                await websocket.send_bytes(bytes(100_000))
                app.state.sent += 1
        except WebSocketDisconnect:
            app.state.left = True

    return app
