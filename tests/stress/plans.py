"""The attacks of `abuse`: what each sends, how it may be answered, and where the hub counts it.

A new attack is one more `Line`. The module knows requests and tokens; it must not know connections.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import Any, NamedTuple

from stress.attackers import Attack
from support.tokens import (
    JWKS_ISSUER,
    RSA_ISSUER,
    by_hand,
    claims,
    pem,
    private_key,
    sign,
)

__all__ = ["HONEST", "Line", "attacks", "plan", "token"]

HONEST = "honest"
"""The topic that all honest readers follow, and that no attacker may touch."""

_ALL: dict[str, Any] = {"subscribe": ["*"], "publish": ["*"], "end": ["*"], "operator": True}
_OWN: dict[str, Any] = {"subscribe": ["attacker/*"], "publish": ["attacker/*"]}
_KINDS = 100  # different requests of an attack whose requests differ


class Line(NamedTuple):
    """One attack, and what is expected.

    Attributes:
        attack: what is sent.
        statuses: how it may be answered; 0: not at all.
        counted: the reasons of ``fastsse_denied_total`` that count each answer of 401 and 403; none: not checked.
        met: numbers of `/metrics` that must have grown, each as family and label.
    """

    attack: Attack
    statuses: frozenset[int]
    counted: frozenset[str] = frozenset()
    met: tuple[tuple[str, str], ...] = ()


def token(subject: str, grants: dict[str, Any], seconds: float = 3600, **more: Any) -> str:
    """Sign a token that the hub takes."""
    return sign(claims(seconds, sub=subject, fastsse=grants, **more))


def plan(share: float) -> list[Line]:
    """Make all attacks.

    Args:
        share: what the rates are multiplied by; at 1 all together send about 300 requests in a second.
    """
    return [
        Line(line.attack._replace(rate=line.attack.rate * share), *line[1:])
        for line in (*_tokens(), *_rights(), *_floods(), *_sizes(), *_slow())
    ]


def attacks(lines: list[Line]) -> list[Attack]:
    """Return what the attackers are told."""
    return [line.attack for line in lines]


def _tokens() -> list[Line]:
    """Forge tokens in all ways, for streams and for publishes to the honest topic."""
    stranger = secrets.token_urlsafe(64)
    good = {"fastsse": _ALL, "sub": "mallory"}
    public = pem(private_key("rsa").public_key())
    shapes = {
        "signature": [sign(claims(3600, jti=str(n), **good), key=stranger) for n in range(_KINDS)],
        "expired": [sign(claims(-60 - n, **good)) for n in range(_KINDS)],
        "early": [sign(claims(3600, nbf=time.time() + 3000, **good))],
        "audience": [sign(claims(3600, **good) | {"aud": "https://another.example"})],
        "key": [
            *(by_hand({"alg": "none"}, claims(3600, **good), signature="AA") for _ in range(2)),
            by_hand({"alg": "HS256"}, claims(3600, iss=RSA_ISSUER, **good), public),
            *(
                by_hand({"alg": "ES256", "kid": f"k{n}"}, claims(3600, iss=JWKS_ISSUER, **good))
                for n in range(_KINDS)
            ),
        ],
        "form": ["a.b.c", "x" * 500, "....", "é.é.é"],
        "size": [f"{'x' * 10_000}.y.z"],
        "claims": [sign(claims(3600, sub="mallory", fastsse={"subscribe": "*"}))],
    }
    refused = frozenset({401})
    lines = [
        Line(
            Attack(f"stream, {reason}", 12, [_get(HONEST, one) for one in found]),
            refused,
            frozenset({reason}),
            (("fastsse_denied_total", reason),),
        )
        for reason, found in shapes.items()
    ]
    posts = [_post(HONEST, one, "FORGED") for found in shapes.values() for one in found]
    random.Random(1).shuffle(posts)
    lines.append(Line(Attack("publish, forged", 40, posts), frozenset({401, 429})))
    return lines


def _rights() -> list[Line]:
    """Bring no credentials, or good ones that do not allow what is asked."""
    mine = token("mallory", _OWN)
    denied = "fastsse_denied_total"
    ticket = f"/events?topic={HONEST}&ticket={'t' * 43}"
    return [
        Line(
            Attack("stream, no token", 10, [_get(HONEST)]),
            frozenset({401}),
            frozenset({"anonymous"}),
            ((denied, "anonymous"),),
        ),
        Line(
            Attack("stream, not granted", 10, [_get(HONEST, mine)]),
            frozenset({403}),
            frozenset({"grant"}),
            ((denied, "grant"),),
        ),
        Line(
            Attack("publish, not granted", 5, [_post(HONEST, mine, "FORGED")]),
            frozenset({403, 429}),
        ),
        Line(
            Attack("stream, bad ticket", 10, [_request("GET", ticket)]),
            frozenset({401}),
            frozenset({"ticket"}),
            ((denied, "ticket"),),
        ),
    ]


def _floods() -> list[Line]:
    """Do what is allowed, more often than quotas allow."""
    opens = token("opener", _OWN)
    posts = token("poster", _OWN)
    asks = token("asker", _OWN)
    tickets = _request("POST", "/tickets?topic=attacker/x", f"Authorization: Bearer {asks}")
    return [
        Line(
            Attack("streams over quota", 30, [_get("attacker/x", opens)], hold=3.0),
            frozenset({200, 429, 503}),
            met=(("fastsse_refused_total", "rate"),),
        ),
        Line(
            Attack("publishes over quota", 40, [_post("attacker/x", posts, "flood")]),
            frozenset({200, 429}),
            met=(("fastsse_denied_total", "rate"),),
        ),
        Line(
            Attack("tickets over quota", 20, [tickets]),
            frozenset({200, 429, 503}),
        ),
    ]


def _sizes() -> list[Line]:
    """Send what is too large in every place, and what is no HTTP."""
    mine = token("sizer", _OWN)
    chance = random.Random(2)
    noise = [chance.randbytes(300).decode("latin-1") for _ in range(20)]
    body = _post("attacker/x", mine, "x" * 1_500_000)
    return [
        Line(Attack("garbage", 10, [*noise, "GET\r\n\r\n", "\r\n" * 50]), frozenset({0, 400})),
        Line(
            Attack("large head", 5, [_request("GET", "/events", f"X: {'h' * 90_000}")]),
            frozenset({0, 400, 413, 431}),
        ),
        Line(
            Attack("large query", 5, [_get("t" * 60_000, mine)]),
            frozenset({0, 400, 413, 414, 431}),
        ),
        Line(Attack("large body", 2, [body]), frozenset({0, 413, 429})),
        Line(
            Attack("many topics", 5, [_get("&topic=".join(map(str, range(3000))), mine)]),
            frozenset({0, 400, 413, 414, 431}),
        ),
    ]


def _slow() -> list[Line]:
    """Send heads and bodies a byte at a time."""
    mine = token("slow", _OWN)
    head = (
        "POST /events?topic=attacker/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    )
    half = f"{head}Authorization: Bearer {mine}\r\nContent-Length: 100000\r\n\r\n"
    return [
        Line(Attack("slow heads", 10, [_get(HONEST, mine)], slow=15.0), frozenset({0, 400, 408})),
        Line(
            Attack("slow bodies", 5, [half + "x" * len(half)], slow=20.0),
            frozenset({0, 408, 429, 503}),
            met=(("fastsse_bodies_refused_total", "silent"),),
        ),
    ]


def _get(topic: str, bearer: str = "") -> str:
    head = f"Authorization: Bearer {bearer}" if bearer else "Accept: text/event-stream"
    return _request("GET", f"/events?topic={topic}", head)


def _post(topic: str, bearer: str, data: str) -> str:
    head = (
        f"Authorization: Bearer {bearer}\r\nContent-Type: text/plain\r\nContent-Length: {len(data)}"
    )
    return _request("POST", f"/events?topic={topic}", head) + data


def _request(method: str, target: str, head: str = "Accept: text/event-stream") -> str:
    length = "Content-Length: 0\r\n" if method == "POST" and "Content-Length" not in head else ""
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{length}{head}\r\n\r\n"
