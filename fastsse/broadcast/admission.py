"""The knobs of access control: whose tokens are taken, and what is open to everybody.

A part of `Settings`, which has every knob; the module knows names, defaults and bounds, and must not know what a
setting does. Keys never show where settings are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastsse.broadcast.keeping import Keeping, knob
from fastsse.broadcast.knobs import Choice, Names, Number, Patterns, Text

__all__ = ["Admission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission(Keeping):
    """The knobs of access control.

    Attributes:
        keys: keys that tokens are signed with: files (PEM, a JWK, a JWK set, a secret), URLs of JWK sets, or
            secret:TEXT; ISSUER= before a key binds it to the tokens of one issuer; without any key there is no access
            control (default: none).
        audience: names of this hub, one of which a token must be for (aud); without any, a token that names an audience
            is refused (default: none).
        leeway: time by which the clocks of issuers may differ (default: 5 s).
        anonymous_read: topics that may be read without a token: names, prefixes such as news/*, or * for all; none that
            begins with private/ (default: none).
        anonymous_publish: topics that may be published to without a token: names, prefixes such as news/*, or * for all
            (default: none).
        cookie: cookie that may bring a token, from pages of this host (default: __Host-fastsse).
        ticket_seconds: time for which a ticket is good (default: 30 s).
        revoked_seconds: time for which a revoked token or subject is remembered: at least as long as the longest token
            is good (default: 2,678,400 s).
        may: function that says what a request without a token may do, as module:function (see access.md); none: no
            function (default: none).
        may_seconds: time that the function may take; afterwards the request is refused (default: 5 s).
        streams_per_subject: open streams of one subject; 0: no limit (default: 100 streams).
        streams_per_address: open streams of one address, of IPv6 of one network of 64 bits; 0: no limit, as behind a
            proxy that is not in trusted_proxies, where all readers have its address (default: 0 streams).
        opens_per_second: streams that one address, and one subject, may open in a second; ten seconds' worth at once;
            0: no limit (default: 0 streams).
        posts_per_second: publishes, ends and tickets that one address, and one subject, may ask for in a second; ten
            seconds' worth at once; a posted stream counts once; 0: no limit (default: 0 requests).
        bytes_per_second: bytes that one address, and one subject, may publish in a second: data and types of events,
            whole bodies of event streams; ten seconds' worth at once; 0: no limit (default: 0 bytes).
        topic_events_per_second: events that may be published to one topic over HTTP in a second; ten seconds' worth at
            once; 0: no limit (default: 0 events).
        topic_bytes_per_second: bytes that may be published to one topic over HTTP in a second, counted as in
            bytes_per_second; ten seconds' worth at once; 0: no limit (default: 0 bytes).
        trusted_proxies: addresses and networks of proxies whose word on a client's address is taken, for quotas and
            logs; unix for connections by a Unix socket; none: the address of the connection counts (default: none).
        proxy_header: header in which trusted proxies name the client; either: the one that is there, and where both are
            there and differ, the address of the connection counts (default: either).

    Raises:
        SettingError: a value has another type, or is not allowed.
    """

    keys: tuple[str, ...] = knob(
        Names(
            (),
            "keys that tokens are signed with: files (PEM, a JWK, a JWK set, a secret), URLs of JWK sets, or "
            "secret:TEXT; ISSUER= before a key binds it to the tokens of one issuer; without any key there is no "
            "access control",
            "keys",
        ),
        shown=False,
    )
    audience: tuple[str, ...] = knob(
        Names(
            (),
            "names of this hub, one of which a token must be for (aud); without any, a token that names an audience is "
            "refused",
            "names",
        )
    )
    leeway: float = knob(Number(5.0, "time by which the clocks of issuers may differ", "s", 0, 300))
    anonymous_read: tuple[str, ...] = knob(
        Patterns(
            (),
            "topics that may be read without a token: names, prefixes such as news/*, or * for all; none that begins "
            "with private/",
            "patterns",
        )
    )
    anonymous_publish: tuple[str, ...] = knob(
        Patterns(
            (),
            "topics that may be published to without a token: names, prefixes such as news/*, or * for all",
            "patterns",
        )
    )
    cookie: str = knob(
        Text("__Host-fastsse", "cookie that may bring a token, from pages of this host", "name")
    )
    ticket_seconds: float = knob(Number(30.0, "time for which a ticket is good", "s", 1, 600))
    revoked_seconds: float = knob(
        Number(
            31 * 86_400.0,
            "time for which a revoked token or subject is remembered: at least as long as the longest token is good",
            "s",
            1,
            3660 * 86_400.0,
        )
    )
    may: str = knob(
        Text(
            "none",
            "function that says what a request without a token may do, as module:function (see access.md); none: no "
            "function",
            "`module:function`",
        )
    )
    may_seconds: float = knob(
        Number(
            5.0, "time that the function may take; afterwards the request is refused", "s", 0.05, 60
        )
    )
    streams_per_subject: int = knob(
        Number(100, "open streams of one subject; 0: no limit", "streams", 0, 2**20)
    )
    streams_per_address: int = knob(
        Number(
            0,
            "open streams of one address, of IPv6 of one network of 64 bits; 0: no limit, as behind a proxy that is "
            "not in trusted_proxies, where all readers have its address",
            "streams",
            0,
            2**20,
        )
    )
    opens_per_second: float = knob(
        Number(
            0.0,
            "streams that one address, and one subject, may open in a second; ten seconds' worth at once; 0: no limit",
            "streams",
            0,
            100_000,
        )
    )
    posts_per_second: float = knob(
        Number(
            0.0,
            "publishes, ends and tickets that one address, and one subject, may ask for in a second; ten seconds' "
            "worth at once; a posted stream counts once; 0: no limit",
            "requests",
            0,
            100_000,
        )
    )
    bytes_per_second: float = knob(
        Number(
            0.0,
            "bytes that one address, and one subject, may publish in a second: data and types of events, whole bodies "
            "of event streams; ten seconds' worth at once; 0: no limit",
            "bytes",
            0,
            2**40,
        )
    )
    topic_events_per_second: float = knob(
        Number(
            0.0,
            "events that may be published to one topic over HTTP in a second; ten seconds' worth at once; 0: no limit",
            "events",
            0,
            10_000_000,
        )
    )
    topic_bytes_per_second: float = knob(
        Number(
            0.0,
            "bytes that may be published to one topic over HTTP in a second, counted as in bytes_per_second; ten "
            "seconds' worth at once; 0: no limit",
            "bytes",
            0,
            2**40,
        )
    )
    trusted_proxies: tuple[str, ...] = knob(
        Names(
            (),
            "addresses and networks of proxies whose word on a client's address is taken, for quotas and logs; unix "
            "for connections by a Unix socket; none: the address of the connection counts",
            "networks",
        )
    )
    proxy_header: str = knob(
        Choice(
            "either",
            "header in which trusted proxies name the client; either: the one that is there, and where both are there "
            "and differ, the address of the connection counts",
            ("either", "x-forwarded-for", "forwarded"),
        )
    )
