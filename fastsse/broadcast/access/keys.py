"""The keys that tokens are checked with: read from a text or a file, each bound to the algorithms of its own kind.

    secret:TEXT             a secret, for HS256, HS384 and HS512
    FILE                    PEM (a public key or a certificate), a JWK, a JWK set, or a secret and nothing else
    ISSUER=…                any of these; the key is good for tokens of this issuer alone

An algorithm belongs to a kind of key, and never to a token: a token says which algorithm it has, and is refused where
its key is not made for that. So a public key is never taken for a secret, and ``none`` is the algorithm of no key.
Weak keys are refused at the start.

No message and no text of an object shows a key. The module knows keys; it must not know claims or requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_decode

from fastsse.errors import SettingError, shorten

__all__ = ["BadKey", "Key", "Keyring", "key_of_jwk", "keys_of_set", "read_keys", "split_source"]

_LARGEST = 2**20  # bytes of a file of keys
_MOST = 100  # keys of one set
_TRIED = 16  # keys that one token is tried with at most
_LONGEST_ID = 256  # characters of a `kid`
_RSA_BITS = 2048
_FEWEST = 8  # different bytes of a secret
_SECRET = "secret:"

_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}  # the least bytes of a secret, RFC 7518, 3.2
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# The prime of each curve, and y of its points of small order: by such a key a signature holds that nobody has made.
_P255, _P448 = 2**255 - 19, 2 ** (2 * 224) - 2**224 - 1
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # of order 8
_SMALL = {
    _P255: frozenset({0, 1, _P255 - 1, _Y8, _P255 - _Y8}),
    _P448: frozenset({0, 1, _P448 - 1}),
}
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class BadKey(ValueError):
    """A key that cannot be used. The text says why, and shows nothing of the key."""


class Key:
    """One key. Its text shows nothing of it.

    Attributes:
        material: bytes of a secret, otherwise a public key of the library ``cryptography``.
        algorithms: the algorithms that a token may have which is checked with it.
        id: the key's ``kid``; None without one.
        issuer: the only issuer whose tokens it checks; None: of an issuer that has no keys of its own.
    """

    __slots__ = ("algorithms", "id", "issuer", "material")

    def __init__(
        self,
        material: Any,
        *,
        id: str | None = None,
        issuer: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        known = _algorithms(material)
        if algorithm is not None and algorithm not in known:
            raise BadKey(f"the algorithm must be one of {', '.join(sorted(known))}")
        self.material = material
        self.algorithms = known if algorithm is None else frozenset({algorithm})
        self.id = id
        self.issuer = issuer


class Keyring:
    """All keys, found by issuer, key id and algorithm.

    Args:
        keys: as read at the start.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys: dict[str | None, list[Key]] = {}
        for key in keys:
            self._keys.setdefault(key.issuer, []).append(key)

    def replace(self, issuer: str, keys: Iterable[Key]) -> None:
        """Put other keys in the place of an issuer's."""
        self._keys[issuer] = list(keys)

    def all_of(self, issuer: str | None) -> list[Key]:
        """Return the keys of an issuer."""
        return self._keys.get(issuer, [])

    def knows(self, issuer: str | None, id: str | None) -> bool:
        """Return True when an issuer has a key of this id."""
        return any(key.id == id for key in self._keys.get(issuer, ()))

    def of(self, issuer: str | None, id: str | None, algorithm: str) -> list[Key]:
        """Return the keys that a token may be signed with, 16 at most.

        A key without id serves tokens of any id; a token without id is tried with all keys of its issuer.
        """
        own = self._keys.get(issuer) if issuer in self._keys else self._keys.get(None)
        fitting = [key for key in own or () if algorithm in key.algorithms]
        if id is not None:
            named = [key for key in fitting if key.id == id]
            fitting = named or [key for key in fitting if key.id is None]
        return fitting[:_TRIED]


def split_source(text: str) -> tuple[str | None, str]:
    """Split ``ISSUER=SOURCE``; the issuer is None where there is none."""
    if text.startswith(_SECRET) or "=" not in text:
        return None, text
    issuer, _, source = text.partition("=")
    return issuer.strip(), source.strip()


def read_keys(text: str) -> list[Key]:
    """Read the keys of one text of the setting `keys`.

    Raises:
        SettingError: the text, the file or a key in it cannot be used; the message shows no key.
    """
    issuer, source = split_source(text)
    shown = f"{_SECRET}…" if source.startswith(_SECRET) else shorten(source)
    try:
        if issuer == "":
            raise BadKey("an issuer stands before the =")
        if source.startswith(_SECRET):
            return [Key(source.removeprefix(_SECRET).encode(), issuer=issuer)]
        return _read_file(source, issuer)
    except OSError as error:
        raise SettingError(f"keys {shown!r}: {error.strerror or 'cannot be read'}") from None
    except BadKey as error:
        raise SettingError(f"keys {shown!r}: {error}") from None


