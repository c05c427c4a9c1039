"""Keys and tokens for the tests of access control: real keys of every kind, made once, and files of them.

A token is signed by the library that checks it, or put together by hand where no library would sign it.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from functools import cache
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

__all__ = [
    "AUDIENCE",
    "JWKS_ISSUER",
    "RSA_ISSUER",
    "SECRET",
    "Keys",
    "bearer",
    "by_hand",
    "claims",
    "key_flags",
    "pem",
    "private_key",
    "segment",
    "sign",
    "write_keys",
]

AUDIENCE = "https://hub.example"
RSA_ISSUER = "https://rsa.example"
JWKS_ISSUER = "https://set.example"
SECRET = secrets.token_urlsafe(64)


class Keys(NamedTuple):
    """The files of one set of keys.

    Attributes:
        secret: one secret, of any issuer without keys of its own.
        rsa: a public key in PEM, of `RSA_ISSUER`.
        jwks: a set with the ids e1, e3, e5 (EC), o1 (Ed25519), p1 (RSA, for PS256 alone), of `JWKS_ISSUER`.
    """

    secret: Path
    rsa: Path
    jwks: Path


@cache
def private_key(name: str) -> Any:
    """Make a private key, once for each name: rsa, other, p1, e1, e3, e5, o1."""
    curves: dict[str, Any] = {"e1": ec.SECP256R1(), "e3": ec.SECP384R1(), "e5": ec.SECP521R1()}
    if name in curves:
        return ec.generate_private_key(curves[name])
    if name == "o1":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> bytes:
    """Write a public key as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    written: bytes = key.public_bytes(serialization.Encoding.PEM, form)
    return written


def jwk(name: str) -> dict[str, Any]:
    """Write the public half of a key as a JWK."""
    kinds: dict[str, Any] = {
        "e": ECAlgorithm,
        "o": OKPAlgorithm,
        "p": RSAAlgorithm,
        "r": RSAAlgorithm,
    }
    public = private_key(name).public_key()
    return json.loads(kinds[name[0]].to_jwk(public)) | {"kid": name, "use": "sig"}


def write_keys(folder: Path) -> Keys:
    """Write the files of a hub's keys."""
    keys = Keys(folder / "secret", folder / "rsa.pem", folder / "jwks.json")
    keys.secret.write_text(SECRET + "\n")
    keys.rsa.write_bytes(pem(private_key("rsa").public_key()))
    members = [jwk(name) for name in ("e1", "e3", "e5", "o1")] + [jwk("p1") | {"alg": "PS256"}]
    keys.jwks.write_text(json.dumps({"keys": members}))
    return keys


def key_flags(keys: Keys) -> tuple[str, str]:
    """Return the option of `serve` that takes all of these keys."""
    return "--keys", f"{keys.secret},{RSA_ISSUER}={keys.rsa},{JWKS_ISSUER}={keys.jwks}"


def claims(seconds: float = 60, **more: Any) -> dict[str, Any]:
    """Make claims that are good for some seconds; a value of None takes a claim away."""
    found = {"exp": time.time() + seconds, "aud": AUDIENCE, "sub": "ann"} | more
    return {name: value for name, value in found.items() if value is not None}


def sign(
    given: dict[str, Any],
    algorithm: str = "HS256",
    key: Any = SECRET,
    headers: dict[str, Any] | None = None,
) -> str:
    """Sign claims."""
    return jwt.encode(given, key, algorithm, headers)


def segment(value: Any) -> str:
    """Write one part of a token."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(
    header: Any, given: Any, key: bytes = SECRET.encode(), *, signature: str | None = None
) -> str:
    """Put a token together that no library would make: signed by HMAC with SHA-256, or with a signature of your own."""
    signed = f"{segment(header)}.{segment(given)}"
    if signature is None:
        signature = segment(digest(key, signed.encode(), sha256))
    return f"{signed}.{signature}"


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
