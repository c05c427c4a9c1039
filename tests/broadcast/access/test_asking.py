"""Grants that somebody has to be asked for: the operator's function, and keys that an issuer publishes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.driver import fetch, lifespan
from support.servers import DEADLINE, ROOT, Server, serve
from support.tokens import AUDIENCE, SECRET, bearer, claims, jwk, private_key, sign

from fastsse.broadcast import SettingError, Settings
from fastsse.broadcast.access import remote
from fastsse.broadcast.access.keys import Keyring
from fastsse.broadcast.app import create_app

TEXT = {"Content-Type": "text/plain"}
OWN = """
import asyncio
from fastsse.broadcast.access.grants import Grant

async def may(request, verb, topics):
    user = request.headers.get("x-user")
    if user == "ann":
        own = [topic for topic in topics if topic.startswith("ann/")]
        return Grant(own, own, own, subject="ann", operator=verb == "operate")
    if user == "all":
        return Grant(["*"], ["*"], ["*"])
    if user == "slow":
        await asyncio.sleep(60)
        return Grant(["*"])
    if user == "bad":
        raise RuntimeError("the secret is 12345")
    if user == "wrong":
        return True
    return None
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("own")
    (made / "rules_of_ours.py").write_text(OWN)
    (made / "key").write_text(SECRET)
    return made


@contextmanager
def asking(folder: Path, *flags: str) -> Iterator[Server]:
    """Run a server that asks the function; its module is found in the folder where the server starts."""
    given = ["--may", "rules_of_ours:may", "--may-seconds", "1", "--anonymous-read", "open"]
    with serve(*given, *flags, PYTHONPATH=f"{ROOT}:{folder}") as server:
        yield server


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[Server]:
    with asking(folder) as server:
        yield server


def status(server: Server, method: str, path: str, user: str | None, body: Any = None) -> int:
    sent = ({} if user is None else {"X-User": user}) | TEXT
    return server.request(method, path, body, sent).status


@pytest.mark.parametrize(
    ("method", "path", "user", "expected"),
    [
        ("HEAD", "/events?topic=ann/1", "ann", 200),
        ("HEAD", "/events?topic=bob/1", "ann", 403),
        ("HEAD", "/events?topic=ann/1&topic=bob/1", "ann", 403),
        ("HEAD", "/events?topic=private/x", "all", 200),
        ("HEAD", "/events?topic=a", None, 401),
        ("HEAD", "/events?topic=open", None, 200),
        ("HEAD", "/events?topic=open", "ann", 403),
        ("HEAD", "/events?topic=a", "slow", 503),
        ("HEAD", "/events?topic=a", "bad", 503),
        ("HEAD", "/events?topic=a", "wrong", 503),
        ("HEAD", "/events?topic=", "all", 400),
        ("POST", "/events?topic=ann/1", "ann", 200),
        ("POST", "/events?topic=bob/1", "ann", 403),
        ("POST", "/events?topic=a", None, 401),
        ("POST", "/events?topic=a", "bad", 503),
        ("POST", "/events?topic=ann/2&end=1", "ann", 200),
        ("DELETE", "/events?topic=ann/3", "ann", 200),
        ("DELETE", "/events?topic=bob/3", "ann", 403),
        ("DELETE", "/events?topic=a", None, 401),
        ("POST", "/tickets?topic=ann/1", "ann", 200),
        ("POST", "/tickets?topic=bob/1", "ann", 403),
        ("POST", "/tickets?topic=open", None, 401),
        ("GET", "/metrics", "ann", 200),
        ("GET", "/metrics", "all", 403),
        ("GET", "/metrics", None, 401),
        ("GET", "/health", "bad", 503),
    ],
)
def test_the_operators_own_function(
    own: Server, method: str, path: str, user: str | None, expected: int
) -> None:
    assert expected == status(own, method, path, user, b"x" if method == "POST" else None)