def keys_of_set(data: bytes, issuer: str | None, *, public: bool) -> list[Key]:
    """Read a JWK set or one JWK.

    Args:
        public: the set comes from elsewhere: a key of it that cannot be used is left out, and so is every secret.

    Raises:
        BadKey: there is no key to use, or (unless `public`) one that cannot be used.
    """
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise BadKey("must be JSON") from None
    if not isinstance(found, dict):
        raise BadKey("must be a JWK or a JWK set")
    whole: dict[Any, Any] = cast("Any", found)
    members: Any = whole.get("keys", [found])
    if not isinstance(members, list) or len(cast("Any", members)) > _MOST:
        raise BadKey(f"must be a list of at most {_MOST} keys")
    keys: list[Key] = []
    for member in cast("Any", members):
        try:
            if public and _is_secret(member):
                raise BadKey("a secret cannot be public")
            keys.append(key_of_jwk(member, issuer))
        except BadKey:
            if not public:
                raise
    if not keys:
        raise BadKey("has no key that can be used")
    return keys


def _is_secret(member: Any) -> bool:
    return isinstance(member, Mapping) and cast("Any", member).get("kty") == "oct"


def key_of_jwk(member: Any, issuer: str | None) -> Key:
    """Read one JWK (RFC 7517).

    Raises:
        BadKey: the key is private, weak, of another kind, or not for signatures.
    """
    if not isinstance(member, Mapping):
        raise BadKey("a JWK must be an object")
    jwk: Mapping[Any, Any] = cast("Any", member)
    id, algorithm, use = jwk.get("kid"), jwk.get("alg"), jwk.get("use", "sig")
    if not isinstance(id, str | None) or len(id or "") > _LONGEST_ID:
        raise BadKey(f"kid must be a text of at most {_LONGEST_ID} characters")
    if not isinstance(algorithm, str | None):
        raise BadKey("alg must be a text")
    operations: Any = jwk.get("key_ops", ["verify"])
    if use != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise BadKey("must be for the use of checking signatures")
    if jwk.get("kty") != "oct" and "d" in jwk:
        raise BadKey("is private: give the hub the public key alone")
    return Key(_material(jwk), id=id, issuer=issuer, algorithm=algorithm)


def _material(member: Mapping[Any, Any]) -> Any:
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    kind = member.get("kty")
    try:
        if kind == "oct":
            return base64url_decode(str(member["k"]))
        readers: dict[object, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
        return readers[kind].from_jwk(dict(member))
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, OverflowError):
        raise BadKey("cannot be read as a JWK") from None


def _read_file(path: str, issuer: str | None) -> list[Key]:
    with Path(path).open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise BadKey(f"must be at most {_LARGEST} bytes")
    data = data.strip()
    if data.startswith(b"{"):
        return keys_of_set(data, issuer, public=False)
    if data.startswith(b"-----BEGIN"):
        return [Key(_public_key(data), issuer=issuer)]
    if not data.isascii() or b"-----BEGIN" in data or data.startswith(b"ssh-"):
        raise BadKey("must be PEM, a JWK, a JWK set, or one secret in ASCII")
    return [Key(data, issuer=issuer)]


def _public_key(data: bytes) -> Any:
    if b"PRIVATE KEY" in data:
        raise BadKey("is private: give the hub the public key alone")
    try:
        if b"BEGIN CERTIFICATE" in data:
            return load_pem_x509_certificate(data).public_key()
        return load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("cannot be read as PEM") from None


def _algorithms(material: Any) -> frozenset[str]:
    """Return the algorithms of a key's kind, and refuse a weak key."""
    if isinstance(material, bytes):
        least = min(_HMAC.values())
        if len(material) < least or len(set(material)) < _FEWEST:
            raise BadKey(f"a secret must be at least {least} bytes, chosen at random")
        return frozenset(name for name, size in _HMAC.items() if len(material) >= size)
    if isinstance(material, RSAPublicKey):
        if material.key_size < _RSA_BITS:
            raise BadKey(f"an RSA key must have at least {_RSA_BITS} bits")
        return _RSA
    if isinstance(material, EllipticCurvePublicKey) and material.curve.name in _CURVES:
        return frozenset({_CURVES[material.curve.name]})
    if isinstance(material, (Ed25519PublicKey, Ed448PublicKey)):
        if _is_small(material):
            raise BadKey("an Ed25519 or Ed448 key of small order lets anybody sign")
        return frozenset({"EdDSA"})
    raise BadKey("must be a secret, RSA, EC (P-256, P-384, P-521), Ed25519 or Ed448")


def _is_small(key: Ed25519PublicKey | Ed448PublicKey) -> bool:
    """Return True for a point of small order (RFC 8032, 5.1.3 and 5.2.3: y, and the sign of x as the highest bit)."""
    point = bytearray(key.public_bytes_raw())
    point[-1] &= 0x7F
    prime = _P255 if isinstance(key, Ed25519PublicKey) else _P448
    return int.from_bytes(point, "little") % prime in _SMALL[prime]
