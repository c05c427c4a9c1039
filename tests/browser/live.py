"""Shared by the tests of the live page: where its parts are, and how long to wait for them."""

from __future__ import annotations

from typing import Any

from support.servers import Server

DEADLINE = 20_000  # ms: for whatever takes milliseconds on a quiet machine
OUTAGE = r"net::ERR_|status of 503"  # what Chromium's console says of a server that is not there, or stops
REFUSED = r"status of 4\d\d"


def expect(locator: Any) -> Any:
    """Expect something of a part of the page; playwright's own function, which waits until that holds."""
    from playwright.async_api import expect

    expect.set_options(timeout=DEADLINE)
    return expect(locator)


def rows(page: Any) -> Any:
    """Find the events of the log, newest first: neither notes nor gaps."""
    return page.locator("#log > .row:not(.note, .gap)")


def shown_data(page: Any) -> Any:
    """Find the data of the rows that are not filtered out."""
    return page.locator("#log > .row:not(.note):visible .data")


def publish_stream(server: Server, topic: str, stream: str) -> None:
    """Publish every event of an event stream."""
    headers = {"Content-Type": "text/event-stream"}
    reply = server.request("POST", f"/events?topic={topic}", stream.encode(), headers)
    assert reply.status == 200, reply
