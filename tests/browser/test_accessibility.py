"""The live page by keyboard, by screen reader, and to the eye: names, landmarks, focus, contrast."""

from __future__ import annotations

from typing import Any

import pytest
from browser.live import OUTAGE, expect, publish_stream, rows
from support.servers import Server, serve

# A script that finds parts that have no name for a screen reader, and references that point to nothing.
FAULTS = """() => {
    const faults = [];
    const visible = (node) => node.checkVisibility();
    const textOf = (ids) => (ids ?? "").split(/\\s+/).filter(Boolean).map((id) => document.getElementById(id));
    const named = "button, input, textarea, select, a[href], summary, [role=img], [role=region]";
    for (const node of document.querySelectorAll(named)) {
        const labels = [...(node.labels ?? [])].map((label) => label.textContent.trim()).join("");
        const labelled = textOf(node.getAttribute("aria-labelledby")).map((it) => it?.textContent).join("");
        const name = node.getAttribute("aria-label") || labelled || labels || node.textContent.trim();
        if (visible(node) && !name) faults.push(`no name: ${node.outerHTML}`);
    }
    for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
        for (const name of ["aria-labelledby", "aria-describedby"]) {
            if (textOf(node.getAttribute(name)).includes(null)) faults.push(`${name} of nothing: ${node.outerHTML}`);
        }
    }
    for (const label of document.querySelectorAll("label")) {
        if (!label.control) faults.push(`label of nothing: ${label.outerHTML}`);
    }
    for (const image of document.querySelectorAll("img:not([alt])")) faults.push(`no alt: ${image.outerHTML}`);
    const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
    for (const id of new Set(ids)) if (ids.filter((it) => it === id).length > 1) faults.push(`id twice: ${id}`);
    for (const section of document.querySelectorAll("section")) {
        if (!section.getAttribute("aria-labelledby")) faults.push("section without a name");
    }
    const levels = [...document.querySelectorAll("h1, h2, h3")].filter(visible).map((node) => Number(node.tagName[1]));
    if (levels.filter((level) => level === 1).length !== 1) faults.push("not one h1");
    levels.reduce((last, level) => (level > last + 1 && faults.push(`h${level} after h${last}`), level), 0);
    for (const name of ["header", "main", "aside"]) {
        if (document.querySelectorAll(name + ":not(article *)").length !== 1) faults.push(`not one ${name}`);
    }
    if (!document.documentElement.lang) faults.push("no lang");
    return faults;
}"""

