"""A fuzzer of access control: random tokens, tickets, cookies, queries and headers, until one is let in that must not.

    python tests/fuzz/fuzz_access.py --executions 1_000_000 --seed 1 --jobs 2

An execution is one request to one hub's access control, in this process: the rules for hosts and origins, the guard,
and the reader's query. Requests are made of good ones: a byte of a token changed, parts of two tokens joined, headers
doubled, other algorithms and claims, signed with another key. A judge that shares no code with the guard says from the
request alone whether it may be let in, and for which topics. Exit code 0: the guard and the judge agreed, nothing but
a problem was raised, and no problem told a token. 1: they did not, and the request is printed.
"""

from __future__ import annotations

import base64
import json
import sys
from hashlib import sha256
from hmac import digest
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz.batches import run  # noqa: E402 (found by the line above)

from fastsse.broadcast.access.guard import Guard  # noqa: E402
from fastsse.broadcast.access.hosts import Access  # noqa: E402
from fastsse.broadcast.hub.stats import Stats  # noqa: E402
from fastsse.broadcast.hub.terms import Terms  # noqa: E402
from fastsse.broadcast.settings import Settings  # noqa: E402
from fastsse.broadcast.web.problems import Problem  # noqa: E402
from fastsse.broadcast.web.query import read_terms  # noqa: E402
from fastsse.errors import InvalidField  # noqa: E402

__all__ = ["Failure", "work"]

NOW = 1_900_000_000.0  # s since the epoch, by the clock of every hub here
SECRET = b"8vF2kq0ZpX7sLwR4mT9cYbN1dHgJ6aQe"
OTHER = b"another secret of thirty-two byte"
COOKIE = b"__Host-fastsse"
FRIEND = b"https://friend.example"
TOPICS = [
    b"a",
    b"news/1",
    b"news/eu/n",
    b"private/x",
    b"open",
    b"ann",
    b"%61",
    b"n%65ws/1",
    b"news",
]
TOPICS += [
    b"",
    b"%",
    b"%zz",
    b"\xff",
    b"%ff",
    b"a+b",
    b"a%00",
    b"x" * 257,
    b"%E2%80%A8",
    "é".encode(),
]
FIELDS = [
    b"topic=",
    b"t%6fpic=",
    b"labels=",
    b"last_event_id=",
    b"x=",
    b"topic",
    b"ticket=",
    b"&",
    b"=",
]
GRANTS: list[Any] = [
    {"subscribe": ["a"]},
    {"subscribe": ["news/*"], "labels": False},
    {"subscribe": ["*"]},
    {"subscribe": ["{sub}", "private/*"], "publish": ["a"]},
    {"publish": ["*"], "operator": True},
]
ODD: list[Any] = [
    None,
    [],
    "a",
    {"subscribe": "a"},
    {"subscribe": ["a*b"]},
    {"subscribe": [1]},
    {"read": ["a"]},
    {"subscribe": ["a"], "operator": 1},
    {"subscribe": ["{"]},
]


class Failure(NamedTuple):
    """A request about which the guard and the judge do not agree."""

    why: str
    scope: dict[str, Any]


class Good(NamedTuple):
    """A token that is good.

    Attributes:
        token: its text.
        signed: what was signed.
        signature: in bytes.
        grant: the claim.
    """

    token: bytes
    signed: bytes
    signature: bytes
    grant: dict[str, Any]


