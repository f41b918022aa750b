"""Orders as dataclasses over JSON: a shop and a customer in one script, which ends by itself.

``python examples/json_orders.py``; needs ``pip install firefly-ws[serialization]``.
"""

import asyncio
from dataclasses import dataclass

from firefly_ws import DeserializeError, WebSocketConnection, http_client, http_server, run


@dataclass
class Order:
    item: str
    count: int


@dataclass
class Confirmed:
    number: int
    price: float


@dataclass
class Refused:
    why: str


PRICES = {"tea": 3.5, "cup": 8.0}


def on_order(order: Order, connection: WebSocketConnection) -> None:
    number = connection.attributes["orders"] = connection.attributes.get("orders", 0) + 1
    if order.item in PRICES:
        connection.send_serialized(Confirmed(number, PRICES[order.item] * order.count))
    else:
        connection.send_serialized(Refused(f"there is no {order.item}"))


def on_error(connection: WebSocketConnection, error: BaseException) -> None:
    # A message that is no order; the connection stays open.
    if isinstance(error, DeserializeError):
        connection.send_serialized(Refused(str(error)))


async def main() -> None:
    answers: asyncio.Queue[Confirmed | Refused] = asyncio.Queue()
    async with (
        http_server()
        .websocket("/orders")
        .on_message(on_order, type=Order)
        .on_error(on_error)
        .listen("127.0.0.1", 0) as shop,
        http_client()
        .websocket(f"ws://127.0.0.1:{shop.port}/orders")
        .on_message(lambda answer, connection: answers.put_nowait(answer), type=Confirmed | Refused)
        .connect() as customer,
    ):
        customer.send_serialized(Order("tea", 2))
        customer.send_serialized(Order("moon", 1))
        customer.send_text('{"item": "cup", "count": "many"}')
        customer.send_serialized(Order("cup", 1))
        for _ in range(4):
            match await answers.get():
                case Confirmed(number, price):
                    print(f"order {number}: {price:.2f}")
                case Refused(why):
                    print(f"refused: {why}")


run(main)
