"""The live page of a hub with keys: it asks for a token, brings it in a header, and keeps it to itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.live import OUTAGE, REFUSED, expect, rows
from browser.test_accessibility import FAINT, FAULTS
from browser.test_looks import OVERFLOW, PICTURED, SIZES
from support.servers import Server, serve
from support.tokens import SECRET, bearer, claims, sign

KEYS = f"secret:{SECRET}"
EVERYTHING: dict[str, Any] = {"subscribe": ["*"], "publish": ["*"]}
REFUSALS = f"{REFUSED}|{OUTAGE}"  # what the console says of answers that these tests ask for


@pytest.fixture(scope="module")
def closed() -> Iterator[Server]:
    """Run a hub with keys, where anybody may read ``open/…``."""
    with serve("--anonymous-read", "open/*", FASTSSE_KEYS=KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def apart() -> Iterator[Server]:
    """Run a hub with keys that tells its numbers at a port of their own."""
    flags = ("--operator-port", "0", "--anonymous-read", "open/*")
    with serve(*flags, FASTSSE_KEYS=KEYS) as running:
        yield running


def token(seconds: float = 600, subject: str = "ann", **grant: Any) -> str:
    return sign(claims(seconds, aud=None, sub=subject, fastsse=grant or EVERYTHING))


async def at(open_page: Any, server: Server, topic: str, **options: Any) -> Any:
    """Open the page of a topic that may be refused; the fixture's own way waits for an open stream."""
    return await open_page(server, path=f"/?topic={topic}", **({"expected": REFUSALS} | options))


async def sign_in(page: Any, text: str, *, keep: bool = False) -> None:
    await page.locator("#sign-in").click()
    dialog = page.get_by_role("dialog", name="Sign in")
    await dialog.get_by_role("textbox", name="Token").fill(text)
    if keep:
        await dialog.get_by_label("Keep it").check()
    await dialog.get_by_role("button", name="Sign in").click()


async def is_signed_in(page: Any, name: str = "ann") -> None:
    await expect(page.locator("#account-name")).to_have_text(name)
    await expect(page.get_by_role("dialog")).to_be_hidden()


async def read_as(page: Any, text: str, name: str = "ann") -> None:
    """Sign in, and wait until the stream is open."""
    await sign_in(page, text)
    await is_signed_in(page, name)
    await expect(page.locator("#state-word")).to_have_text("open")


async def published(server: Server, topic: str, data: str) -> None:
    """Publish an event as somebody else who may."""
    headers = bearer(token(subject="bob")) | {"Content-Type": "text/plain"}
    path = f"/events?topic={topic}"
    reply = await asyncio.to_thread(server.request, "POST", path, data, headers)
    assert 200 == reply.status, reply


STORED = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
SHOWN = "document.documentElement.outerHTML"


