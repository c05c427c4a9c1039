"""Tokens, and the bounds of all that is kept of them between two requests."""

from __future__ import annotations

import pytest
from support.tokens import SECRET, by_hand, claims, sign

from fastsse.broadcast.access import tokens
from fastsse.broadcast.access.keys import Key, Keyring
from fastsse.broadcast.access.tokens import BadToken, Tokens, read_header

HEADS = tokens._head


def test_however_many_headers_come_a_few_are_kept() -> None:
    for number in range(1000):
        read_header(by_hand({"alg": "HS256", "kid": f"k{number}"}, claims()).encode())

    info = HEADS.cache_info()
    assert info.currsize == info.maxsize == 256


@pytest.mark.parametrize(
    "header",
    [{"alg": 1}, {"kid": "k"}, {"alg": "HS256", "crit": []}, {"alg": "HS256", "kid": "k" * 300}],
    ids=["alg", "no alg", "crit", "kid"],
)
def test_a_bad_header_is_refused_each_time_and_never_kept(header: dict[str, object]) -> None:
    HEADS.cache_clear()

    for _ in range(2):
        with pytest.raises(BadToken, match="form"):
            read_header(by_hand(header, claims()).encode())

    assert HEADS.cache_info().currsize == 0


def test_a_long_header_is_read_and_never_kept() -> None:
    HEADS.cache_clear()
    long = by_hand({"alg": "HS256", "kid": "k", "x5c": "y" * 2000}, claims())

    assert read_header(long.encode()).key == "k"

    assert HEADS.cache_info().currsize == 0


def test_claims_are_those_that_were_signed() -> None:
    """Tokens share their header, and each has claims and a signature of its own."""
    checked = Tokens(Keyring([Key(SECRET.encode())]))
    ann, bob = (sign(claims(sub=name, aud=None)) for name in ("ann", "bob"))
    head, middle, _ = ann.split(".")

    assert [checked.check(token.encode()).subject for token in (ann, bob)] == ["ann", "bob"]
    with pytest.raises(BadToken, match="signature"):
        checked.check(f"{head}.{middle}.{bob.split('.')[2]}".encode())
