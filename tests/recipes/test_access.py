"""The recipes of docs/access.md: as they stand there, with real sessions, a real issuer's kind of set, a real nginx."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from jwt.algorithms import RSAAlgorithm
from proxies.documented import PROXIES, absent, find, start
from support.blocks import code_blocks
from support.neighbours import need
from support.servers import ROOT, Server, free_port, serve, serve_granian, wait_for
from support.starts import STARTS, started
from support.tokens import AUDIENCE, bearer, claims, key_flags, private_key, sign, write_keys

BLOCKS = list(code_blocks(ROOT / "docs" / "access.md"))
NGINX = PROXIES[0]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TEXT = {"Content-Type": "text/plain"}
HEALTH = """

@app.get("/health")
async def health():
    return {}
"""

Answer = Callable[[str, Any], tuple[int, dict[str, str], bytes]]


def block(language: str, word: str) -> str:
    [found] = [one.text for one in BLOCKS if one.language == language and word in one.text]
    return found


@contextmanager
def answering(answer: Answer) -> Iterator[int]:
    """Run a server of the loopback whose answers a function makes of path and headers; give its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, self.headers)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def head(server: Server, topic: str, headers: dict[str, str], path: str = "/events") -> int:
    return server.request("HEAD", f"{path}?topic={topic}", None, headers).status


def listening(process: subprocess.Popen[bytes], port: int) -> Server:
    """Wait until a proxy answers; without a session its answer is 401."""
    front = Server(process, port)

    def answers() -> bool:
        with suppress(OSError):
            return front.request("GET", "/health").status == 401
        return False

    wait_for(answers, STARTS)
    return front


def test_sessions_of_fastapi(tmp_path: Path) -> None:
    need("fastapi", "itsdangerous")
    (tmp_path / "signed_in.py").write_text(block("python", "SessionMiddleware") + HEALTH)
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    with serve_granian(app="signed_in:app", PYTHONPATH=path) as server:
        wrong = server.request(
            "POST", "/sign-in", urlencode({"name": "ann", "password": "x"}), FORM
        )
        nobody = server.request(
            "POST", "/sign-in", urlencode({"name": "bob", "password": " "}), FORM
        )
        right = {"name": "ann", "password": "a good password"}
        signed_in = server.request("POST", "/sign-in", urlencode(right), FORM)
        cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        topics = ["news", "users/ann/1", "users/bob/1"]
        read = [head(server, topic, cookie, "/hub/events") for topic in topics]
        without = [head(server, topic, {}, "/hub/events") for topic in topics]
        forged = head(server, "news", {"Cookie": cookie["Cookie"][:-2]}, "/hub/events")
        posted = [
            server.request("POST", f"/hub/events?topic={topic}", "x", cookie | TEXT).status
            for topic in ("chat/1", "news")
        ]
        elsewhere = cookie | TEXT | {"Origin": "https://elsewhere.example"}
        of_others = server.request("POST", "/hub/events?topic=chat/1", "x", elsewhere).status

    assert [401, 401, 204] == [wrong.status, nobody.status, signed_in.status]
    assert "samesite=strict" in signed_in.headers["set-cookie"].lower()
    assert ([200, 200, 403], [401] * 3, 401) == (read, without, forged)
    assert ([200, 403], 403) == (posted, of_others)


@pytest.mark.parametrize(
    ("issuer", "place"),
    [
        ("https://id.example/realms/main", "/realms/main/protocol/openid-connect/certs"),
        ("https://you.eu.auth0.com/", "/.well-known/jwks.json"),
    ],
)
def test_sets_as_issuers_publish_them(issuer: str, place: str) -> None:
    signs, seals = (
        json.loads(RSAAlgorithm.to_jwk(private_key(name).public_key())) for name in ("rsa", "other")
    )
    keys = [
        seals | {"kid": "enc-1", "use": "enc", "alg": "RSA-OAEP", "x5t": "AA"},
        signs | {"kid": "sig-1", "use": "sig", "alg": "RS256", "x5c": ["AA"], "x5t#S256": "AA"},
    ]
    assert f"{issuer}=https://" in block("sh", "--audience hub")

    def answer(path: str, _: Any) -> tuple[int, dict[str, str], bytes]:
        kind = {"Content-Type": "application/json"}
        return (200, kind, json.dumps({"keys": keys}).encode()) if path == place else (404, {}, b"")

    def token(key: str, kid: str, **more: Any) -> dict[str, str]:
        given = claims(iss=issuer, fastsse={"subscribe": ["news"]}) | more
        return bearer(sign(given, "RS256", private_key(key), {"kid": kid}))

    with answering(answer) as port:
        flags = ["--keys", f"{issuer}=http://127.0.0.1:{port}{place}", "--audience", AUDIENCE]
        with serve(*flags) as server:
            good = [head(server, topic, token("rsa", "sig-1")) for topic in ("news", "other")]
            bad = [
                head(server, "news", token("other", "enc-1")),
                head(server, "news", token("rsa", "sig-1", aud="account")),
                head(server, "news", token("rsa", "sig-1", iss=issuer.rstrip("/") + "x")),
            ]

    assert ([200, 403], [401] * 3) == (good, bad)


def test_nginx_asks_the_backend(tmp_path: Path) -> None:
    if find(NGINX) is None:
        absent(f"no {NGINX.program} here; {NGINX.install}")
    keys = write_keys(tmp_path)
    granted = sign(claims(fastsse={"subscribe": ["news"], "publish": ["chat"]}))

    def answer(path: str, headers: Any) -> tuple[int, dict[str, str], bytes]:
        good = path == "/hub-token" and headers["Cookie"] == "session=abc"
        return (204, {"X-Hub-Token": granted}, b"") if good else (401, {}, b"")

    with answering(answer) as backend, serve(*key_flags(keys), "--audience", AUDIENCE) as hub:
        config = block("nginx", "auth_request").replace("127.0.0.1:9000", f"127.0.0.1:{backend}")
        nginx = NGINX._replace(recipe=lambda _, *place: NGINX.recipe([config], *place))
        port = free_port()
        begin = partial(start, nginx, port, hub.port)
        ready = partial(listening, port=port)
        with started("nginx", begin, ready) as front:
            own = {"Cookie": "session=abc"}
            lie = bearer(sign(claims(fastsse={"subscribe": ["*"]})))
            read = [head(front, topic, own | lie) for topic in ("news", "other")]
            without = [head(front, "news", given) for given in ({}, lie, {"Cookie": "session=x"})]
            posted = front.request("POST", "/events?topic=chat", "x", own | TEXT).status
            asked_for = front.request("GET", "/_hub_token", None, own).status
        beside = head(hub, "news", own)

    assert ([200, 403], [401] * 3) == (read, without)
    assert (200, 404, 401) == (posted, asked_for, beside)
