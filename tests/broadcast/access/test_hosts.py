"""The rules for hosts and origins: the server that a request names, the site that sent it, and CORS."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from support.driver import Answer, fetch, lifespan, open_stream

from fastsse.broadcast import SettingError, Settings
from fastsse.broadcast.app import Broadcast, create_app

FORM = {"content-type": "application/x-www-form-urlencoded"}
POST: dict[str, Any] = {"method": "POST", "body": b"topic=a&data=x"}
HERE = "127.0.0.1:8000"


class Bound:
    """Return the app as if its server were bound to another address, or spoke another version of HTTP."""

    def __init__(self, app: Broadcast, **scope: Any) -> None:
        self.app = app
        self.scope = scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, **self.scope}, receive, send)


def broadcast(**knobs: Any) -> Broadcast:
    return create_app(Settings(heartbeat=0.0, lifetime=0.0, **knobs))


async def ask(app: Any, *headers: tuple[str, str], **options: Any) -> Answer:
    return await fetch(app, "/", "", headers, **options)


async def post(app: Broadcast, headers: dict[str, str]) -> Answer:
    async with lifespan(app):
        return await fetch(app, "/events", "", {"host": HERE, **FORM, **headers}, **POST)


# Host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST:80",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.1.2.3:5",
        "[::1]",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]:8000",
        "app.localhost:8000",
    ],
)
async def test_our_own_names_are_answered_on_the_loopback(host: str) -> None:
    assert 200 == (await ask(broadcast(), ("host", host))).status


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "2130706433",
        "0x7f.1",
        "127.1",
        "x" * 255,
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "192.0.2.1", "::", "2001:db8::1"])
async def test_a_foreign_name_is_refused_on_every_address(host: str, address: str) -> None:
    answer = await ask(Bound(broadcast(), server=(address, 8000)), ("host", host))

    assert 421 == answer.status
    problem = json.loads(answer.body)
    assert "host" == problem["field"]
    assert host[:50] in problem["detail"]
    assert "FASTSSE_HOSTS" in problem["rule"]


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "10.0.0.1:8000", "[::2]", "[fe80::1]:8000", "0.0.0.0:8000", "[::]"]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
@pytest.mark.parametrize("hosts", [(), ("hub.example",)])
async def test_an_address_cannot_be_rebound_and_is_taken(
    host: str, address: str, hosts: tuple[str, ...]
) -> None:
    app = Bound(broadcast(hosts=hosts), server=(address, 8000))

    assert 200 == (await ask(app, ("host", host))).status


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/events", "/page/index.html", "/healthy", "*"])
async def test_a_foreign_name_reaches_nothing(method: str, path: str) -> None:
    answer = await fetch(broadcast(), path, "topic=a", {"host": "evil.example"}, method)

    assert 421 == answer.status


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "a@localhost",
        "localhost/",
        "[::1",
        "localhost:x",
        "http://localhost",
        "x" * 262,
        "x" * 400_000,
        "localhost:" + "8" * 400,
    ],
)
async def test_a_host_that_is_none_is_refused(host: str) -> None:
    assert 400 == (await ask(broadcast(), ("host", host))).status


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("host", (HERE, HERE)),
        ("host", (HERE, "evil.example")),
        ("origin", (f"http://{HERE}", "https://evil.example")),
        ("sec-fetch-site", ("same-origin", "cross-site")),
        ("sec-fetch-site", ("none", "none")),
    ],
)
async def test_a_header_that_decides_is_given_once(name: str, values: tuple[str, str]) -> None:
    given = [("host", HERE)] * (name != "host") + [(name, value) for value in values]
    app = broadcast()

    async with lifespan(app):
        answer = await fetch(app, "/events", "", [*given, *FORM.items()], **POST)

    assert 400 == answer.status
    assert (name, "must be given once") == itemgetter("field", "rule")(json.loads(answer.body))


@pytest.mark.parametrize("name", ["origin", "sec-fetch-site", "last-event-id"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_reader_gives_it_once_too(name: str, method: str) -> None:
    app = broadcast(origins=("https://friend.example",))
    value = "https://friend.example"

    async with lifespan(app):
        answer = await fetch(app, "/events", "topic=a", [(name, value), (name, value)], method)

    assert (400, name) == (answer.status, json.loads(answer.body)["field"])


@pytest.mark.parametrize(
    ("version", "status"), [("1.1", 400), ("2", 400), ("1.0", 200), ("1", 200)]
)
async def test_only_http_1_0_may_leave_the_host_out(version: str, status: int) -> None:
    for headers in ([], [(b"host", b"")]):  # granian gives an empty Host where there is none
        app = Bound(broadcast(), headers=headers, http_version=version)

        assert status == (await ask(app)).status


@pytest.mark.parametrize(
    "host",
    [
        "hub.example",
        "HUB.example:80",
        "hub.example.",
        "[2001:DB8:0::1]:80",
        "[2001:db8::2]",
        "localhost",
    ],
)
async def test_hosts_adds_names(host: str) -> None:
    app = broadcast(hosts=("hub.example", "[2001:db8::1]", "2001:db8::2"))

    assert 200 == (await ask(app, ("host", host))).status


async def test_the_bound_name_is_ours() -> None:
    app = Bound(broadcast(), server=("Hub.example", 80))

    assert 200 == (await ask(app, ("host", "hub.example:8000"))).status


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({"path": "http://evil.example/"}, 400),
        ({"path": "http://u@localhost/"}, 400),
        ({"path": "http://localhost:8000/"}, 404),  # served where the server takes the target apart
        ({"headers": [(b"host", b"localhost"), (b":authority", b"evil.example")]}, 400),
        ({"headers": [(b"host", b"localhost"), (b":authority", b"LOCALHOST:80")]}, 200),
    ],
)
async def test_what_else_names_the_server_agrees_with_the_host(scope: Any, status: int) -> None:
    app = Bound(broadcast(), **scope)

    assert status == (await ask(app, ("host", "localhost"))).status


@pytest.mark.parametrize(
    ("host", "status"),
    [("hub.example", 200), ("192.0.2.1", 200), ("localhost", 200), ("other.example", 421)],
)
async def test_a_public_address_with_hosts_answers_to_them_only(host: str, status: int) -> None:
    app = Bound(broadcast(hosts=("hub.example",)), server=("192.0.2.1", 80))

    assert status == (await ask(app, ("host", host))).status


@pytest.mark.parametrize("server", [("/run/hub.sock", None), ("/run/hub.sock", "0"), None])
async def test_a_socket_without_address_is_the_proxys_to_guard(server: Any) -> None:
    app = Bound(broadcast(), server=server)

    assert 200 == (await ask(app, ("host", "hub.example"))).status


# Origin


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": f"http://{HERE}"},
        {"origin": f"http://{HERE}", "sec-fetch-site": "same-origin"},
        {"origin": f"https://{HERE}", "sec-fetch-site": "same-origin"},
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://LOCALHOST", "host": "localhost:80"},
        {"origin": "https://localhost", "host": "localhost:443"},
    ],
)
async def test_programs_and_our_own_page_may_publish(headers: dict[str, str]) -> None:
    assert 200 == (await post(broadcast(), headers)).status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1:8000.evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://[::1"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
        {"origin": f"http://{HERE}", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "nonsense"},
    ],
)
async def test_pages_of_other_sites_may_not_publish(headers: dict[str, str]) -> None:
    app = broadcast()

    answer = await post(app, headers)

    assert 403 == answer.status
    problem = json.loads(answer.body)
    assert "origin" == problem["field"]
    assert "FASTSSE_ORIGINS" in problem["rule"]
    assert 0 == app.hub.stats.published


@pytest.mark.parametrize("site", [{}, {"sec-fetch-site": "cross-site"}])
async def test_an_allowed_origin_may_publish(site: dict[str, str]) -> None:
    app = broadcast(origins=("https://friend.example",))

    answer = await post(app, {"origin": "https://friend.example", **site})

    assert 200 == answer.status
    assert "https://friend.example" == answer.headers["access-control-allow-origin"]


async def test_a_refusal_of_an_allowed_origins_event_can_be_read_there() -> None:
    app = broadcast(origins=("https://friend.example",))

    answer = await post(app, {"origin": "https://friend.example", "content-type": "text/plain"})

    assert 400 == answer.status
    assert "https://friend.example" == answer.headers["access-control-allow-origin"]
    assert "Retry-After" == answer.headers["access-control-expose-headers"]


async def test_a_star_lets_nobody_publish() -> None:
    headers = {"origin": "https://any.example", "sec-fetch-site": "cross-site"}

    assert 403 == (await post(broadcast(origins=("*",)), headers)).status


@pytest.mark.parametrize(
    "origin",
    [
        "friend.example",
        "https://friend.example/",
        "https://friend.example/path",
        "null",
        "https://",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(SettingError, match="origins"):
        broadcast(origins=(origin,))


@pytest.mark.parametrize("host", ["http://hub.example", "hub example", "[::1"])
def test_a_host_that_is_none_is_refused_at_the_start(host: str) -> None:
    with pytest.raises(SettingError, match="hosts"):
        broadcast(hosts=(host,))


# CORS


@pytest.mark.parametrize("path", ["/events", "/health"])
@pytest.mark.parametrize(
    ("origins", "origin", "granted"),
    [
        ((), "https://any.example", None),
        (("https://friend.example",), "https://friend.example", "https://friend.example"),
        (("https://friend.example",), "https://any.example", None),
        (("*",), "https://any.example", "*"),
        (("*", "https://friend.example"), "https://friend.example", "*"),
        (("https://friend.example",), None, None),
    ],
)
async def test_who_may_read_the_answers(
    path: str, origins: tuple[str, ...], origin: str | None, granted: str | None
) -> None:
    headers = {} if origin is None else {"origin": origin}
    app = broadcast(origins=origins)

    async with (
        lifespan(app),
        open_stream(app, path, {"topic": "a"} if path == "/events" else "", headers) as stream,
    ):
        assert 200 == stream.status
        assert granted == stream.headers.get("access-control-allow-origin")
        assert "access-control-allow-credentials" not in stream.headers
        if granted != "*":
            assert "Origin" == stream.headers["vary"]


async def test_a_refused_stream_can_be_read_by_an_allowed_origin() -> None:
    app = broadcast(origins=("https://friend.example",))

    answer = await fetch(app, "/events", "", {"origin": "https://friend.example"})

    assert 400 == answer.status
    assert "https://friend.example" == answer.headers["access-control-allow-origin"]
    assert "Retry-After" == answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("origins", "origin", "method", "allowed"),
    [
        ((), "https://any.example", "GET", False),
        (("https://friend.example",), "https://friend.example", "POST", True),
        (("https://friend.example",), "https://friend.example", "GET", True),
        (("https://friend.example",), "https://any.example", "POST", False),
        (("*",), "https://any.example", "GET", True),
        (("*",), "https://any.example", "POST", False),
    ],
)
async def test_preflights(
    origins: tuple[str, ...], origin: str, method: str, allowed: bool
) -> None:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "content-type, last-event-id",
    }

    answer = await fetch(broadcast(origins=origins), "/events", "", headers, "OPTIONS")

    assert allowed == (answer.status == 200)
    assert "access-control-allow-credentials" not in answer.headers
    if allowed:
        assert answer.headers["access-control-allow-origin"] in (origin, "*")
        assert method in answer.headers["access-control-allow-methods"]
