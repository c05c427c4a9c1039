"""Tokens: a signed text becomes a grant, or is refused for a reason.

A token is a JWT (RFC 7519) in the compact form. Its size is bounded before anything is read. Its header names an
algorithm and a key, and decides nothing: the key is one of ours, and says which algorithms are its own. The library
PyJWT checks the signature; the claims are checked here, by one clock:

    exp             needed, ``fastsse`` needs no other claim
    nbf             not before
    iss             the issuer of the key, where the key has one
    aud             one of `Settings.audience`; a token for somebody else is refused, also where none is set
    sub, jti        the bearer's name, the token's own
    iat             when the token was made; read where its subject was revoked, and no reason to refuse it otherwise
    fastsse         what is granted, see `grants`

A token that was checked is known by its digest until it expires, so a thousand readers that come back cost a
thousand digests, and no signature. A new token is parsed once: the claims by which its key was found are those that
the signature covers. The tokens of an issuer begin with one header, so the last headers are kept as they were read.

The module knows tokens and keys; it must not know requests or topics.
"""

from __future__ import annotations

import binascii
import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, NoReturn, cast

import jwt

from fastsse.broadcast.access.grants import BadPattern, Grant, read_grant
from fastsse.broadcast.access.keys import Keyring
from fastsse.broadcast.names import is_text

__all__ = ["LONGEST", "BadToken", "Header", "Tokens", "read_header"]

LONGEST = 8192
"""Bytes of a token; a larger one is refused before it is read."""

_KEPT = 4096  # tokens that are known by their digest
_LONGEST_NAME = 256  # characters of sub, jti, kid
_FORM = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_STANDARD = bytes.maketrans(b"-_", b"+/")  # base64url as base64
_LAST_SECOND = 2**53
_HEADS = 256  # headers that are kept as they were read
_LONGEST_HEAD = 1024  # bytes of a header that is kept

_INVALID = "the token is not valid"
_WORDS = {
    "expired": "the token has expired",
    "early": "the token is not valid yet",
    "issuer": "the token is of another issuer",
    "audience": "the token is for another audience",
    "claims": "the token's claims cannot be read",
}


