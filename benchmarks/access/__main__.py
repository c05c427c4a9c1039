"""Measure what access control adds to a reader that opens a stream: ``python -m benchmarks.access [ROUNDS]``.

Each figure is the median of some rounds, in microseconds of processor time for one request: with no keys, with a token
that is known, and with new tokens of each kind. The bars are 15 µs for a known token, 100 µs for a new one by HMAC and
250 µs for a new one by ECDSA or RSA.

Two columns say what part of that is whose: the call of PyJWT's ``decode`` alone, which checks the signature and the
claims, and the check of the signature alone. All meet in each round, so that a busy machine slows down all of them; the
ratio to ``decode`` can be believed where the microseconds cannot.

`benchmarks.access.streams` counts what a delivery and an idle stream cost.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.utils import base64url_decode

from fastsse.broadcast import Settings
from fastsse.broadcast.access.guard import Guard
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.terms import Terms

SECRET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
_EACH = 200  # requests in one round
_BARS = {"known": 15.0, "HS256": 100.0, "ES256": 250.0, "RS256": 250.0}
_TERMS = Terms(("users/ann/1",))


class _Kind(NamedTuple):
    """The keys of one algorithm, and what the bare library does with a token of it."""

    signing: Any
    checking: Any

    def decode(self, name: str, token: str) -> object:
        return jwt.decode(token, self.checking, [name])

    def verify(self, name: str, token: str) -> object:
        signed, _, signature = token.encode().rpartition(b".")
        algorithm = jwt.get_algorithm_by_name(name)
        return algorithm.verify(signed, self.checking, base64url_decode(signature))


def main() -> None:
    """Measure, print, and exit with 1 where a figure is over its bar."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_measure(Path(folder), rounds))
    base = median(figures["no keys"])
    print(
        f"{'µs a request':12} {'all':>7} {'added':>7} {'bar':>5} {'decode':>8} {'verify':>8}  added/decode"
    )
    print(f"{'no keys':12} {base:7.1f}")
    over = False
    for name, bar in _BARS.items():
        added = median(_less(figures[name], figures["no keys"]))
        over |= added > bar
        line = f"{name:12} {median(figures[name]):7.1f} {added:7.1f} {bar:5.0f}"
        if bare := figures.get(f"{name} decode"):
            share = median(
                a / b for a, b in zip(_less(figures[name], figures["no keys"]), bare, strict=True)
            )
            line += f" {median(bare):8.1f} {median(figures[f'{name} verify']):8.1f} {share:13.2f}"
        print(line)
    sys.exit(over)


def _less(some: Iterable[float], others: Iterable[float]) -> list[float]:
    return [one - other for one, other in zip(some, others, strict=True)]


async def _measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the figures of each round, by what was measured."""
    curve, number = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    kinds = {
        "HS256": _Kind(SECRET, SECRET.encode()),
        "ES256": _Kind(curve, curve.public_key()),
        "RS256": _Kind(number, number.public_key()),
    }
    closed, free = _guard(Settings(keys=tuple(_sources(kinds, folder)))), _guard(Settings())
    known = [scope_of(token_of("HS256", SECRET, 0))] * _EACH
    _round(closed, known)
    figures: dict[str, list[float]] = {}
    for turn in range(rounds):
        figures.setdefault("no keys", []).append(_round(free, known))
        figures.setdefault("known", []).append(_round(closed, known))
        for name, kind in kinds.items():
            first = 1 + turn * _EACH
            tokens = [token_of(name, kind.signing, n) for n in range(first, first + _EACH)]
            scopes = [scope_of(token) for token in tokens]
            figures.setdefault(name, []).append(_round(closed, scopes))
            for verb in ("decode", "verify"):
                bare = getattr(kind, verb)
                spent = _round(lambda token, bare=bare, name=name: bare(name, token), tokens)
                figures.setdefault(f"{name} {verb}", []).append(spent)
    return figures


def _sources(kinds: dict[str, _Kind], folder: Path) -> Iterable[str]:
    """Write the keys, and yield the texts of the setting `keys`."""
    yield f"secret:{SECRET}"
    for name in ("ES256", "RS256"):
        path = folder / name
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        path.write_bytes(kinds[name].checking.public_bytes(serialization.Encoding.PEM, form))
        yield f"https://{name}.example={path}"


def _guard(settings: Settings) -> Callable[[Any], object]:
    guard = Guard(settings, Access(settings), Stats())

    def ask(scope: Any) -> object:
        grant = guard.grant(scope, tickets=True)
        guard.need_stream(grant, _TERMS)
        return guard.put_into(_TERMS, grant)

    return ask


def token_of(name: str, key: Any, number: int, subject: str = "ann") -> str:
    """Sign a token that no other number has."""
    claims = {
        "exp": time.time() + 3600,
        "sub": subject,
        "jti": str(number),
        "fastsse": {"subscribe": ["news", "users/{sub}/*"]},
    } | ({} if name == "HS256" else {"iss": f"https://{name}.example"})
    return jwt.encode(claims, key, name)


def scope_of(token: str) -> dict[str, Any]:
    """Make the scope of a request that brings a token."""
    headers = [
        (b"host", b"localhost"),
        (b"accept", b"text/event-stream"),
        (b"user-agent", b"Mozilla/5.0"),
        (b"authorization", b"Bearer " + token.encode()),
    ]
    return {"type": "http", "method": "GET", "query_string": b"topic=a", "headers": headers}


def _round(ask: Callable[[Any], object], given: list[Any]) -> float:
    """Ask for each, and return the microseconds of processor time of one."""
    begin = time.process_time_ns()
    for one in given:
        ask(one)
    return (time.process_time_ns() - begin) / len(given) / 1000


if __name__ == "__main__":
    main()
