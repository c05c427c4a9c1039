"""More streams of one browser than the six that HTTP/1.1 allows, over the HTTP/2 of docs/proxies.md."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from proxies.documented import PAGE, PROXIES, Proxy, absent, find, start
from proxies.measure import HUB
from support.browsers import browsing
from support.servers import free_port, serve, wait_for
from support.starts import STARTS, started

pytest.importorskip("granian")

pytestmark = [pytest.mark.long, pytest.mark.browser]

SECURE = {  # what a recipe has written, what the page says instead, and what else that needs
    "nginx": (
        "listen 127.0.0.1:{port};",
        "listen 443 ssl http2;",
        "\nssl_certificate {pem};\nssl_certificate_key {pem};",
    ),
    "HAProxy": (
        "bind 127.0.0.1:{port}\n",
        "bind :443 ssl crt /etc/haproxy/hub.pem alpn h2,http/1.1",
        "\n",
    ),
}
OPEN = """async count => {
    const opened = [];
    for (let i = 0; i < count; i++) {
        const source = new EventSource("/events?topic=a");
        opened.push(new Promise(done => { source.onopen = done; }));
    }
    await Promise.all(opened);
    return (await fetch("/health")).status;
}"""


@pytest.mark.parametrize(
    ("name", "browser"), [("nginx", "chromium"), ("nginx", "firefox"), ("HAProxy", "chromium")]
)
async def test_twenty_streams_and_a_fetch_beside_them(
    name: str, browser: str, tmp_path: Path
) -> None:
    proxy = next(proxy for proxy in PROXIES if proxy.name == name)
    if find(proxy) is None:
        absent(f"no {proxy.program} here; {proxy.install}")
    with serve(*HUB, "--max-streams", "100") as hub, secured(proxy, hub.port, tmp_path) as port:
        async with browsing(browser) as opened:
            page = await opened.open(lambda running: opened_page(running, port))

            assert 200 == await page.evaluate(OPEN, 20)
            assert 20 == hub.health()["streams"]


async def opened_page(browser: Any, port: int) -> Any:
    """Open the live page, whoever has signed its certificate."""
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await page.goto(f"https://127.0.0.1:{port}/")
    return page


@contextmanager
def secured(proxy: Proxy, back: int, folder: Path) -> Iterator[int]:
    """Run a proxy with TLS and HTTP/2, and yield its port."""
    pem = certificate(folder)
    port = free_port()

    def ready(_: object) -> int:
        wait_for(lambda: speaks_http2(port), STARTS)
        return port

    with started(proxy.name, lambda: start(secure(proxy, pem), port, back), ready):
        yield port


def secure(proxy: Proxy, pem: Path) -> Proxy:
    """Change a proxy's recipe: what it has written gets the page's line for HTTP/2."""
    old, line, more = SECURE[proxy.name]
    assert line in PAGE.read_text(encoding="utf-8")

    def recipe(given: list[str], folder: Path, port: int, back: int) -> list[str]:
        command = proxy.recipe(given, folder, port, back)
        new = re.sub(":?443", f"127.0.0.1:{port}", line).replace("/etc/haproxy/hub.pem", str(pem))
        (config,) = folder.iterdir()
        text = config.read_text(encoding="utf-8")
        assert old.format(port=port) in text
        config.write_text(text.replace(old.format(port=port), new + more.format(pem=pem)))
        return command

    return proxy._replace(recipe=recipe)


def certificate(folder: Path) -> Path:
    """Make a key and a certificate of its own, in one file."""
    pem = folder / "hub.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hub.example"
    subprocess.run(
        [*command.split(), "-keyout", pem, "-out", folder / "cert"], check=True, capture_output=True
    )
    pem.write_bytes(pem.read_bytes() + (folder / "cert").read_bytes())
    return pem


def speaks_http2(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as plain:
        with context.wrap_socket(plain) as secured:
            return secured.selected_alpn_protocol() == "h2"
    return False
