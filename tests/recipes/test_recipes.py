"""The recipes of docs/recipes.md: each file as it stands, under a real server, with the other side that it names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.blocks import code_blocks
from support.neighbours import need
from support.servers import DEADLINE, ROOT, Server, serve_granian, serve_uvicorn
from support.twins import is_set

from fastsse import decode

NODE = ROOT / "tests" / "node"
PAGE = ROOT / "docs" / "recipes.md"
FILES = {
    block.text.partition("\n")[0].removeprefix("# "): block.text
    for block in code_blocks(PAGE)
    if block.language == "python"
}
HEALTH = """

@app.get("/health")
async def health():
    return {}
"""


@pytest.fixture(
    params=[
        pytest.param(serve_granian, id="granian"),
        pytest.param(serve_uvicorn, id="uvicorn", marks=pytest.mark.long),
    ]
)
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Serve a recipe by its file's name, with a few lines more that say that it is ready."""

    @contextmanager
    def start(name: str, more: str = "") -> Iterator[Server]:
        (tmp_path / name).write_text(FILES[name] + HEALTH + more, "utf-8")
        path = f"{ROOT}{os.pathsep}{tmp_path}"
        with request.param(app=f"{name.removesuffix('.py')}:app", PYTHONPATH=path) as server:
            yield server

    return start


def node(script: str, *arguments: str) -> Any:
    """Run a script of tests/node to its end, and return its one line of JSON."""
    packages = {"ai.js": "ai", "agui.js": "@ag-ui/client"}
    if shutil.which("node") is None or not (NODE / "node_modules" / packages[script]).is_dir():
        missing = "needs Node and, in tests/node: npm install"
        if is_set("FASTSSE_REQUIRE_NODE"):
            pytest.fail(f"FASTSSE_REQUIRE_NODE is set: {missing}")
        pytest.skip(missing)
    ran = subprocess.run(
        ["node", script, *arguments],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr
    return json.loads(ran.stdout)


def test_every_recipe_has_its_file_and_its_test() -> None:
    told = {
        "langchain_app.py",
        "vercel_app.py",
        "agui_app.py",
        "datastar_app.py",
        "htmx_app.py",
        "mcp_app.py",
    }

    assert told == set(FILES)


@pytest.mark.long  # its imports alone take seconds
def test_langchain(serve: Any) -> None:
    need("fastapi", "langchain_core")

    with serve("langchain_app.py") as server:
        reply = server.request("GET", "/answer?question=hi")

    *tokens, done = decode(reply.body)
    assert "Hello from a chain.\nBye." == "".join(event.json()["token"] for event in tokens)
    assert len(tokens) > 4
    assert "done" == done.event


@pytest.mark.node
def test_vercel(serve: Any) -> None:
    need("fastapi")

    with serve("vercel_app.py") as server:
        message = node("ai.js", f"{server.url}/api/chat")

    assert "assistant" == message["role"]
    assert [("text", "You said hello", "done")] == [
        (part["type"], part["text"], part["state"]) for part in message["parts"]
    ]


@pytest.mark.node
def test_agui(serve: Any) -> None:
    need("fastapi", "ag_ui.core")

    with serve("agui_app.py") as server:
        found = node("agui.js", f"{server.url}/agent")

    assert ["RUN_STARTED", "TEXT_MESSAGE_START"] == found["types"][:2]
    assert ["TEXT_MESSAGE_END", "RUN_FINISHED"] == found["types"][-2:]
    assert "You said hello" == found["messages"][-1]["content"]


async def test_agui_is_written_as_by_its_own_encoder() -> None:
    need("ag_ui.core")
    from ag_ui.core import RunStartedEvent, StateDeltaEvent
    from ag_ui.encoder import EventEncoder

    from fastsse import encode_json

    delta = StateDeltaEvent(delta=[{"op": "add", "path": "/a", "value": "é\n"}])
    for event in (RunStartedEvent(thread_id="t", run_id="r"), delta):
        assert EventEncoder().encode(event).encode() == encode_json(event)


OTHER_WAY = """

from datastar_py.fastapi import DatastarResponse


@app.get("/theirs")
async def theirs():
    async def events():
        for step in range(3):
            yield Datastar.patch_elements(f'<p id="step">{step}</p>')
        yield Datastar.patch_signals({"done": True})

    return DatastarResponse(events())
"""


def test_datastar(serve: Any) -> None:
    need("fastapi", "datastar_py.fastapi")

    with serve("datastar_app.py", OTHER_WAY) as server:
        ours = server.request("GET", "/updates")
        theirs = server.request("GET", "/theirs")

    assert b":\n\n" + theirs.body == ours.body
    events = decode(ours.body)
    assert ["datastar-patch-elements"] * 3 + ["datastar-patch-signals"] == [
        it.event for it in events
    ]
    assert 'elements <p id="step">2</p>' == events[2].data


async def test_mcp(serve: Any) -> None:
    need("fastapi", "mcp")
    import asyncio

    from mcp.client.client import Client
    from mcp.client.subscriptions import ResourceUpdated

    with serve("mcp_app.py") as server:
        async with Client(f"{server.url}/mcp") as client:
            async with client.listen(resource_subscriptions=["note://a", "note://b"]) as listening:
                assert ["note://a", "note://b"] == listening.honored.resource_subscriptions
                for uri in ("note://other", "note://b"):
                    reply = await asyncio.to_thread(server.request, "POST", f"/changed?uri={uri}")
                    assert 200 == reply.status
                assert ResourceUpdated("note://b") == await asyncio.wait_for(anext(listening), 10)

                server.process.terminate()

                with pytest.raises(StopAsyncIteration):  # the graceful end, and no lost connection
                    await asyncio.wait_for(anext(listening), 10)
