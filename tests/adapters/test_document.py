"""The applications that docs/adapters.md shows, each served as it stands there."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from support.blocks import code_blocks
from support.neighbours import need
from support.servers import ROOT, Clients, serve_command

from fastsse import decode

DOCUMENT = ROOT / "docs" / "adapters.md"
BLOCKS = [block.text for block in code_blocks(DOCUMENT) if block.language == "python"]
DJANGO = """
from django.conf import settings
settings.configure(ROOT_URLCONF="shown", SECRET_KEY="none", ALLOWED_HOSTS=["*"])
from django.core.asgi import get_asgi_application
app = get_asgi_application()
"""
BARE = "from shown import app\n"
AIOHTTP = (
    "import sys, shown\nshown.web.run_app(shown.app, host='127.0.0.1', port=int(sys.argv[1]))\n"
)
SANIC = """
import sys
from shown import app
if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), single_process=True, motd=False)
"""
UVICORN = ("uvicorn", "--port", "PORT", "main:app")
HYPERCORN = ("hypercorn", "--workers", "0", "--bind", "127.0.0.1:PORT", "main:app")
GUNICORN = ("gunicorn", "-k", "gthread", "--threads", "8", "-b", "127.0.0.1:PORT", "main:app")
APPLICATIONS = {
    "litestar": (BARE, UVICORN),
    "aiohttp": (AIOHTTP, ("main", "PORT")),
    "sanic": (SANIC, ("main", "PORT")),
    "quart": (BARE, HYPERCORN),
    "django": (DJANGO, UVICORN),
    "flask": (BARE, GUNICORN),
}


def test_each_application_has_its_test() -> None:
    assert len(APPLICATIONS) + 1 == len(BLOCKS)


@pytest.mark.long
@pytest.mark.parametrize("framework", APPLICATIONS)
async def test_an_answer_and_a_hub(framework: str, tmp_path: Path, clients: Clients) -> None:
    need(framework)
    main, command = APPLICATIONS[framework]
    [shown] = [block for block in BLOCKS if f"fastsse.adapters.{framework} " in block]
    (tmp_path / "shown.py").write_text(shown, "utf-8")
    (tmp_path / "main.py").write_text(main, "utf-8")
    path = f"{ROOT}{os.pathsep}{tmp_path}"

    with serve_command([sys.executable, "-m", *command], status=404, PYTHONPATH=path) as server:
        answer = await asyncio.to_thread(server.request, "GET", "/answer?question=why+not")
        stream = await clients.follow(server, "/events")
        posted = await asyncio.to_thread(server.request, "POST", "/news?text=hello")
        [event] = await stream.events(1)
        await stream.close()

    assert ["why", "not"] == [event.data for event in decode(answer.body)]
    assert (True, "hello") == (posted.status < 300, event.data)


def test_the_application_of_wsgi() -> None:
    names: dict[str, object] = {}
    exec(BLOCKS[-1], names)

    parts = names["app"]({"REQUEST_METHOD": "GET"}, lambda *_: None)  # type: ignore[operator]

    assert ["hello", "world"] == [event.data for event in decode(b"".join(parts))]
