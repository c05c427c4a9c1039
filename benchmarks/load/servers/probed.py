"""fastsse with a look inside: ``GET /probe`` counts tasks, and the cost of the pump's turns since the last request."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from fastsse.broadcast.app import create_app
from fastsse.broadcast.hub.delivery import Delivery
from fastsse.broadcast.settings import Settings

_turn = Delivery._turn
spent = {"turns": 0, "wall": 0, "cpu": 0, "sends": 0}  # wall and cpu in ns


def _timed(delivery: Delivery) -> None:
    sends = delivery._stats.sends
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    _turn(delivery)
    spent["cpu"] += time.thread_time_ns() - cpu
    spent["wall"] += time.perf_counter_ns() - wall
    spent["turns"] += 1
    spent["sends"] += delivery._stats.sends - sends


Delivery._turn = _timed  # type: ignore[method-assign]
broadcast = create_app(Settings.load())
broadcast.keep_scope = "path"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/probe":
        await _answer(send)
    else:
        await broadcast(scope, receive, send)


async def _answer(send: Any) -> None:
    body = json.dumps(spent | {"tasks": len(asyncio.all_tasks())}).encode()
    spent.update(dict.fromkeys(spent, 0))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