class BadToken(Exception):
    """A token that is refused. Nothing of the token is in it.

    Attributes:
        reason: a word for the log and the numbers: ``size``, ``form``, ``algorithm``, ``key``, ``signature``, and, once
            the signature is good, ``expired``, ``early``, ``issuer``, ``audience``, ``claims``.
        words: what its bearer is told. About a token that nobody trusted has signed, no more than that.
    """

    def __init__(self, reason: str, more: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = _WORDS.get(reason, _INVALID) + (f": {more}" if more else "")


class Header:
    """The part of an unchecked token by which its key is found.

    Attributes:
        algorithm: ``alg``.
        key: ``kid``, or None.
        issuer: ``iss``, or None.
        unchecked: the claims. Only `Tokens` reads them, once the signature is good.
    """

    __slots__ = ("algorithm", "issuer", "key", "unchecked")

    def __init__(
        self, algorithm: str, key: str | None, issuer: str | None, unchecked: dict[str, Any]
    ) -> None:
        self.algorithm = algorithm
        self.key = key
        self.issuer = issuer
        self.unchecked = unchecked


def read_header(token: bytes) -> Header:
    """Read which key a token asks for. Nothing of it is trusted.

    Raises:
        BadToken: ``size`` or ``form``.
    """
    if len(token) > LONGEST:
        raise BadToken("size")
    match = _FORM.fullmatch(token)
    if match is None:
        raise BadToken("form")
    head, claims = match.group(1, 2)
    algorithm, key = _head(head) if len(head) <= _LONGEST_HEAD else _head.__wrapped__(head)
    unchecked = _object(claims)
    issuer = unchecked.get("iss")
    if not isinstance(issuer, str | None):
        raise BadToken("form")
    return Header(algorithm, key, issuer, unchecked)


@lru_cache(_HEADS)
def _head(part: bytes) -> tuple[str, str | None]:
    """Return ``alg`` and ``kid`` of a header. A refused header is not kept."""
    head = _object(part)
    algorithm, key = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or "crit" in head or not isinstance(key, str | None):
        raise BadToken("form")
    if len(algorithm) > _LONGEST_NAME or len(key or "") > _LONGEST_NAME:
        raise BadToken("form")
    return algorithm, key


class Tokens:
    """The checks of all tokens of one app, and those that are known.

    Args:
        keys: the keys.
        audience: names of this hub, one of which a token is for.
        leeway: seconds by which clocks may differ.
        clock: seconds since the epoch.

    Attributes:
        Bad: what `check` raises, for callers that must not import the library.
    """

    Bad = BadToken

    def __init__(
        self,
        keys: Keyring,
        audience: tuple[str, ...] = (),
        leeway: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self._audience = frozenset(audience)
        self._leeway = leeway
        self._clock = clock
        self._known: OrderedDict[bytes, Grant] = OrderedDict()

    def forget(self) -> None:
        """Check every token anew, because the keys have changed."""
        self._known.clear()

    def known(self, token: bytes) -> Grant | None:
        """Return the grant of a token that was checked before and has not expired."""
        if len(token) > LONGEST:
            return None
        digest = sha256(token).digest()
        grant = self._known.get(digest)
        if grant is None:
            return None
        if grant.until is None or grant.until <= self._clock():
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return grant

    def check(self, token: bytes, header: Header | None = None) -> Grant:
        """Check a token that is not `known`, and know it from here on.

        Raises:
            BadToken: for any of its reasons.
        """
        header = header or read_header(token)
        claims = self._verified(token, header)
        grant = self._grant(claims)
        self._known[sha256(token).digest()] = grant
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return grant

    def _verified(self, token: bytes, header: Header) -> dict[str, Any]:
        """Return the claims of a token that one of our keys has signed."""
        keys = self.keys.of(header.issuer, header.key, header.algorithm)
        if not keys:
            raise BadToken("key")
        # The form was checked, and the algorithm is one of the keys': what is left of PyJWT's road is its check alone.
        algorithm = jwt.get_algorithm_by_name(header.algorithm)
        signed, _, signature = token.rpartition(b".")
        raw = _decode(signature)
        for key in keys:
            try:
                good = algorithm.verify(signed, key.material, raw)
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
            if good:
                return header.unchecked  # parsed from the bytes that were signed
        raise BadToken("signature")

    def _grant(self, claims: dict[str, Any]) -> Grant:
        now = self._clock()
        until = _second(claims, "exp")
        if until is None:
            raise BadToken("claims", "exp is needed")
        until += self._leeway
        if until <= now:
            raise BadToken("expired")
        begins = _second(claims, "nbf")
        if begins is not None and begins > now + self._leeway:
            raise BadToken("early")
        self._check_audience(claims.get("aud"))
        subject, token_id = _name(claims, "sub"), _name(claims, "jti")
        try:
            return read_grant(claims.get("fastsse"), subject, until, token_id, _issued(claims))
        except BadPattern as error:
            raise BadToken("claims", f"fastsse: {error}") from None

    def _check_audience(self, given: object) -> None:
        if given is None:
            if self._audience:
                raise BadToken("audience")
            return
        if not isinstance(given, (str, list)):
            raise BadToken("claims", "aud must be a text, or a list of texts")
        names: list[Any] = [given] if isinstance(given, str) else cast("Any", given)
        if not all(isinstance(name, str) for name in names):
            raise BadToken("claims", "aud must be a text, or a list of texts")
        if not self._audience.intersection(names):
            raise BadToken("audience")


def _object(part: bytes) -> dict[str, Any]:
    try:
        return _parse(_decode(part))
    except BadToken:
        raise BadToken("form") from None


def _decode(part: bytes) -> bytes:
    try:
        return binascii.a2b_base64(part.translate(_STANDARD) + b"===")
    except binascii.Error:
        raise BadToken("form") from None


def _parse(text: bytes) -> dict[str, Any]:
    """Read a JSON object strictly: of a name that is there twice, two readers might take two values."""
    try:
        found: Any = _READER.decode(text.decode())
    except (ValueError, RecursionError):
        raise BadToken("claims") from None
    if not isinstance(found, dict):
        raise BadToken("claims")
    return cast("dict[str, Any]", found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(_: str) -> NoReturn:
    raise ValueError("not a number of JSON")


_READER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)


def _second(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadToken("claims", f"{name} must be a number of seconds")
    if not (math.isfinite(value) if isinstance(value, float) else True):
        raise BadToken("claims", f"{name} must be a number of seconds")
    if not 0 <= value <= _LAST_SECOND:
        raise BadToken("claims", f"{name} must be a number of seconds")
    return float(value)


def _issued(claims: Mapping[str, Any]) -> float | None:
    """Read ``iat``; None where it says nothing, so that the token counts as older than any revocation."""
    try:
        return _second(claims, "iat")
    except BadToken:
        return None


def _name(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not is_text(value):
        raise BadToken("claims", f"{name} must be a text of 1 to {_LONGEST_NAME} characters")
    return value