COOKIE = {"Cookie": "session=1"}
EVIL = {"Origin": "http://evil.example"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (COOKIE | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"} | EVIL, 403),
        (COOKIE | {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        (COOKIE | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        (COOKIE | EVIL, 403),
        (COOKIE | {"Origin": "null"}, 403),
        (COOKIE | {"Sec-Fetch-Site": "same-origin"}, 200),
        (COOKIE, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"} | EVIL, 200),
    ],
    ids=map(str, range(8)),
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/events?topic=ann/1"), ("GET", "/metrics"), ("GET", "/health")],
)
def test_cookies_that_a_page_of_another_site_sends_do_not_reach_the_function(
    own: Server, method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    assert expected == own.request(method, path, None, headers | {"X-User": "ann"}).status


def test_a_ticket_of_the_operators_own_is_good_once(own: Server) -> None:
    reply = own.request("POST", "/tickets?topic=ann/1", None, {"X-User": "ann"})
    name = reply.json["ticket"]

    assert 200 == status(own, "HEAD", f"/events?topic=ann/1&ticket={name}", None)
    assert 403 == status(own, "HEAD", f"/events?topic=ann/2&ticket={name}", None)


def test_a_failure_of_the_function_is_told_without_its_text(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with asking(folder) as server:
        reply = server.request("GET", "/events?topic=a", None, {"X-User": "bad"})
    written = capsys.readouterr().err

    assert "12345" not in written + reply.body.decode()
    assert "RuntimeError" in written


def test_tokens_go_before_the_function(folder: Path) -> None:
    with asking(folder, "--keys", str(folder / "key")) as server:
        good = bearer(sign(claims(fastsse={"subscribe": ["a"]}, aud=None)))
        asked = [
            good,
            good | {"X-User": "all"},
            {"X-User": "all"},
            {},
            bearer("rubbish") | {"X-User": "all"},
        ]
        statuses = [server.request("HEAD", "/events?topic=a", None, one).status for one in asked]

    assert [200, 200, 200, 401, 401] == statuses


@pytest.mark.parametrize(
    "name", ["nothing", "no_such_module:may", "json:no_such", "json:__doc__", ":"]
)
def test_functions_that_are_none(name: str) -> None:
    with pytest.raises(SettingError, match="may"):
        create_app(Settings(may=name))


# Sets of keys at a URL


class Issuer:
    """A real server of a JWK set, which answers as the test says.

    Attributes:
        asked: how often the set was asked for.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.pause = 0.0
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                time.sleep(issuer.pause)
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(issuer.body)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(issuer.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/keys"

    def publish(self, *members: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": members}).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


NAME = "https://issuer.example"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


@contextmanager
def trusting(issuer: Issuer) -> Iterator[Server]:
    with serve("--keys", f"{NAME}={issuer.url}", "--audience", AUDIENCE) as server:
        yield server


def signed(name: str = "e1", kid: str | None = None, **more: Any) -> dict[str, str]:
    algorithm = {"e1": "ES256", "o1": "EdDSA", "p1": "PS256"}[name]
    given = claims(**{"iss": NAME, "fastsse": {"subscribe": ["a"], "publish": ["a"]}} | more)
    return bearer(sign(given, algorithm, private_key(name), {"kid": kid or name}))


def look(server: Server, sent: dict[str, str]) -> int:
    return server.request("HEAD", "/events?topic=a", None, sent).status


def test_a_set_is_fetched_once_for_many(issuer: Issuer) -> None:
    issuer.publish(jwk("e1"), jwk("o1"))
    issuer.pause = 0.3
    with trusting(issuer) as server:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(look(server, signed("e1", sub="ann"))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        published = server.request("POST", "/events?topic=a", "x", signed("o1") | TEXT)

    assert [200] * 8 == statuses
    assert 200 == published.status
    assert 1 == issuer.asked


def test_tokens_with_keys_that_nobody_has_fetch_the_set_once_in_a_while(issuer: Issuer) -> None:
    issuer.publish(jwk("e1"))
    with trusting(issuer) as server:
        assert 200 == look(server, signed())
        assert [401] * 20 == [look(server, signed(kid=f"k{number}")) for number in range(20)]

    assert 1 == issuer.asked  # the set is not 30 s old


def test_a_url_in_a_token_is_never_asked(issuer: Issuer) -> None:
    with another_issuer() as evil, trusting(issuer) as server:
        issuer.publish(jwk("e1"))
        evil.publish(jwk("o1"))
        given = claims(iss=NAME, fastsse={"subscribe": ["a"]})
        header = {"kid": "o1", "jku": evil.url, "x5u": evil.url}
        token = sign(given, "EdDSA", private_key("o1"), header)

        assert 401 == look(server, bearer(token))
        assert 401 == look(server, signed(iss=evil.url))
        assert 0 == evil.asked


@contextmanager
def another_issuer() -> Iterator[Issuer]:
    made = Issuer()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    "change",
    [
        {"status": 500},
        {"status": 302, "headers": {"Location": "/other"}},
        {"body": b"not json"},
        {"body": b"{}"},
        {"body": b'{"keys": []}'},
        {"body": b"x" * 300_000},
        {"body": json.dumps({"keys": [{"kty": "oct", "k": "A" * 64, "kid": "e1"}]}).encode()},
    ],
    ids=["500", "302", "no JSON", "empty", "no keys", "large", "a secret"],
)
def test_a_set_that_cannot_be_had_lets_nobody_in(issuer: Issuer, change: dict[str, Any]) -> None:
    issuer.publish(jwk("e1"))
    for name, value in change.items():
        setattr(issuer, name, value)

    with trusting(issuer) as server:
        reply = server.request("HEAD", "/events?topic=a", None, signed())
        again = look(server, signed())

        assert (503, "30") == (reply.status, reply.headers["retry-after"])
        assert 401 == look(server, bearer(sign(claims(fastsse={"subscribe": ["a"]}))))
        assert 200 == server.request("GET", "/health").status
    assert again in (401, 503)
    assert 1 == issuer.asked


DRIPS = {
    "head": ("http", b"HTTP/1.1 200 OK\r\nX: "),
    "body": ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
    "handshake": ("https", b"\x16\x03\x03\x40\x00"),
}


@pytest.mark.parametrize("kind", DRIPS)
async def test_a_set_that_comes_a_byte_now_and_then_holds_no_thread(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, begin = DRIPS[kind]
    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        gone = asyncio.create_task(reader.read(-1))  # until the client has closed
        while not gone.done():
            writer.write(b"1")
            await asyncio.wait([gone], timeout=0.05)
        left.set()
        writer.transport.abort()

    monkeypatch.setattr(remote, "_PATIENCE", 0.3)
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        keys = remote.RemoteSet(NAME, f"{scheme}://127.0.0.1:{port}/keys", Keyring([]))

        async with asyncio.timeout(DEADLINE):
            assert not await keys.fetch()
            await left.wait()

    assert not keys.loaded


@pytest.mark.parametrize(
    "text",
    [
        "https://issuer.example/keys",
        "i=http://issuer.example/keys",
        "i=http://10.0.0.1/keys",
        "i=http://169.254.169.254/",
        "i=http://127.0.0.1@evil.example/",
        "i=ftp://127.0.0.1/",
        "i=https://",
        "i=https://a:b@h/",
        "i=https://h:99999/",
        "i=https://h/a b",
    ],
)
def test_urls_that_are_not_fetched(text: str) -> None:
    with pytest.raises(SettingError, match="keys"):
        create_app(Settings(keys=(text,)))


def test_a_rotated_key_is_found_and_the_old_one_is_good_no_more(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.0)

    async def rotate() -> list[int]:
        app = create_app(Settings(keys=(f"{NAME}={issuer.url}",), audience=(AUDIENCE,)))
        found: list[int] = []

        async def ask(sent: dict[str, str]) -> None:
            headers = {"host": "localhost", "authorization": sent["Authorization"]}
            answer = await fetch(app, "/events", "topic=a", headers, method="HEAD")
            found.append(answer.status)

        async with lifespan(app):
            issuer.publish(jwk("e1"))
            old = signed("e1")
            await ask(old)
            issuer.publish(jwk("o1"))
            await ask(signed("o1"))
            await ask(old)
        return found

    assert [200, 200, 401] == asyncio.run(rotate())
