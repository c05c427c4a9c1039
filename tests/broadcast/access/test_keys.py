"""Keys: what is taken, what is refused at the start, and that no message shows one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from support.tokens import SECRET, jwk, pem, private_key, segment

from fastsse.broadcast import SettingError, Settings
from fastsse.broadcast.access.keys import BadKey, Keyring, keys_of_set, read_keys, split_source
from fastsse.broadcast.app import create_app


def write(folder: Path, content: bytes) -> str:
    path = folder / "key"
    path.write_bytes(content)
    return str(path)


def private_pem(key: Any) -> bytes:
    none = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    written: bytes = key.private_bytes(serialization.Encoding.PEM, form, none)
    return written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a/b", (None, "/a/b")),
        ("secret:a=b", (None, "secret:a=b")),
        ("https://i=/a/b", ("https://i", "/a/b")),
        ("https://i=secret:a=b", ("https://i", "secret:a=b")),
        ("https://i = /a", ("https://i", "/a")),
    ],
)
def test_an_issuer_stands_before_its_key(text: str, expected: tuple[str | None, str]) -> None:
    assert expected == split_source(text)


@pytest.mark.parametrize(
    ("size", "algorithms"),
    [(32, {"HS256"}), (47, {"HS256"}), (48, {"HS256", "HS384"}), (64, {"HS256", "HS384", "HS512"})],
)
def test_a_secret_is_for_the_algorithms_that_it_is_long_enough_for(
    size: int, algorithms: set[str]
) -> None:
    [key] = read_keys("secret:" + SECRET[:size])

    assert algorithms == key.algorithms


@pytest.mark.parametrize(
    ("make", "algorithms"),
    [
        (lambda: private_key("rsa"), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (lambda: private_key("e1"), {"ES256"}),
        (lambda: private_key("e3"), {"ES384"}),
        (lambda: private_key("e5"), {"ES512"}),
        (lambda: private_key("o1"), {"EdDSA"}),
        (ed448.Ed448PrivateKey.generate, {"EdDSA"}),
    ],
)
def test_a_public_key_is_for_the_algorithms_of_its_kind(
    make: Any, algorithms: set[str], tmp_path: Path
) -> None:
    [key] = read_keys(write(tmp_path, pem(make().public_key())))

    assert algorithms == key.algorithms


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "at least 32 bytes"),
        (b"short", "at least 32 bytes"),
        (b"a" * 64, "chosen at random"),
        (b"abcd" * 16, "chosen at random"),
        (b"\xff" * 64, "must be PEM"),
        (b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 x@y", "must be PEM"),
        (b"Bag Attributes\n-----BEGIN PUBLIC KEY-----\nx", "must be PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "cannot be read as PEM"),
        (b"{", "must be JSON"),
        (b"{}", "JWK"),
        (b'{"keys": []}', "no key"),
        (b'{"keys": {}}', "a list"),
        (b'{"keys": [1]}', "must be an object"),
        (b'{"keys": ' + b"[" * 5000 + b"]" * 5000 + b"}", "must be"),
        (b'{"kty": "oct", "k": "AAAA"}', "at least 32 bytes"),
        (b'{"kty": "oct"}', "cannot be read"),
        (b'{"kty": "XX"}', "cannot be read"),
        (b'{"kty": "RSA", "n": "AQAB", "e": "AQAB"}', "cannot be read|bits"),
        (b'{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}', "cannot be read"),
    ],
)
def test_files_that_hold_no_key(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=words):
        read_keys(write(tmp_path, content))


BAD: list[tuple[Any, str]] = [
    (lambda: private_pem(private_key("rsa")), "private"),
    (lambda: pem(rsa.generate_private_key(65537, 1024).public_key()), "2048 bits"),
    (lambda: pem(ec.generate_private_key(ec.SECP256K1()).public_key()), "P-256"),
    (lambda: pem(x25519.X25519PrivateKey.generate().public_key()), "must be a secret, RSA"),
    (lambda: json.dumps(jwk("e1") | {"d": "AAAA"}).encode(), "private"),
    (lambda: json.dumps(jwk("e1") | {"use": "enc"}).encode(), "signatures"),
    (lambda: json.dumps(jwk("e1") | {"key_ops": ["sign"]}).encode(), "signatures"),
    (lambda: json.dumps(jwk("e1") | {"alg": "HS256"}).encode(), "must be one of ES256"),
    (lambda: json.dumps(jwk("p1") | {"alg": "none"}).encode(), "must be one of PS256"),
    (lambda: json.dumps(jwk("p1") | {"alg": 1}).encode(), "alg must be a text"),
    (lambda: json.dumps(jwk("p1") | {"kid": 1}).encode(), "kid must be a text"),
    (lambda: json.dumps({"keys": [jwk("e1")] * 101}).encode(), "at most 100"),
]


@pytest.mark.parametrize(("make", "words"), BAD, ids=map(str, range(len(BAD))))
def test_keys_that_must_not_be_used(make: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=words):
        read_keys(write(tmp_path, make()))


P255, P448 = 2**255 - 19, 2**448 - 2**224 - 1
Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
SMALL = [  # y of points of small order, some written with the prime added
    *(("Ed25519", y) for y in (0, 1, P255 - 1, Y8, P255 - Y8, P255, P255 + 1)),
    *(("Ed448", y) for y in (0, 1, P448 - 1, P448, P448 + 1)),
]


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize(("curve", "y"), SMALL, ids=map(str, range(len(SMALL))))
def test_a_key_by_which_anybody_can_sign_is_refused(
    curve: str, y: int, odd: bool, tmp_path: Path
) -> None:
    point = bytearray(y.to_bytes(32 if curve == "Ed25519" else 57, "little"))
    point[-1] |= 0x80 * odd
    member = {"kty": "OKP", "crv": curve, "x": segment(bytes(point)), "kid": "k"}

    with pytest.raises(SettingError, match=r"small order|cannot be read"):
        read_keys(write(tmp_path, json.dumps(member).encode()))
    with pytest.raises(BadKey, match="no key"):
        keys_of_set(json.dumps({"keys": [member]}).encode(), "https://i", public=True)


def test_a_public_set_leaves_out_what_cannot_be_used_and_every_secret() -> None:
    secret = {"kty": "oct", "k": "A" * 64, "kid": "s"}
    members = [secret, {"kty": "XX"}, jwk("e1") | {"use": "enc"}, jwk("o1")]

    found = keys_of_set(json.dumps({"keys": members}).encode(), "https://i", public=True)

    assert ["o1"] == [key.id for key in found]
    with pytest.raises(BadKey, match="no key"):
        keys_of_set(json.dumps({"keys": [secret]}).encode(), "https://i", public=True)


def test_an_issuer_with_keys_of_its_own_is_served_by_these_alone() -> None:
    ours, everybodys = read_keys(f"https://i=secret:{SECRET}"), read_keys(f"secret:{SECRET[::-1]}")
    ring = Keyring([*ours, *everybodys])

    assert ours == ring.of("https://i", None, "HS256")
    assert everybodys == ring.of("https://x", None, "HS256")
    assert everybodys == ring.of(None, "any", "HS256")
    assert [] == ring.of("https://i", None, "RS256")


def test_no_text_shows_a_key() -> None:
    settings = Settings(keys=(f"secret:{SECRET}",))
    [key] = read_keys(f"secret:{SECRET}")

    texts = [repr(settings), str(settings), repr(key), repr(create_app(settings).__dict__)]
    with pytest.raises(SettingError) as caught:
        read_keys(f"=secret:{SECRET}")

    assert [] == [text for text in [*texts, str(caught.value)] if SECRET in text]