# A script that finds text whose contrast with its ground is below WCAG AA.
FAINT = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = ([r, g, b, a], under) => [r, g, b].map((it, at) => (it * a + under[at] * (255 - a)) / 255);
    const behind = (node) => {
        const layers = [];
        for (let it = node; it; it = it.parentElement) layers.unshift(rgba(getComputedStyle(it).backgroundColor));
        return layers.reduce((under, layer) => over(layer, under), rgba("Canvas"));
    };
    const light = (color) => {
        const [r, g, b] = color.map((it) => (it /= 255) <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const faint = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility({ contentVisibilityAuto: true })) continue;
        const under = behind(node);
        const style = getComputedStyle(node);
        const [one, two] = [light(over(rgba(style.color), under)), light(under)].sort((a, b) => b - a);
        const large = parseFloat(style.fontSize) >= 24;
        const ratio = (one + 0.05) / (two + 0.05);
        if (ratio < (large ? 3 : 4.5)) {
            faint.add(`${ratio.toFixed(2)} ${node.tagName}.${node.className}: ${walker.currentNode.data.slice(0, 30)}`);
        }
    }
    return [...faint];
}"""

TOKENS = 'event: token\ndata: {"text":"Hello","id":1}\n\n'


async def _fill(page: Any, server: Server, topic: str) -> None:
    """Show one of everything that the page can show, but a gap."""
    server.publish(
        topic,
        '{"text":"a","number":1.5,"literal":null,"list":[true],"more":"' + "x" * 60 + '"}',
        event="json",
    )
    server.publish(topic, "word " * 500)
    publish_stream(server, topic, TOKENS)
    await expect(rows(page)).to_have_count(3)


async def test_everything_has_a_name_and_a_place(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    assert [] == await page.evaluate(FAULTS)

    await _fill(page, server, topic)

    assert [] == await page.evaluate(FAULTS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_can_be_told_from_its_ground(
    open_page: Any, server: Server, topic: str, scheme: str
) -> None:
    names = [f"{topic}-{number}" for number in range(8)]
    page = await open_page(
        server, *names, color_scheme=scheme, reduced_motion="reduce", expected="status of 400"
    )
    assert [] == await page.evaluate(FAINT)

    await _fill(page, server, names[0])
    for name in names:
        server.publish(name, "in each hue")
    await page.get_by_label("Event type").fill("gap")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-event-error")).to_be_visible()
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_role("button", name="keyboard shortcuts").click()

    assert [] == await page.evaluate(FAINT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_gaps_and_outages_can_be_told_from_their_ground(
    open_page: Any, topic: str, scheme: str
) -> None:
    with serve("--history-events", "1", "--retry", "60000") as server:
        page = await open_page(
            server, topic, color_scheme=scheme, reduced_motion="reduce", expected=OUTAGE
        )
        server.publish(topic, "seen")
        await expect(rows(page)).to_have_count(1)
        await page.get_by_role("button", name="Disconnect").click()
        publish_stream(server, topic, "data: missed\n\n" * 3)
        await page.get_by_role("button", name="Connect").click()
        await expect(page.locator("#log > .gap")).to_contain_text("Gap: trimmed.")
    await expect(page.locator("#state")).to_have_attribute("data-state", "draining")

    assert [] == await page.evaluate(FAINT)


async def test_tab_goes_through_the_page_in_its_order(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    server.publish(topic, "word " * 500)
    await expect(rows(page)).to_have_count(1)
    stops = []

    for _ in range(40):
        await page.keyboard.press("Tab")
        stop = await page.evaluate(
            """() => {
                const { id, className, textContent } = document.activeElement;
                const ring = getComputedStyle(document.activeElement).outlineStyle;
                return [id || className || textContent.trim(), ring];
            }"""
        )
        stops.append(stop)
        if stop[0] == "fold":
            break

    names = [name for name, _ in stops]
    wanted = [
        "skip",
        "remove",
        "topic",
        "theme",
        "show-shortcuts",
        "connection-action",
        "publish-topic",
        "publish-event",
    ]
    wanted += ["publish-data", "filter", "hide-tokens", "replay", "pause", "clear", "fold"]
    assert wanted == [name for name in dict.fromkeys(names) if name in wanted]
    assert [] == [name for name, ring in stops if ring == "none" and name not in ("topic",)]


async def test_the_skip_link_leads_to_the_events(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the events")).to_be_in_viewport()
    await page.keyboard.press("Enter")

    await expect(page.locator("main")).to_be_focused()


async def test_keys_do_what_the_buttons_do_unless_somebody_types(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)

    await page.keyboard.press("p")
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    await page.keyboard.press("n")
    await expect(page.locator("#publish-data")).to_be_focused()
    await page.keyboard.type("pc?")
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#publish-answer")).to_contain_text("published as")

    await page.locator("main").focus()
    await page.keyboard.press("/")
    await expect(page.locator("#filter")).to_be_focused()
    await page.locator("main").focus()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    await page.get_by_label("Single keys are shortcuts").uncheck()
    await page.keyboard.press("Escape")
    await page.locator("main").focus()
    await page.keyboard.press("p")
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()


async def test_a_screen_reader_is_told_at_a_pace_to_listen_to(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic)
    await expect(page.locator("#announcements")).to_have_text(f"open: follows {topic}")
    await page.evaluate(
        """() => {
            window.said = [];
            const node = document.querySelector("#announcements");
            new MutationObserver(() => window.said.push(node.textContent)).observe(node, { childList: true });
        }"""
    )

    publish_stream(
        server, topic, "".join(f"event: note\ndata: {number}\n\n" for number in range(1, 101))
    )

    await expect(page.locator("#announcements")).to_have_text(
        f"100 new events, the last on {topic}: note, 100"
    )
    assert 1 == len(await page.evaluate("window.said"))
    assert "polite" == await page.locator("#announcements").get_attribute("aria-live")
    assert None is await page.locator("#log").get_attribute("aria-live")


async def test_nothing_moves_for_who_asked_for_less_motion(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic, reduced_motion="reduce")
    assert 0 == await page.evaluate("document.getAnimations().length")

    await _fill(page, server, topic)

    assert 0 == await page.evaluate("document.getAnimations().length")