def write(part: Any) -> bytes:
    """Write one part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def make(header: Any, claims: Any, key: bytes = SECRET) -> Good:
    """Sign claims, whatever the header says."""
    signed = write(header) + b"." + write(claims)
    signature = digest(key, signed, sha256)
    grant = claims.get("fastsse") if isinstance(claims, dict) else None
    return Good(signed + b"." + write(signature), signed, signature, grant)


TOKENS = [
    make({"alg": "HS256", "typ": "JWT"}, {"exp": NOW + 60, "sub": "ann", "fastsse": grant})
    for grant in GRANTS
]


class Fuzzer:
    """One hub's access control, and requests for it.

    Args:
        seed: of the requests.

    Attributes:
        let_in: requests that the guard has let in.
    """

    def __init__(self, seed: int) -> None:
        self.let_in = 0
        self.random = Random(seed)
        self.settings = Settings(
            keys=(f"secret:{SECRET.decode()}",),
            anonymous_read=("open",),
            origins=(FRIEND.decode(),),
            topics_per_stream=4,
        )
        access = Access(self.settings)
        self.access = access
        self.guard = Guard(self.settings, access, Stats(), clock=lambda: NOW)
        self.tickets: dict[bytes, tuple[bytes, ...]] = {}

    def run(self) -> Failure | None:
        """Make one request and judge what becomes of it."""
        if self.random.random() < 0.02:
            self.issue()
        scope = self.request()
        try:
            self.access.check(scope)
            self.access.check_reader(scope)
            grant = self.guard.grant(scope, tickets=True)
            asked = read_terms(scope["query_string"], self.settings)
            self.guard.need_stream(grant, asked)
        except (Problem, InvalidField) as error:
            return self.judge_problem(scope, Problem.of_error(error))
        except Exception as error:
            return Failure(f"raised {error!r}", scope)
        self.let_in += 1
        why = self.judge(scope, asked)
        return Failure(why, scope) if why else None

    def issue(self) -> None:
        """Make a ticket, as the guard would for a good token."""
        good = self.random.choice(TOKENS)
        scope = self.scope([(b"authorization", b"Bearer " + good.token)], b"")
        grant = self.guard.grant(scope)
        topics = tuple(t for t in ("a", "news/1", "open") if grant.allows("subscribe", (t,)))
        if not topics:
            return
        name = self.guard._tickets.issue(grant, topics)
        if name is not None:
            self.tickets[name.encode()] = tuple(topic.encode() for topic in topics)

    # Requests.

    def request(self) -> dict[str, Any]:
        """Make a request with some credentials, some of them twice, and a query."""
        chance = self.random
        hosts = [b"localhost", b"localhost:80", b"127.0.0.1"]
        headers = [(b"host", chance.choice(hosts) if chance.random() < 0.98 else b"x.y")]
        for _ in range(chance.choice([0, 1, 1, 1, 1, 1, 1, 1, 1, 2])):
            name, value = chance.choice(
                [(b"authorization", self.authorization)] * 2 + [(b"cookie", self.cookie)]
            )
            headers.append((name, value()))
        if chance.random() < 0.3:
            sites = [b"same-origin", b"none", b"cross-site", b"same-site", b"Same-Origin", b""]
            headers.append((b"sec-fetch-site", chance.choice(sites)))
        if chance.random() < 0.3:
            origins = [FRIEND, b"http://localhost", b"https://evil.example", b"null", b"", b"\xff"]
            headers.append((b"origin", chance.choice(origins)))
        if chance.random() < 0.05:
            headers.append(chance.choice(headers))
        chance.shuffle(headers)
        return self.scope(headers, self.query())

    def scope(self, headers: list[tuple[bytes, bytes]], query: bytes) -> dict[str, Any]:
        return {
            "type": "http",
            "method": self.random.choice(["GET", "GET", "HEAD", "POST"]),
            "path": "/events",
            "http_version": "1.1",
            "headers": headers,
            "query_string": query,
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 7),
        }

    def authorization(self) -> bytes:
        scheme = self.random.choice(
            [b"Bearer "] * 30 + [b"bearer ", b"Basic ", b"Bearer", b"", b"\t"]
        )
        return scheme + self.token()

    def cookie(self) -> bytes:
        chance = self.random
        name = chance.choice([COOKIE] * 5 + [b"fastsse", b"__host-fastsse", b"x" + COOKIE])
        parts = [name + b"=" + self.token()]
        parts += [chance.choice([b"a=b", b"", b"=", COOKIE, COOKIE + b"="])] * chance.choice(
            [0, 0, 1]
        )
        chance.shuffle(parts)
        return chance.choice([b"; ", b";", b" ; "]).join(parts)

    def query(self) -> bytes:
        chance = self.random
        parts: list[bytes] = []
        for _ in range(chance.choice([1, 1, 1, 1, 1, 2, 5])):
            likely = chance.choice([TOPICS[:1], TOPICS[:2], TOPICS[:9], TOPICS])
            parts.append(b"topic=" + chance.choice(likely))
        if chance.random() < 0.1:
            parts.append(chance.choice(FIELDS) + chance.choice([*TOPICS, b"1", b"0"]))
        if chance.random() < 0.15:
            parts.append(b"ticket=" + self.ticket())
        chance.shuffle(parts)
        return b"&".join(parts)

    def ticket(self) -> bytes:
        chance = self.random
        if not self.tickets or chance.random() < 0.2:
            return chance.choice([b"", b"x", b"x" * 43, TOKENS[0].token])
        name = chance.choice(list(self.tickets)[-50:])
        return self.changed(name) if chance.random() < 0.3 else name

    def token(self) -> bytes:
        """Make a token: a good one, one with something changed, or one of odd parts."""
        chance = self.random
        good = chance.choice(TOKENS)
        way = chance.randrange(10)
        if way < 5:
            return good.token
        if way < 7:
            return self.changed(good.token)
        if way == 7:
            parts = [chance.choice(TOKENS).token.split(b".")[n] for n in range(3)]
            return b".".join(parts[: chance.choice([1, 2, 3, 3, 3])])
        return self.odd()

    def changed(self, text: bytes) -> bytes:
        """Change some bytes."""
        made = bytearray(text)
        for _ in range(self.random.choice([1, 1, 2, 4])):
            at = self.random.randrange(len(made) or 1)
            new = bytes([self.random.choice(b"AZaz09-_.=+/ \0\xff")])
            made[at : at + self.random.choice([0, 1, 1, 1, 5])] = new
        return bytes(made)

    def odd(self) -> bytes:
        """Make a token whose header, claims or key are not as they should be."""
        chance = self.random
        headers: list[Any] = [
            {"alg": "HS256"},
            {"alg": "none"},
            {"alg": "HS512"},
            {"alg": "RS256"},
            {"alg": "HS256", "kid": "x" * 300},
            {"alg": "HS256", "crit": ["exp"]},
            {"alg": ["HS256"]},
            {"alg": "HS256", "jwk": {"kty": "oct", "k": "eA"}},
            b'{"alg":"none","alg":"HS256"}',
            b"[]",
            b"{",
            b"[" * 5000,
        ]
        claims: dict[str, Any] = {"exp": NOW + 60, "sub": "ann", "fastsse": chance.choice(GRANTS)}
        changes: list[dict[str, Any]] = [
            {"exp": NOW - 60},
            {"exp": "soon"},
            {"exp": True},
            {"exp": 1e400},
            {"exp": 10**30},
            {"nbf": NOW + 60},
            {"aud": "hub"},
            {"sub": "a/b"},
            {"sub": ""},
            {"sub": 5},
            {"iss": ["x"]},
            {"fastsse": chance.choice(ODD)},
        ]
        key = SECRET
        if chance.random() < 0.4:
            key = chance.choice([OTHER, b"", b"\0"])
        elif chance.random() < 0.5:
            claims |= chance.choice(changes)
        else:
            return make(chance.choice(headers[1:]), claims).token
        return make(headers[0], claims, key).token

    # The judge.

    def judge(self, scope: dict[str, Any], asked: Terms) -> str:
        """Say why a request that was let in may not; empty where it may."""
        topics = {value.decode() for key, value in pairs(scope) if key == b"topic"}
        if topics != set(asked.topics):
            return f"asked for {topics}, understood {asked.topics}"
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        tickets = [p[7:] for p in scope["query_string"].split(b"&") if p.startswith(b"ticket=")]
        cookies = [value for name, value in scope["headers"] if name == b"cookie"]
        if len(given) + len(tickets) > 1:
            return "credentials that were there twice were let in"
        if tickets:
            named = {topic.decode() for topic in self.tickets.get(tickets[0], ())}
            return "" if topics <= named else "a ticket opened other topics"
        if given:
            scheme, _, token = given[0].partition(b" ")
            return (scheme.lower() != b"bearer" and "a scheme") or self.of_token(
                token.strip(), topics
            )
        found = [
            v.strip() for c in cookies for v in c.split(b";") if v.strip().startswith(COOKIE + b"=")
        ]
        if len(found) > 1:
            return "two cookies were let in"
        if found:
            bad = "" if self.is_ours(scope) else "a page of another site brought a cookie"
            return bad or self.of_token(found[0][len(COOKIE) + 1 :], topics)
        return "" if topics <= {"open"} else "topics were open to everybody"

    def is_ours(self, scope: dict[str, Any]) -> bool:
        told = dict(scope["headers"])
        site, origin = told.get(b"sec-fetch-site"), told.get(b"origin")
        if origin == FRIEND or (site or b"").lower() in (b"same-origin", b"none"):
            return True
        host = urlsplit("//" + told[b"host"].decode()).hostname
        return site is None and origin == b"http://localhost" and host == "localhost"

    def of_token(self, token: bytes, topics: set[str]) -> str:
        signed, _, signature = token.rpartition(b".")
        good = [one for one in TOKENS if one.signed == signed]
        if not good:
            return "" if self.is_made(signed, signature, topics) else "a token that nobody made"
        if raw(signature) != good[0].signature:
            return "another signature"
        return "" if allows(good[0].grant, topics) else "topics that are not granted"

    def is_made(self, signed: bytes, signature: bytes, topics: set[str]) -> bool:
        """Return True for a token of `odd` whose oddness is none: its header is HS256, its claims are good."""
        if raw(signature) != digest(SECRET, signed, sha256):
            return False
        head, claims = (json.loads(raw(part)) for part in signed.split(b"."))
        good = head.get("alg") == "HS256" and "crit" not in head and len(head.get("kid", "")) < 257
        timely = NOW < claims["exp"] + 5 and claims.get("nbf", 0) <= NOW + 5
        return good and timely and "aud" not in claims and allows(claims["fastsse"], topics)

    def judge_problem(self, scope: dict[str, Any], problem: Problem) -> Failure | None:
        """Check that a problem tells no token, and can be sent."""
        told = problem.body() + "".join(problem.headers.values()).encode("ascii")
        json.loads(problem.body())
        for name, value in scope["headers"]:
            secret = value.rpartition(b" ")[2].rpartition(b"=")[2]
            if name in (b"authorization", b"cookie") and len(secret) > 30 and secret[:30] in told:
                return Failure("a problem told a token", scope)
        return None


def pairs(scope: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Read a query's names and values by the URL standard's rules, as a browser's form is read."""
    parts = [part.partition(b"=") for part in scope["query_string"].split(b"&")]
    return [(plain(name), plain(value)) for name, _, value in parts]


def plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def raw(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def allows(grant: Any, topics: set[str]) -> bool:
    """Return True where the claim's patterns cover all topics."""
    patterns = [text.replace("{sub}", "ann") for text in (grant or {}).get("subscribe", [])]
    return all(
        any(
            p == "*" or p == topic or (p[-2:] == "/*" and topic.startswith(p[:-1]))
            for p in patterns
        )
        for topic in topics
    )


def work(batch: tuple[int, int]) -> tuple[int, Failure | None]:
    """Run some executions of one seed; return how many there were, and the first failure."""
    seed, executions = batch
    fuzzer = Fuzzer(seed)
    for number in range(executions):
        failure = fuzzer.run()
        if failure is not None:
            return number + 1, failure
    return executions, None


def report(failed: Failure) -> None:
    print(f"\n{failed.why}\n{failed.scope}")


def main(arguments: list[str] | None = None) -> int:
    return run(work, report, "the guard and the judge agree", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