async def test_the_page_signs_in_reads_publishes_and_signs_out(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    asked: list[str] = []

    def note(request: Any) -> None:
        asked.append(request.url)

    page.on("request", note)
    await expect(page.locator("#lock-reason")).to_have_text(
        "A token is needed to read all of these topics."
    )
    given = token()

    await page.get_by_role("button", name="Sign in …").click()
    await page.locator("#token").fill(given)
    await page.keyboard.press("Enter")

    await is_signed_in(page)
    await expect(page.locator("#sign-out")).to_be_focused()
    await expect(page.locator("#state-word")).to_have_text("open")
    await published(closed, topic, "for those who may")
    await expect(rows(page).first.locator(".data")).to_have_text("for those who may")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-answer")).to_contain_text("published as")
    for place in (STORED, SHOWN):
        assert given.rpartition(".")[2] not in await page.evaluate(place)
    assert "" == await page.locator("#token").input_value()

    await page.get_by_role("button", name="Sign out").click()

    await expect(page.locator("#sign-in")).to_be_focused()
    await expect(page.locator("#state-word")).to_have_text("refused")
    await expect(rows(page)).to_have_count(0)
    assert asked
    assert not [url for url in asked if given[-20:] in url or "ticket=" in url]


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_the_page_of_a_hub_without_keys_asks_for_no_token(
    open_page: Any, server: Server, topic: str
) -> None:
    page = await open_page(server, topic, viewport={"width": 600, "height": 900})
    await expect(page.locator(".hub")).not_to_have_attribute("open", "")

    await page.wait_for_function(
        "performance.getEntriesByName(new URL('health', document.baseURI)).length"
    )

    await expect(page.locator("#account")).to_be_hidden()
    await expect(page.locator("#start")).to_contain_text("play.py")


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_without_a_token_the_page_shows_what_everybody_may_read(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await open_page(closed, f"open/{topic}", expected=REFUSALS)
    await published(closed, f"open/{topic}", "for all")
    await expect(rows(page).first.locator(".data")).to_have_text("for all")
    await expect(page.locator("#sign-in")).to_be_visible()

    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-answer")).to_have_text(
        "a token is needed to publish to any topic"
    )

    await read_as(page, token())
    await expect(rows(page)).to_have_count(1)  # and nothing comes twice
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(rows(page)).to_have_count(2)


async def test_a_token_that_is_not_good_is_refused_in_words(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    other = "another secret of 32 bytes or more"
    field = page.locator("#token")
    cases = {
        "": "a token is needed",
        "a token": "this is no token",
        "tök.en.x": "this is no token",
        "x" * 8193: "this is no token",
        "a.b.c": "the token is not valid",
        sign(claims(aud=None, fastsse=EVERYTHING), key=other): "the token is not valid",
        sign(claims(-60, aud=None, fastsse=EVERYTHING)): "the token has expired",
    }
    await page.locator("#sign-in").click()
    await page.get_by_label("Keep it").check()

    for text, words in cases.items():
        await field.fill(text)
        await expect(page.locator("#token-error")).to_be_hidden()
        await page.keyboard.press("Enter")
        await expect(page.locator("#token-error")).to_contain_text(words)
        await expect(field).to_be_focused()
        await expect(field).to_have_attribute("aria-invalid", "true")

    assert "token" not in await page.evaluate("Object.keys(sessionStorage)")
    await page.keyboard.press("Escape")
    await expect(page.locator("#sign-in")).to_be_focused()
    await expect(page.locator("#account-name")).to_be_hidden()


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_beside_a_port_for_operators_a_token_that_is_not_good_is_refused_at_once(
    open_page: Any, apart: Server, topic: str
) -> None:
    page = await at(open_page, apart, topic)
    refusals = {
        "a.b.c": "the token is not valid",
        sign(claims(-60, aud=None, fastsse=EVERYTHING)): "the token has expired",
    }

    for text, words in refusals.items():
        await page.locator("#sign-in").click()
        await page.locator("#token").fill(text)
        await page.keyboard.press("Enter")
        await expect(page.locator("#token-error")).to_contain_text(words)
        await expect(page.locator("#account-name")).to_be_hidden()
        await page.keyboard.press("Escape")

    await read_as(page, token(operator=True, **EVERYTHING))
    await expect(page.locator("#hub-none")).to_contain_text("keeps the hub's numbers to itself")
    await is_signed_in(page)


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_beside_a_port_for_operators_the_page_knows_whether_there_are_keys(
    open_page: Any, apart: Server, topic: str
) -> None:
    page = await open_page(apart, f"open/{topic}", expected=REFUSALS)
    await expect(page.locator("#sign-in")).to_be_visible()

    with serve("--operator-port", "0") as without_keys:
        page = await open_page(without_keys, topic)
        await expect(page.locator("#hub-none")).to_contain_text("keeps the hub's numbers to itself")
        await expect(page.locator("#account")).to_be_hidden()


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_a_hub_that_is_gone_leaves_the_dialog_open(open_page: Any, topic: str) -> None:
    with serve(FASTSSE_KEYS=KEYS) as server:
        page = await at(open_page, server, topic, expected=f"{REFUSALS}|NetworkError|CORS")
        await expect(page.locator("#sign-in")).to_be_visible()

    await sign_in(page, token())

    await expect(page.locator("#token-error")).to_have_text("the hub cannot be reached")


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_what_a_token_does_not_grant_is_said_where_it_was_asked_for(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)

    await sign_in(page, f"Bearer {token(subscribe=[f'{topic}-other'], publish=['x'])}\n")

    await is_signed_in(page)
    await expect(page.locator("#state-word")).to_have_text("refused")
    await expect(page.locator("#lock-reason")).to_have_text(
        "The grant does not allow to read all of these topics."
    )
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.locator("#publish-answer")).to_have_text(
        "the grant does not allow to publish to all of these topics"
    )
    await is_signed_in(page)  # for what the token does grant


async def test_a_token_that_expires_is_told_and_a_new_one_goes_on_without_a_gap(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    ends = time.time() + 8
    await read_as(page, token(8))
    await published(closed, topic, "before")
    await expect(rows(page)).to_have_count(1)

    await expect(page.locator("#reason")).to_contain_text("the token has expired; sign in again")
    assert time.time() >= ends - 1
    await expect(page.locator("#account-name")).to_be_hidden()
    await published(closed, topic, "meanwhile")
    await sign_in(page, token())
    await is_signed_in(page)

    await expect(rows(page).locator(".data")).to_have_text(["meanwhile", "before"])
    await expect(page.locator("#gaps")).to_have_text("0")


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_an_expiry_that_the_numbers_hear_of_first_is_told_by_the_stream_too(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    await read_as(page, token(15))
    said = 'Bearer error="invalid_token", error_description="the token has expired"'
    headers = {"WWW-Authenticate": said}
    await page.route("**/health", lambda route: route.fulfill(status=401, headers=headers))

    await expect(page.locator("#account-name")).to_be_hidden()
    await expect(page.locator("#reason")).to_contain_text("the token has expired; sign in again")


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_a_stream_that_an_operator_ends_comes_back_while_the_token_is_good(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    await read_as(page, token(subject="eve"), "eve")

    headers = bearer(token(operator=True))
    path = "/streams?subject=eve&reason=left"
    await asyncio.to_thread(closed.request, "DELETE", path, None, headers)

    await expect(page.locator("#log")).to_contain_text("the hub ended the stream: left")
    await expect(page.locator("#state-word")).to_have_text("open")
    await is_signed_in(page, "eve")


async def test_a_reload_forgets_the_token_unless_somebody_asked_to_keep_it(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    await sign_in(page, token())
    await is_signed_in(page)

    await page.reload()
    await expect(page.locator("#state-word")).to_have_text("refused")
    await sign_in(page, token(), keep=True)
    await is_signed_in(page)
    await page.reload()

    await is_signed_in(page)
    await expect(page.locator("#state-word")).to_have_text("open")
    assert not await page.evaluate("'token' in localStorage")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#sign-in")).to_be_visible()
    assert not await page.evaluate("'token' in sessionStorage")


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_an_operators_token_shows_the_hubs_numbers(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    await expect(page.locator("#hub-none")).to_contain_text("keeps the hub's numbers to itself")

    await sign_in(page, token(operator=True, **EVERYTHING))

    await expect(page.locator("#hub-numbers")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#hub-numbers")).to_be_hidden()


@pytest.mark.only_in("chromium")  # nothing here differs from browser to browser
async def test_claims_of_strangers_do_no_harm(open_page: Any, closed: Server, topic: str) -> None:
    page = await at(open_page, closed, topic)
    name = "<img src=x onerror=alert(1)>\u202e" + "w" * 200

    await sign_in(page, token(subject=name, **EVERYTHING))

    await expect(page.locator("#state-word")).to_have_text("open")
    await expect(page.locator("#account-name")).to_contain_text("<img src=x")
    assert 0 == await page.locator("#account img, #log img").count()
    assert 0 == await page.evaluate(OVERFLOW)


@pytest.mark.parametrize(("size", "scheme"), [("narrow", "light"), ("laptop", "dark")])
async def test_signing_in_can_be_seen_and_named(
    open_page: Any, closed: Server, topic: str, tmp_path: Path, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page = await at(
        open_page,
        closed,
        topic,
        expected=f"{REFUSALS}|{PICTURED}",
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    folder = Path(os.environ.get("FASTSSE_SCREENSHOTS") or tmp_path)

    async def look(name: str) -> None:
        assert [] == await page.evaluate(FAULTS)
        assert [] == await page.evaluate(FAINT)
        assert 0 == await page.evaluate(OVERFLOW)
        await page.screenshot(path=folder / f"sign-in-{name}-{size}-{scheme}.png")

    await expect(page.locator("#lock-reason")).to_be_visible()
    await look("locked")
    await sign_in(page, "a.b.c")
    await expect(page.locator("#token-error")).to_be_visible()
    await look("refused")
    await page.locator("#token").fill(token())
    await page.keyboard.press("Enter")
    await is_signed_in(page)
    await expect(page.locator("#state-word")).to_have_text("open")
    await look("open")


async def test_the_keyboard_alone_signs_in_and_no_shortcut_acts_meanwhile(
    open_page: Any, closed: Server, topic: str
) -> None:
    page = await at(open_page, closed, topic)
    await expect(page.locator("#sign-in")).to_be_visible()

    await page.locator("#sign-in").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#token")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Keep it")).to_be_focused()
    await page.keyboard.press("p")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.insert_text(token())
    await page.keyboard.press("Enter")

    await is_signed_in(page)
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
