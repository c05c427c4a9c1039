"""Measure what access control adds to a reader that opens a stream: ``python -m benchmarks.access [ROUNDS]``.

Each figure is the median of some rounds, in microseconds of processor time for one request: with no keys, with a token
that is known, and with new tokens of each kind. The bars are 15 µs for a known token, 100 µs for a new one by HMAC and
250 µs for a new one by ECDSA or RSA. Nothing is added to a delivery: the grant is in the terms when the stream begins.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fastsse.broadcast import Settings
from fastsse.broadcast.access.guard import Guard
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.terms import Terms

_SECRET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
_EACH = 200  # requests in one round
_BARS = {"known": 15.0, "HS256": 100.0, "ES256": 250.0, "RS256": 250.0}
_TERMS = Terms(("users/ann/1",))


def main() -> None:
    """Measure, print, and exit with 1 where a figure is over its bar."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_measure(Path(folder), rounds))
    base = figures.pop("no keys")
    print(f"{'no keys':10} {base:8.1f} µs")
    over = False
    for name, figure in figures.items():
        added = figure - base
        over |= added > _BARS[name]
        print(f"{name:10} {figure:8.1f} µs, {added:6.1f} added; the bar is {_BARS[name]:.0f}")
    sys.exit(over)


async def _measure(folder: Path, rounds: int) -> dict[str, float]:
    keys: dict[str, Any] = {
        "HS256": _SECRET,
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "RS256": rsa.generate_private_key(65537, 2048),
    }
    sources = [f"secret:{_SECRET}"]
    for name in ("ES256", "RS256"):
        path = folder / name
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        path.write_bytes(keys[name].public_key().public_bytes(serialization.Encoding.PEM, form))
        sources.append(f"https://{name}.example={path}")
    closed, free = _guard(Settings(keys=tuple(sources))), _guard(Settings())
    known = [_scope(_token("HS256", _SECRET, 0))] * _EACH
    figures = {
        "no keys": median(_round(free, known) for _ in range(rounds)),
        "known": median(_round(closed, known) for _ in range(rounds)),
    }
    for name, key in keys.items():
        made = [
            [_scope(_token(name, key, number * _EACH + n)) for n in range(1, _EACH + 1)]
            for number in range(rounds)
        ]
        figures[name] = median(_round(closed, scopes) for scopes in made)
    return figures


def _guard(settings: Settings) -> Callable[[Any], object]:
    guard = Guard(settings, Access(settings), Stats())

    def ask(scope: Any) -> object:
        grant = guard.grant(scope, tickets=True)
        guard.need_stream(grant, _TERMS)
        return guard.put_into(_TERMS, grant)

    return ask


def _token(name: str, key: Any, number: int) -> str:
    claims = {
        "exp": time.time() + 3600,
        "sub": "ann",
        "jti": str(number),
        "fastsse": {"subscribe": ["news", "users/{sub}/*"]},
    } | ({} if name == "HS256" else {"iss": f"https://{name}.example"})
    return jwt.encode(claims, key, name)


def _scope(token: str) -> dict[str, Any]:
    headers = [
        (b"host", b"localhost"),
        (b"accept", b"text/event-stream"),
        (b"user-agent", b"Mozilla/5.0"),
        (b"authorization", b"Bearer " + token.encode()),
    ]
    return {"type": "http", "method": "GET", "query_string": b"topic=a", "headers": headers}


def _round(ask: Callable[[Any], object], scopes: list[dict[str, Any]]) -> float:
    """Ask for each request, and return the microseconds of processor time of one."""
    begin = time.process_time_ns()
    for scope in scopes:
        ask(scope)
    return (time.process_time_ns() - begin) / len(scopes) / 1000


if __name__ == "__main__":
    main()
