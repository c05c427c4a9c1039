"""The live page light and dark, narrow and wide; FASTSSE_SCREENSHOTS=<folder> keeps what it looks like."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from browser.live import expect, publish_stream, rows
from support.servers import Server

SIZES = {"narrow": (360, 780), "middle": (820, 1100), "laptop": (1280, 800), "wide": (1600, 1000)}

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
GROUND = "getComputedStyle(document.body).backgroundColor"
# To take a picture of Firefox, playwright puts a style into the page, and the page's policy refuses it.
PICTURED = "The page’s settings blocked an inline style"
LIGHT, DARK = "rgb(244, 246, 244)", "rgb(11, 15, 14)"


async def _keep(page: Any, folder: Path, name: str) -> None:
    folder = Path(os.environ.get("FASTSSE_SCREENSHOTS") or folder)
    folder.mkdir(parents=True, exist_ok=True)
    image = await page.screenshot(path=folder / f"{name}.png")
    assert len(image) > 10_000, "an empty picture"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_nothing_sticks_out_of_the_page(
    open_page: Any, server: Server, topic: str, tmp_path: Path, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    topics = [topic, f"{topic}-{'long' * 12}", "ü" * 60]
    viewport = {"width": width, "height": height}
    page = await open_page(
        server, *topics, expected=PICTURED, viewport=viewport, color_scheme=scheme
    )
    assert 0 == await page.evaluate(OVERFLOW)
    await _keep(page, tmp_path, f"start-{size}-{scheme}")

    server.publish(topics[1], "x" * 3000, event="y" * 200)
    server.publish(
        topic,
        '{"title":"Harbour bridge reopens after eight months","section":"city","read":12.5,"live":true}',
    )
    server.publish(topic, '["' + "z" * 500 + '"]', event="json")
    publish_stream(
        server, topic, f"event: token\ndata: {'w' * 400}\n\nevent: token\ndata:  and words\n\n"
    )
    await expect(rows(page)).to_have_count(5)

    assert 0 == await page.evaluate(OVERFLOW)
    await _keep(page, tmp_path, f"events-{size}-{scheme}")


async def test_a_wide_page_does_not_scroll_but_its_parts_do(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic, viewport={"width": 1280, "height": 600})
    await expect(page.locator("#hub-numbers")).to_be_visible()

    tall = await page.evaluate(
        """() => ["html", ".side"].map((name) => {
            const { scrollHeight, clientHeight } = document.querySelector(name);
            return scrollHeight > clientHeight;
        })"""
    )

    assert [False, True] == tall


@pytest.mark.only_in("chromium")  # Firefox cannot be told the system's theme over BiDi
async def test_the_theme_is_the_systems_until_another_is_chosen_and_that_is_remembered(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic, color_scheme="dark")
    assert DARK == await page.evaluate(GROUND)

    await page.get_by_role("button", name="theme: auto").click()

    await expect(page.get_by_role("button", name="theme: light")).to_be_visible()
    assert LIGHT == await page.evaluate(GROUND)
    await page.reload()
    await expect(page.get_by_role("button", name="theme: light")).to_be_visible()
    assert LIGHT == await page.evaluate(GROUND)


async def test_the_page_loads_from_this_server_alone_under_a_strict_policy(
    open_page: Any, server: Server, topic: str
) -> None:
    expected = "Content Security Policy|page’s settings blocked"  # as Chromium says it, and Firefox
    page = await open_page(server, topic, expected=expected)
    policy = server.request("GET", "/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy

    blocked = await page.evaluate(
        """() => new Promise((resolve) => {
            const blocked = [];
            addEventListener("securitypolicyviolation", (event) => {
                blocked.push(event.effectiveDirective);
                if (blocked.length === 3) resolve(blocked.sort());
            });
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.head.append(script);
            document.body.setAttribute("style", "color: red");
            fetch("http://example.invalid/").catch(() => {});
        })"""
    )

    assert ["connect-src", "script-src-elem", "style-src-attr"] == blocked
    assert await page.evaluate("window.ran === undefined")
