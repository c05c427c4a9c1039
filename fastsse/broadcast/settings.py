"""Every knob of the broadcast: its default, bounds, unit and purpose, in one place.

One field is one knob. Its command-line flag is ``--like-this``, its environment variable ``FASTSSE_LIKE_THIS``, its key
in a TOML file ``like_this``. A value from Python or the command line goes before one from the environment, that before
one from the file, that before the default. Unknown names and values that are not allowed are refused at the start, with
the rule. Where a knob can be off, 0 turns it off: flags, variables and files have no other word for "no limit".

Some knobs may have another value for some topics, by pattern. In a file each pattern is a table and in Python a
mapping. On the command line each pattern is one text, and the flag may be repeated; in the environment a semicolon
separates the texts:

    [topics."prices/*"]                      Settings(topics={"prices/*": {"slow_policy": "latest"}})
    slow_policy = "latest"                   --topics 'prices/*:slow_policy=latest,history_events=10'

The module knows names, defaults and bounds; it must not know what a setting does. Which limits a stream of several
topics has is the hub's to say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fastsse.broadcast.admission import Admission
from fastsse.broadcast.keeping import PER_TOPIC, knob
from fastsse.broadcast.knobs import Choice, Knob, Names, Number, Patterns, Switch, Tables, read_file
from fastsse.errors import SettingError, shorten

__all__ = ["ENVIRONMENT_PREFIX", "KNOBS", "PER_TOPIC", "Settings", "TopicSettings"]

ENVIRONMENT_PREFIX = "FASTSSE_"

TopicSettings = (
    Mapping[str, Mapping[str, Any]] | tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
)
"""Values by knob by pattern, in the order in which patterns are tried; kept as pairs, so that they are immutable."""

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Admission):
    """The broadcast's knobs, those of `Admission` among them. Immutable; checked when made.

    Attributes:
        store: where the log lives: `memory:` (this process), `sqlite:///FILE`, or the URL of a server that several
            processes share (see stores.md) (default: memory:).
        store_wait: time for which a start waits for a store that cannot be reached; afterwards the start fails
            (default: 0 s).
        store_ready: `/health` answers 503 while the store cannot be reached, so that a load balancer takes this process
            out; otherwise only publishes are refused (default: false).
        retain_events: events that the store keeps of all topics; in a table of `topics`, of each one that matches; 0:
            no limit (default: 10,000,000 events).
        retain_bytes: bytes of events that the store keeps of all topics; in a table, of each one that matches; 0: no
            limit (default: 1,073,741,824 bytes).
        retain_seconds: time for which the store keeps an event; in a table, of topics that match; 0: no limit (default:
            0 s).
        heartbeat: a stream that was quiet for this long gets a comment; 0: never (default: 15 s).
        lifetime: a stream ends after this long, or up to 20 % earlier, by chance; its reader comes back and loses
            nothing; 0: never (default: 900 s).
        retry: reconnection time that readers are told (default: 2,000 ms).
        history_events: events kept of one topic; 0: no replay (default: 1,000 events).
        history_bytes: bytes kept of one topic (default: 1,048,576 bytes).
        history_total: bytes that all kept events take, with their topics; when there are more, the largest topic loses
            its oldest events (default: 67,108,864 bytes).
        max_topics: topics with a history; when there are more, the one that nobody follows and that was published to
            least recently is forgotten (default: 10,000 topics).
        keep_ended: events of a topic that has ended are kept for this long after the end; 0: for as long as there is
            room (default: 3,600 s).
        max_runs: runs that go on at a time; another one is refused (default: 1,000 runs).
        run_seconds: a run is cancelled after this long, and its topic ends; 0: never (default: 3,600 s).
        run_bytes: bytes that the events of one run take in the history, all of which it keeps; a run that has made more
            is cancelled, and its topic ends (default: 4,194,304 bytes).
        ended_bytes: bytes that the names of ended topics take whose events are kept no longer; their readers get 204
            and stay away; when there are more, the oldest name is forgotten and may be used anew (default: 4,194,304
            bytes).
        max_event_size: data of one event; a larger event is refused (413), and so is one whose written form takes over
            4,096 bytes more than this (default: 1,048,576 bytes).
        max_topic_length: a topic's name in UTF-8 (default: 256 bytes).
        topics_per_stream: topics that one stream may follow (default: 100 topics).
        topics_per_publish: topics that one event may have (default: 100 topics).
        retry_from_publishers: publishers over HTTP may set the reconnection time of readers (the field retry);
            otherwise they get 403 (default: false).
        max_bodies: request bodies that are read at once: forms, events, streams of events; when there are more, a body
            that was silent for long gives its place to the new one, or the new one is refused (503) (default: 512
            bodies).
        body_bytes: bytes held of all bodies that are being read; when there are more, the largest body is given up
            (503) (default: 67,108,864 bytes).
        body_seconds: time for a form or a raw body to arrive, and one second more for each 8 KiB of it; also its
            longest pause; afterwards 408 (default: 30 s).
        publish_idle: longest silence of a stream that is being published, comments count as life; afterwards 408; 0: no
            limit (default: 300 s).
        max_streams: open streams; when there are so many, a reader is told to come later (503) (default: 10,000
            streams).
        max_followed: bytes that the names of all followed topics take; when they take so many, a reader of new names is
            told to come later (503) (default: 67,108,864 bytes).
        turn_away: answer to an EventSource for which there is no stream now: an empty stream with a reconnection time,
            after which it comes back (retry), or the status 503, at which it gives up (status); other clients get 503
            in either case (default: retry).
        lag_events: events that a blocked reader may be behind (default: 1,000 events).
        lag_bytes: bytes that a blocked reader may be behind (default: 4,194,304 bytes).
        lag_seconds: time that a reader may be blocked (default: 30 s).
        slow_policy: what becomes of a reader over its limits: its stream ends (end), it goes on after the newest event
            (skip), or it gets the newest event of each topic and goes on (latest) (default: end).
        topics: other values of history_events, history_bytes, retain_events, retain_bytes, retain_seconds, lag_events,
            lag_bytes, lag_seconds, slow_policy for topics that match PATTERN (* stands for any characters); an exact
            name goes before patterns, an earlier pattern before a later one (default: none).
        coalesce: time for which publishes are collected, to leave joined; 0: only those of one moment are joined
            (default: 0 s).
        drain: time over which the ends of the streams are spread at shutdown; 0: all end at once (default: 0 s).
        origins: origins of other sites whose pages may read and publish; *: pages of every site may read (default:
            none).
        hosts: names that this server answers to, besides addresses, names of the loopback and the bound host (default:
            none).
        metric_classes: names of topics, or patterns of names (* stands for any characters), whose subscribers
            `/metrics` counts, one figure for each; a topic counts for the first that matches (default: none).

    Raises:
        SettingError: a value has another type, or is not allowed.
    """

    heartbeat: float = knob(
        Number(15.0, "a stream that was quiet for this long gets a comment; 0: never", "s", 0, _DAY)
    )
    lifetime: float = knob(
        Number(
            900.0,
            "a stream ends after this long, or up to 20 % earlier, by chance; its reader comes back and loses "
            "nothing; 0: never",
            "s",
            0,
            30 * _DAY,
        )
    )
    retry: int = knob(Number(2000, "reconnection time that readers are told", "ms", 0, 86_400_000))
    history_events: int = knob(PER_TOPIC["history_events"])
    history_bytes: int = knob(PER_TOPIC["history_bytes"])
    history_total: int = knob(
        Number(
            64 * 2**20,
            "bytes that all kept events take, with their topics; when there are more, the largest topic loses "
            "its oldest events",
            "bytes",
            0,
            2**40,
        )
    )
    max_topics: int = knob(
        Number(
            10_000,
            "topics with a history; when there are more, the one that nobody follows and that was published "
            "to least recently is forgotten",
            "topics",
            1,
            10_000_000,
        )
    )
    keep_ended: float = knob(
        Number(
            3600.0,
            "events of a topic that has ended are kept for this long after the end; 0: for as long as there is room",
            "s",
            0,
            30 * _DAY,
        )
    )
    max_runs: int = knob(
        Number(1000, "runs that go on at a time; another one is refused", "runs", 0, 2**20)
    )
    run_seconds: float = knob(
        Number(
            3600.0,
            "a run is cancelled after this long, and its topic ends; 0: never",
            "s",
            0,
            30 * _DAY,
        )
    )
    run_bytes: int = knob(
        Number(
            4 * 2**20,
            "bytes that the events of one run take in the history, all of which it keeps; a run that has made more is "
            "cancelled, and its topic ends",
            "bytes",
            1,
            2**40,
        )
    )
    ended_bytes: int = knob(
        Number(
            4 * 2**20,
            "bytes that the names of ended topics take whose events are kept no longer; their readers get 204 and stay "
            "away; when there are more, the oldest name is forgotten and may be used anew",
            "bytes",
            0,
            2**40,
        )
    )
    max_event_size: int = knob(
        Number(
            2**20,
            "data of one event; a larger event is refused (413), and so is one whose written form takes over "
            "4,096 bytes more than this",
            "bytes",
            1,
            2**30,
        )
    )
    max_topic_length: int = knob(Number(256, "a topic's name in UTF-8", "bytes", 1, 4096))
    topics_per_stream: int = knob(
        Number(100, "topics that one stream may follow", "topics", 1, 10_000)
    )
    topics_per_publish: int = knob(
        Number(100, "topics that one event may have", "topics", 1, 10_000)
    )
    retry_from_publishers: bool = knob(
        Switch(
            False,
            "publishers over HTTP may set the reconnection time of readers (the field retry); otherwise they "
            "get 403",
        )
    )
    max_bodies: int = knob(
        Number(
            512,
            "request bodies that are read at once: forms, events, streams of events; when there are more, a "
            "body that was silent for long gives its place to the new one, or the new one is refused (503)",
            "bodies",
            1,
            2**20,
        )
    )
    body_bytes: int = knob(
        Number(
            64 * 2**20,
            "bytes held of all bodies that are being read; when there are more, the largest body is given up "
            "(503)",
            "bytes",
            1,
            2**40,
        )
    )
    body_seconds: float = knob(
        Number(
            30.0,
            "time for a form or a raw body to arrive, and one second more for each 8 KiB of it; also its "
            "longest pause; afterwards 408",
            "s",
            0.05,
            _DAY,
        )
    )
    publish_idle: float = knob(
        Number(
            300.0,
            "longest silence of a stream that is being published, comments count as life; afterwards 408; "
            "0: no limit",
            "s",
            0,
            30 * _DAY,
        )
    )
    max_streams: int = knob(
        Number(
            10_000,
            "open streams; when there are so many, a reader is told to come later (503)",
            "streams",
            1,
            2**20,
        )
    )
    max_followed: int = knob(
        Number(
            64 * 2**20,
            "bytes that the names of all followed topics take; when they take so many, a reader of new names "
            "is told to come later (503)",
            "bytes",
            0,
            2**40,
        )
    )
    turn_away: str = knob(
        Choice(
            "retry",
            "answer to an EventSource for which there is no stream now: an empty stream with a reconnection "
            "time, after which it comes back (retry), or the status 503, at which it gives up (status); other "
            "clients get 503 in either case",
            ("retry", "status"),
        )
    )
    lag_events: int = knob(PER_TOPIC["lag_events"])
    lag_bytes: int = knob(PER_TOPIC["lag_bytes"])
    lag_seconds: float = knob(PER_TOPIC["lag_seconds"])
    slow_policy: str = knob(PER_TOPIC["slow_policy"])
    topics: TopicSettings = knob(  # noqa: RUF009 (a knob like the others, whose type ruff cannot see)
        Tables(
            (),
            f"other values of {', '.join(PER_TOPIC)} for topics that match PATTERN (* stands for any "
            "characters); an exact name goes before patterns, an earlier pattern before a later one",
            PER_TOPIC,
        )
    )
    coalesce: float = knob(
        Number(
            0.0,
            "time for which publishes are collected, to leave joined; 0: only those of one moment are joined",
            "s",
            0,
            1,
        )
    )
    drain: float = knob(
        Number(
            0.0,
            "time over which the ends of the streams are spread at shutdown; 0: all end at once",
            "s",
            0,
            3600,
        )
    )
    origins: tuple[str, ...] = knob(
        Names(
            (),
            "origins of other sites whose pages may read and publish; *: pages of every site may read",
            "origins",
        )
    )
    hosts: tuple[str, ...] = knob(
        Names(
            (),
            "names that this server answers to, besides addresses, names of the loopback and the bound host",
            "hosts",
        )
    )
    metric_classes: tuple[str, ...] = knob(
        Patterns(
            (),
            "names of topics, or patterns of names (* stands for any characters), whose subscribers "
            "`/metrics` counts, one figure for each; a topic counts for the first that matches",
            "patterns",
        )
    )

    def __post_init__(self) -> None:
        for name, one in KNOBS.items():
            value = one.keep(name, getattr(self, name))
            one.check(name, value)
            object.__setattr__(self, name, value)

    @classmethod
    def load(
        cls,
        *,
        file: str | None = None,
        environ: Mapping[str, str] | None = None,
        **given: Any,
    ) -> Settings:
        """Collect settings: from `given`, otherwise the environment, otherwise a TOML file, otherwise the default.

        Args:
            file: path of a TOML file with the fields as top-level keys.
            environ: the environment; `os.environ` when None. Of its names only those of knobs are read.
            given: fields by name; None stands for "not given".

        Raises:
            SettingError: a name is unknown, or a value has another type or is not allowed.
            OSError: the file cannot be read.
        """
        found = {} if file is None else read_file(file)
        environment = os.environ if environ is None else environ
        for name, one in KNOBS.items():
            text = environment.get(ENVIRONMENT_PREFIX + name.upper())
            if text is not None:
                found[name] = one.parse(name, text)
        found.update((name, value) for name, value in given.items() if value is not None)
        for name in found:
            if name not in KNOBS:
                raise SettingError(
                    f"{shorten(name)}: unknown setting; known are {', '.join(KNOBS)}"
                )
        return cls(**found)


KNOBS: Mapping[str, Knob] = {one.name: one.metadata["knob"] for one in fields(Settings)}
"""Every knob by its name, in the order of the class."""
