"""The live page's files: their types, the headers that keep the page to itself, and no other files."""

from __future__ import annotations

import pytest
from support.posts import broadcast

from fastsse.testing import fetch


@pytest.mark.parametrize(
    "path",
    ["/page/nothing.js", "/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/"],
)
async def test_the_page_has_no_other_files(path: str) -> None:
    async with broadcast() as app:
        assert 404 == (await fetch(app, path)).status


async def test_the_page_keeps_to_itself() -> None:
    async with broadcast() as app:
        for path in ("/", "/page/index.html", "/page/main.js", "/page/page.css"):
            answer = await fetch(app, path)

            assert 200 == answer.status
            policy = dict(
                rule.strip().split(" ", 1)
                for rule in answer.headers["content-security-policy"].split(";")
            )
            assert "'none'" == policy["default-src"]
            assert {"'self'"} == {
                policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")
            }
            assert {"'none'"} == {policy["frame-ancestors"], policy["base-uri"]}
            assert "'self'" == policy["form-action"]
            assert "nosniff" == answer.headers["x-content-type-options"]
            assert "no-referrer" == answer.headers["referrer-policy"]
            assert "no-cache" == answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/index.html", "text/html; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
async def test_the_pages_files_have_fixed_types(
    path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimetypes.guess_type", lambda *_, **__: ("text/plain", None))
    async with broadcast() as app:
        assert kind == (await fetch(app, path)).headers["content-type"]


async def test_a_page_that_is_known_is_not_sent_again() -> None:
    async with broadcast() as app:
        etag = (await fetch(app, "/page/main.js")).headers["etag"]
        answer = await fetch(app, "/page/main.js", "", {"if-none-match": etag})

        assert (304, b"") == (answer.status, answer.body)


async def test_head_of_the_page_has_no_body_to_wait_for() -> None:
    async with broadcast() as app:
        assert 200 == (await fetch(app, "/", method="HEAD")).status
