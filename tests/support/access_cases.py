"""The table of access: shapes of tokens, and requests by verb and topic, with the status that each is answered.

The hub that is asked has the keys of `write_keys`, the audience `AUDIENCE`, no leeway, and is open to everybody for
reading ``open/*`` and ``front`` and for publishing to ``inbox`` and ``open/*``.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from support.tokens import (
    AUDIENCE,
    JWKS_ISSUER,
    RSA_ISSUER,
    SECRET,
    bearer,
    by_hand,
    claims,
    pem,
    private_key,
    segment,
    sign,
)

__all__ = ["ALL", "CASES", "READ", "SHAPES", "Case", "Shape", "credentials", "hs"]

READ = {"subscribe": ["a"]}


# Shapes of tokens: each asks to read the topic a.

HS: dict[str, Any] = {"alg": "HS256", "typ": "JWT"}


class Shape(NamedTuple):
    """A token, made when its row is run, and the status of a reader that brings it."""

    name: str
    make: Any
    status: int = 401


def hs(**more: Any) -> str:
    return sign(claims(**{"fastsse": READ} | more))


def of_set(name: str, algorithm: str, **headers: Any) -> str:
    given = claims(fastsse=READ, iss=JWKS_ISSUER)
    return sign(given, algorithm, private_key(name), {"kid": name} | headers)


def of_rsa(algorithm: str = "RS256", name: str = "rsa", **more: Any) -> str:
    given = claims(**{"fastsse": READ, "iss": RSA_ISSUER} | more)
    return sign(given, algorithm, private_key(name))


def hand(header: Any = None, given: Any = None, **options: Any) -> str:
    return by_hand(HS if header is None else header, given or claims(fastsse=READ), **options)


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * depth + b"]" * depth + b"}"


SHAPES = [
    # good ones
    Shape("HS256", lambda: hs(), 200),
    Shape("HS384", lambda: sign(claims(fastsse=READ), "HS384"), 200),
    Shape("HS512", lambda: sign(claims(fastsse=READ), "HS512"), 200),
    Shape("RS256", lambda: of_rsa("RS256"), 200),
    Shape("RS384", lambda: of_rsa("RS384"), 200),
    Shape("RS512", lambda: of_rsa("RS512"), 200),
    Shape("PS256 by a PEM key", lambda: of_rsa("PS256"), 200),
    Shape("PS256 by a set", lambda: of_set("p1", "PS256"), 200),
    Shape("ES256", lambda: of_set("e1", "ES256"), 200),
    Shape("ES384", lambda: of_set("e3", "ES384"), 200),
    Shape("ES512", lambda: of_set("e5", "ES512"), 200),
    Shape("EdDSA", lambda: of_set("o1", "EdDSA"), 200),
    Shape(
        "a set without kid",
        lambda: sign(claims(fastsse=READ, iss=JWKS_ISSUER), "ES256", private_key("e1")),
        200,
    ),
    Shape(
        "a kid that a PEM key does not have",
        lambda: sign(
            claims(fastsse=READ, iss=RSA_ISSUER), "RS256", private_key("rsa"), {"kid": "x"}
        ),
        200,
    ),
    Shape("an issuer without keys of its own", lambda: hs(iss="https://nobody.example"), 200),
    Shape("several audiences", lambda: hs(aud=["https://x.example", AUDIENCE]), 200),
    Shape("made by hand", lambda: hand(), 200),
    Shape("other claims beside", lambda: hs(iat=0, scope="x", azp="y", jti="t1"), 200),
    Shape(
        "jwk, jku and x5u in the header are not looked at",
        lambda: hand(
            {
                **HS,
                "jku": "http://127.0.0.1:1/",
                "x5u": "http://127.0.0.1:1/",
                "jwk": {"kty": "oct", "k": "AAAA"},
            }
        ),
        200,
    ),
    Shape("a whole second as exp", lambda: hs(exp=int(time.time()) + 60), 200),
    Shape("nbf in the past", lambda: hs(nbf=time.time() - 1), 200),
    # signatures
    Shape("another secret", lambda: sign(claims(fastsse=READ), key="x" * 20 + SECRET)),
    Shape("an empty secret", lambda: hand(key=b"")),
    Shape("no signature", lambda: hand(signature="")),
    Shape("a signature of zeros", lambda: hand(signature=segment(bytes(32)))),
    Shape("a signature cut short", lambda: hs()[:-4]),
    Shape(
        "claims changed after signing", lambda: _swapped(hs(), claims(fastsse={"subscribe": ["*"]}))
    ),
    Shape("another RSA key", lambda: of_rsa(name="other")),
    Shape(
        "ECDSA with r and s of zero",
        lambda: by_hand(
            {"alg": "ES256", "kid": "e1"},
            claims(fastsse=READ, iss=JWKS_ISSUER),
            signature=segment(bytes(64)),
        ),
    ),
    # algorithms
    Shape("none", lambda: by_hand({"alg": "none"}, claims(fastsse=READ), signature="")),
    Shape("none with a signature", lambda: by_hand({"alg": "none"}, claims(fastsse=READ))),
    Shape("nOnE", lambda: by_hand({"alg": "nOnE"}, claims(fastsse=READ))),
    Shape("no algorithm", lambda: by_hand({"typ": "JWT"}, claims(fastsse=READ))),
    Shape("an empty algorithm", lambda: by_hand({"alg": ""}, claims(fastsse=READ))),
    Shape(
        "an algorithm that is no text", lambda: by_hand({"alg": ["HS256"]}, claims(fastsse=READ))
    ),
    Shape("hs256", lambda: by_hand({"alg": "hs256"}, claims(fastsse=READ))),
    Shape("a public key taken for a secret", lambda: _confused("HS256", RSA_ISSUER)),
    Shape("a public key taken for a secret, no issuer", lambda: _confused("HS256", None)),
    Shape(
        "a public key of the set taken for a secret",
        lambda: _confused("HS256", JWKS_ISSUER, kid="p1"),
    ),
    Shape("RS256 by a key that is for PS256 alone", lambda: of_set("p1", "RS256")),
    Shape("ES256 by the kid of another curve", lambda: of_set("e1", "ES256", kid="e3")),
    Shape(
        "ES256K",
        lambda: by_hand({"alg": "ES256K", "kid": "e1"}, claims(fastsse=READ, iss=JWKS_ISSUER)),
    ),
    # key ids
    Shape("a kid that no key has", lambda: of_set("e1", "ES256", kid="nobody")),
    Shape("a kid that is a path", lambda: of_set("e1", "ES256", kid="../../dev/null")),
    Shape("a kid that is a statement", lambda: of_set("e1", "ES256", kid="' or 1=1 --")),
    Shape("a kid that is a URL", lambda: of_set("e1", "ES256", kid="https://evil.example/k")),
    Shape("a kid that is a number", lambda: hand({**HS, "kid": 1})),
    Shape("a kid that is null and a list", lambda: hand({**HS, "kid": []})),
    Shape("a kid of 300 characters", lambda: hand({**HS, "kid": "k" * 300})),
    Shape("another key's kid", lambda: of_set("e1", "ES256", kid="o1")),
    Shape("crit", lambda: hand({**HS, "crit": ["exp"], "exp": 1})),
    Shape("b64", lambda: hand({**HS, "b64": False, "crit": ["b64"]})),
    # issuers
    Shape("an issuer's name over a key without issuer", lambda: hs(iss=RSA_ISSUER)),
    Shape("an issuer's key for another issuer", lambda: of_rsa(iss=JWKS_ISSUER)),
    Shape("an issuer's key without issuer", lambda: of_rsa(iss=None)),
    Shape("an issuer with a slash more", lambda: of_rsa(iss=RSA_ISSUER + "/")),
    Shape("an issuer that is a list", lambda: hand(given=claims(fastsse=READ, iss=[RSA_ISSUER]))),
    Shape("an issuer that is false", lambda: hand(given=claims(fastsse=READ, iss=False))),
    Shape("the set's issuer over a secret", lambda: hs(iss=JWKS_ISSUER)),
    # audiences
    Shape("no audience", lambda: hs(aud=None)),
    Shape("another audience", lambda: hs(aud="https://other.example")),
    Shape("an audience that begins alike", lambda: hs(aud=AUDIENCE + ".evil.example")),
    Shape("an empty list of audiences", lambda: hs(aud=[])),
    Shape("an audience that is a number", lambda: hand(given=claims(fastsse=READ, aud=7))),
    Shape(
        "audiences that are no texts", lambda: hand(given=claims(fastsse=READ, aud=[AUDIENCE, 7]))
    ),
    # times
    Shape("expired", lambda: hs(exp=time.time() - 1)),
    Shape("expired long ago", lambda: hs(exp=1)),
    Shape("no exp", lambda: hs(exp=None)),
    Shape("exp that is a text", lambda: hand(given=claims(fastsse=READ, exp="9999999999"))),
    Shape("exp that is true", lambda: hand(given=claims(fastsse=READ, exp=True))),
    Shape("exp that is no number", lambda: hand(given=_raw(claims(fastsse=READ), "exp", "NaN"))),
    Shape("exp that is endless", lambda: hand(given=_raw(claims(fastsse=READ), "exp", "Infinity"))),
    Shape("exp of 1e400", lambda: hand(given=_raw(claims(fastsse=READ), "exp", "1e400"))),
    Shape("exp of 400 digits", lambda: hand(given=_raw(claims(fastsse=READ), "exp", "9" * 400))),
    Shape("exp that is negative", lambda: hand(given=claims(fastsse=READ, exp=-1))),
    Shape("exp that is an object", lambda: hand(given=claims(fastsse=READ, exp={}))),
    Shape("not valid yet", lambda: hs(nbf=time.time() + 30)),
    Shape("nbf that is a text", lambda: hand(given=claims(fastsse=READ, nbf="0"))),
    # forms
    Shape("empty", lambda: ""),
    Shape("one part", lambda: "abc"),
    Shape("two parts", lambda: ".".join(hs().split(".")[:2])),
    Shape("four parts", lambda: hs() + ".abc"),
    Shape("an encrypted token's five parts", lambda: hs() + ".a.b"),
    Shape("padding", lambda: hs() + "="),
    Shape("standard base64", lambda: hs().replace(".", "+.", 1)),
    Shape("a quote", lambda: f'"{hs()}"'),
    Shape("two tokens", lambda: f"{hs()},{hs()}"),
    Shape("two tokens and a space", lambda: f"{hs()} {hs()}"),
    Shape("a header that is no JSON", lambda: hand(b"{")),
    Shape("a header that is a list", lambda: hand(b"[]")),
    Shape("claims that are no JSON", lambda: hand(given=b"exp")),
    Shape("claims that are a list", lambda: hand(given=b"[1]")),
    Shape("claims that are not UTF-8", lambda: hand(given=b'{"a":"\xff"}')),
    Shape("a header nested 2,000 deep", lambda: hand(nested(2000))),
    Shape("claims nested 2,000 deep", lambda: hand(given=nested(2000))),
    Shape(
        "a name that is there twice", lambda: hand(given=_raw(claims(fastsse=READ), "sub", '"bob"'))
    ),
    Shape("8,193 bytes", lambda: hs(pad="x" * 8193)),
    Shape("30,000 bytes", lambda: "a" * 30_000),
    # names and grants
    Shape("a subject that is a number", lambda: hand(given=claims(fastsse=READ, sub=1))),
    Shape("an empty subject", lambda: hs(sub="")),
    Shape("a subject with a line end", lambda: hs(sub="ann\nx=1")),
    Shape("a subject of 300 characters", lambda: hs(sub="s" * 300)),
    Shape("a jti that is a list", lambda: hand(given=claims(fastsse=READ, jti=["x"]))),
    Shape("a grant that is a list", lambda: hs(fastsse=["a"])),
    Shape("a grant that is a text", lambda: hs(fastsse="a")),
    Shape("a verb that nobody knows", lambda: hs(fastsse={"subscibe": ["a"]})),
    Shape("patterns that are a text", lambda: hs(fastsse={"subscribe": "*"})),
    Shape("a pattern that is a number", lambda: hs(fastsse={"subscribe": [1]})),
    Shape("an empty pattern", lambda: hs(fastsse={"subscribe": [""]})),
    Shape("a star within a word", lambda: hs(fastsse={"subscribe": ["a*"]})),
    Shape("two stars", lambda: hs(fastsse={"subscribe": ["*/*"]})),
    Shape("a pattern with a line end", lambda: hs(fastsse={"subscribe": ["a\n"]})),
    Shape("braces that nobody knows", lambda: hs(fastsse={"subscribe": ["u/{user}"]})),
    Shape(
        "a subject that is a path in {sub}",
        lambda: hs(sub="a/b", fastsse={"subscribe": ["u/{sub}"]}),
    ),
    Shape(
        "a subject that is a star in {sub}", lambda: hs(sub="*", fastsse={"subscribe": ["u/{sub}"]})
    ),
    Shape("{sub} without a subject", lambda: hs(sub=None, fastsse={"subscribe": ["u/{sub}"]})),
    Shape("operator that is 1", lambda: hs(fastsse={"operator": 1})),
    Shape("1,001 patterns", lambda: hs(fastsse={"subscribe": ["a"] * 1001})),
    # good ones that do not allow that
    Shape("no grant", lambda: hs(fastsse=None), 403),
    Shape("an empty grant", lambda: hs(fastsse={}), 403),
    Shape("another topic", lambda: hs(fastsse={"subscribe": ["b"]}), 403),
    Shape("another verb", lambda: hs(fastsse={"publish": ["a"], "end": ["a"]}), 403),
    Shape("an operator alone", lambda: hs(fastsse={"operator": True}), 403),
]


def _swapped(token: str, given: dict[str, Any]) -> str:
    begin, _, end = token.split(".")
    return ".".join([begin, segment(given), end])


def _confused(algorithm: str, issuer: str | None, **header: Any) -> str:
    public = pem(private_key("p1" if header else "rsa").public_key())
    given = claims(fastsse=READ, iss=issuer)
    return by_hand({"alg": algorithm, **header}, given, public)


def _raw(given: dict[str, Any], name: str, value: str) -> bytes:
    """Write claims with one value as a text of its own, after what stands there already."""
    kept = {key: found for key, found in given.items() if key != name or name == "sub"}
    return (json.dumps(kept)[:-1] + f', "{name}": {value}}}').encode()


class Case(NamedTuple):
    """A grant, a request, and the status of its answer."""

    grant: dict[str, Any] | None
    method: str
    target: str
    status: int
    body: str | None = None


ALL = {"subscribe": ["*"], "publish": ["*"], "end": ["*"]}
CASES = [
    # reading
    Case(None, "HEAD", "topic=open/x", 200),
    Case(None, "HEAD", "topic=front", 200),
    Case(None, "HEAD", "topic=open", 401),
    Case(None, "HEAD", "topic=open/", 200),
    Case(None, "HEAD", "topic=openx", 401),
    Case(None, "HEAD", "topic=Open/x", 401),
    Case(None, "HEAD", "topic=a", 401),
    Case(None, "HEAD", "topic=open/x&topic=a", 401),
    Case(None, "HEAD", "topic=private/x", 401),
    Case({}, "HEAD", "topic=open/x", 403),
    Case({"subscribe": ["a"]}, "HEAD", "topic=a", 200),
    Case({"subscribe": ["a"]}, "HEAD", "topic=%61", 200),
    Case({"subscribe": ["a"]}, "HEAD", "topic=a&topic=b", 403),
    Case({"subscribe": ["a"]}, "HEAD", "topic=b&topic=a", 403),
    Case({"subscribe": ["a"]}, "HEAD", "&&&topic=a&&topic=b", 403),
    Case({"subscribe": ["a"]}, "HEAD", "topic=a%26topic=b", 403),
    Case({"subscribe": ["a"]}, "HEAD", "topic=a/", 403),
    Case({"subscribe": ["a"]}, "HEAD", "topic=A", 403),
    Case({"subscribe": ["a"]}, "HEAD", "topic=", 400),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=p/x", 200),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=p/x/y", 200),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=p/*", 200),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=p", 403),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=px", 403),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=x/p/y", 403),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=*", 403),
    Case({"subscribe": ["p/*"]}, "HEAD", "topic=p/../a", 200),  # a name, and no path
    Case({"subscribe": ["p/q/*"]}, "HEAD", "topic=p/x", 403),
    Case({"subscribe": ["*"]}, "HEAD", "topic=a&topic=p/x", 200),
    Case({"subscribe": ["*"]}, "HEAD", "topic=private/x", 200),
    Case({"subscribe": ["u/{sub}"]}, "HEAD", "topic=u/ann", 200),
    Case({"subscribe": ["u/{sub}"]}, "HEAD", "topic=u/bob", 403),
    Case({"subscribe": ["u/{sub}"]}, "HEAD", "topic=u/{sub}", 403),
    Case({"subscribe": ["u/{sub}"]}, "HEAD", "topic=u/ann/x", 403),
    Case({"subscribe": ["u/{sub}/*"]}, "HEAD", "topic=u/ann/x", 200),
    Case({"subscribe": ["u/{sub}/*"]}, "HEAD", "topic=u/annx/x", 403),
    Case({"subscribe": ["private/{sub}/*"]}, "HEAD", "topic=private/ann/x", 200),
    Case({"subscribe": ["private/{sub}/*"]}, "HEAD", "topic=private/bob/x", 403),
    Case({"subscribe": ["é"]}, "HEAD", "topic=%C3%A9", 200),
    Case({"subscribe": ["é"]}, "HEAD", "topic=e%CC%81", 403),
    Case({"subscribe": ["a"]}, "HEAD", "topic=a&labels=1", 200),
    Case({"subscribe": ["a"], "labels": False}, "HEAD", "topic=a&labels=1", 403),
    Case({"subscribe": ["a"], "labels": False}, "HEAD", "topic=a&labels=0", 200),
    Case({"subscribe": ["a"]}, "HEAD", "topic=b&last_event_id=earliest", 403),
    Case({"publish": ["a"]}, "HEAD", "topic=a", 403),
    # publishing: forms, bodies, streams
    Case(None, "POST", "", 401, "topic=a&data=x"),
    Case(None, "POST", "", 200, "topic=inbox&data=x"),
    Case(None, "POST", "topic=inbox", 200, "data=x"),
    Case(None, "POST", "", 401, "topic=inbox&topic=a&data=x"),
    Case(None, "POST", "topic=inbox", 401, "data=x&end=1"),
    Case(None, "POST", "topic=inbox&end=1", 401, "data=x"),
    Case(None, "POST", "", 401, "topic=private/x&data=x"),
    Case({}, "POST", "", 403, "topic=inbox&data=x"),
    Case({"publish": ["a"]}, "POST", "", 200, "topic=a&data=x"),
    Case({"publish": ["a"]}, "POST", "", 403, "topic=b&data=x"),
    Case({"publish": ["a"]}, "POST", "", 403, "topic=a&topic=b&data=x"),
    Case({"publish": ["a"]}, "POST", "topic=a", 403, "data=x&end=1"),
    Case({"publish": ["ends"], "end": ["ends"]}, "POST", "topic=ends", 200, "data=x&end=1"),
    Case({"publish": ["ends"]}, "POST", "topic=ends", 409, "data=x"),
    Case({"publish": ["a"]}, "POST", "topic=ends", 403, "data=x"),  # not told that it has ended
    Case({"publish": ["p/*"]}, "POST", "", 200, "topic=p/x&data=x"),
    Case({"publish": ["p/*"]}, "POST", "", 403, "topic=p&data=x"),
    Case({"publish": ["u/{sub}"]}, "POST", "", 200, "topic=u/ann&data=x"),
    Case({"publish": ["u/{sub}"]}, "POST", "", 403, "topic=u/bob&data=x"),
    Case({"subscribe": ["*"], "end": ["*"]}, "POST", "", 403, "topic=a&data=x"),
    Case({"publish": ["a"]}, "POST", "", 400, "data=x"),
    # ending
    Case(None, "DELETE", "topic=a", 401),
    Case(None, "DELETE", "topic=inbox", 401),
    Case({}, "DELETE", "topic=a", 403),
    Case({"end": ["gone"]}, "DELETE", "topic=gone", 200),
    Case({"end": ["gone"]}, "DELETE", "topic=gone&topic=a", 403),
    Case({"end": ["gone"]}, "DELETE", "topic=a", 403),
    Case({"publish": ["*"], "subscribe": ["*"]}, "DELETE", "topic=a", 403),
    # numbers
    Case(None, "METRICS", "", 401),
    Case(ALL, "METRICS", "", 403),
    Case({"operator": True}, "METRICS", "", 200),
    Case({"operator": False}, "METRICS", "", 403),
]  # fmt: skip


def credentials(grant: dict[str, Any] | None) -> dict[str, str]:
    return {} if grant is None else bearer(sign(claims(fastsse=grant)))
