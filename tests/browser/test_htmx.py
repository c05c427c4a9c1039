"""The recipe for htmx in docs/recipes.md, with the real htmx in real browsers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from browser.live import expect
from support.blocks import code_blocks
from support.neighbours import need
from support.servers import ROOT, serve_uvicorn
from support.twins import is_set

HTMX = ROOT / "tests" / "node" / "node_modules" / "htmx.org" / "dist"
MORE = f"""

from fastapi.responses import FileResponse, Response


@app.get("/health")
@app.get("/favicon.ico")
async def health():
    return Response()


@app.get("/htmx.js")
async def htmx():
    return FileResponse("{HTMX / "htmx.js"}")


@app.get("/hx-sse.js")
async def hx_sse():
    return FileResponse("{HTMX / "ext" / "hx-sse.js"}")
"""


async def test_htmx_swaps_each_event_and_closes_at_the_last(open_page: Any, tmp_path: Path) -> None:
    need("fastapi")
    if not HTMX.is_dir():
        if is_set("FASTSSE_REQUIRE_NODE"):
            pytest.fail("FASTSSE_REQUIRE_NODE is set: needs, in tests/node: npm install")
        pytest.skip("needs, in tests/node: npm install")
    (recipe,) = [
        block.text
        for block in code_blocks(ROOT / "docs" / "recipes.md")
        if block.text.startswith("# htmx_app.py")
    ]
    (tmp_path / "htmx_app.py").write_text(recipe + MORE, "utf-8")

    path = f"{ROOT}{os.pathsep}{tmp_path}"
    with serve_uvicorn(app="htmx_app:app", PYTHONPATH=path) as server:
        page = await open_page(server, path="/")
        found = page.locator("#news p")
        await expect(found).to_have_text([f"news {number}, in two lines" for number in range(3)])
        await page.wait_for_timeout(700)  # longer than the 500 ms after which htmx comes back
        await expect(found).to_have_count(3)
        await page.close()
