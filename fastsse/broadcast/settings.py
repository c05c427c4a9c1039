"""Every knob of the broadcast: its unit, default, bounds and environment variable, in one place.

One field is one knob. Its command line flag is ``--like-this``, its environment variable ``FASTSSE_LIKE_THIS``,
its key in a TOML file ``like_this``. What is given in Python or on the command line goes before the environment,
the environment before the file, the file before the default. Unknown names and values out of bounds are refused
at the start, with the rule.

Some knobs may have another value for some topics, by pattern. In a file each pattern is a table, in Python a mapping,
elsewhere a text, which is repeated as a flag and parted by ``;`` in the environment:

    [topics."prices/*"]                      Settings(topics={"prices/*": {"slow_policy": "latest"}})
    slow_policy = "latest"                   --topics 'prices/*:slow_policy=latest,history_events=10'

What a topic and a stream of several topics then have is said in `limits.py`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["ENVIRONMENT_PREFIX", "SettingError", "Settings", "TopicSettings"]

ENVIRONMENT_PREFIX = "FASTSSE_"

TopicSettings = (
    Mapping[str, Mapping[str, Any]] | tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
)
"""Knobs by name by pattern, in the order in which patterns are tried; pairs once they are kept, to be immutable."""

_DAY = 86_400.0
_MOST_PATTERNS = 1000
_TOPICS_FORM = "PATTERN:KEY=VALUE,KEY=VALUE"


class SettingError(ValueError):
    """A setting that is unknown or out of bounds; the message names it, the value and the rule."""


def _knob(
    default: Any,
    help: str,
    unit: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    per_topic: bool = False,
) -> Any:
    metadata = {
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "per_topic": per_topic,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The broadcast's knobs. Immutable; checked when made.

    Raises:
        SettingError: a value has another type, or is out of its bounds.
    """

    heartbeat: float = _knob(
        15.0,
        "a stream that was quiet for this long gets a comment; 0: never",
        "s",
        low=0,
        high=_DAY,
    )
    lifetime: float = _knob(
        900.0,
        "a stream is ended after this long (80 to 100 % of it, by chance); its reader comes back "
        "and loses nothing; 0: never",
        "s",
        low=0,
        high=30 * _DAY,
    )
    retry: int = _knob(
        2000, "reconnection time that readers are told", "ms", low=0, high=86_400_000
    )
    history_events: int = _knob(
        1000,
        "events kept of one topic; 0: no replay",
        "events",
        low=0,
        high=10_000_000,
        per_topic=True,
    )
    history_bytes: int = _knob(
        2**20, "bytes kept of one topic", "bytes", low=0, high=2**40, per_topic=True
    )
    history_total: int = _knob(64 * 2**20, "bytes kept of all topics", "bytes", low=0, high=2**40)
    max_topics: int = _knob(
        10_000,
        "topics with a history; beyond, the least recently published one is forgotten",
        "topics",
        low=1,
        high=10_000_000,
    )
    max_event_size: int = _knob(
        2**20, "data of one event; more is refused (413)", "bytes", low=1, high=2**30
    )
    max_topic_length: int = _knob(256, "a topic's name in UTF-8", "bytes", low=1, high=4096)
    topics_per_stream: int = _knob(
        100, "topics that one stream may follow", "topics", low=1, high=10_000
    )
    topics_per_publish: int = _knob(
        100, "topics that one event may have", "topics", low=1, high=10_000
    )
    max_streams: int = _knob(
        10_000,
        "open streams; beyond, a reader is told to come later (503)",
        "streams",
        low=1,
        high=2**20,
    )
    lag_events: int = _knob(
        1000,
        "a blocked reader may fall behind by this many events",
        "events",
        low=1,
        high=10_000_000,
        per_topic=True,
    )
    lag_bytes: int = _knob(
        4 * 2**20,
        "a blocked reader may fall behind by this many bytes",
        "bytes",
        low=1,
        high=2**40,
        per_topic=True,
    )
    lag_seconds: float = _knob(
        30.0, "a reader may be blocked for this long", "s", low=0.05, high=_DAY, per_topic=True
    )
    slow_policy: str = _knob(
        "end",
        "a reader over its limits is ended, skipped to the end, or left the latest event of each topic",
        choices=("end", "skip", "latest"),
        per_topic=True,
    )
    topics: TopicSettings = _knob(  # noqa: RUF009 (a knob like the others, whose type ruff cannot see)
        (),
        "for topics that match PATTERN (*: any characters) other values of history_events, history_bytes, "
        "lag_events, lag_bytes, lag_seconds, slow_policy; an exact name goes before patterns, an earlier "
        "pattern before a later one",
        _TOPICS_FORM,
    )
    coalesce: float = _knob(
        0.0,
        "publishes of this long leave joined; 0: those that come together",
        "ms",
        low=0,
        high=10_000,
    )
    drain: float = _knob(
        0.0, "at shutdown the streams end over this long; 0: at once", "s", low=0, high=3600
    )
    origins: tuple[str, ...] = _knob(
        (), "origins of other sites whose pages may read and publish; *: any may read", "origins"
    )
    hosts: tuple[str, ...] = _knob(
        (),
        "names that this server answers to, beside those of the loopback and the bound one",
        "hosts",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "topics", _freeze(self.topics))
        for knob in fields(self):
            if knob.name == "topics":
                _check_topics(self.topics)
            else:
                _check(knob.name, getattr(self, knob.name), knob.default, knob.metadata)

    @classmethod
    def load(
        cls,
        *,
        file: str | None = None,
        environ: Mapping[str, str] | None = None,
        **given: Any,
    ) -> Settings:
        """Settings from everywhere: what is given, else the environment, else a TOML file, else the default.

        Args:
            file: path of a TOML file with the fields as top-level keys.
            environ: the environment; `os.environ` when None. Of its names only those of knobs are read.
            given: fields by name; None stands for "not given".

        Raises:
            SettingError: an unknown name, or a value of another type or out of bounds.
            OSError: the file cannot be read.
        """
        known = {knob.name: knob for knob in fields(cls)}
        found: dict[str, Any] = {}
        if file is not None:
            found.update(_read_file(file))
        environment = os.environ if environ is None else environ
        for name, knob in known.items():
            text = environment.get(ENVIRONMENT_PREFIX + name.upper())
            if text is not None:
                found[name] = _parse(name, text, knob.default)
        found.update((name, value) for name, value in given.items() if value is not None)
        for name in found:
            if name not in known:
                raise SettingError(f"{name}: unknown setting; known are {', '.join(known)}")
        if "topics" in found:
            found["topics"] = _topics_of(found["topics"])
        return cls(**{name: _lift(value, known[name].default) for name, value in found.items()})


def _read_file(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        try:
            return tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise SettingError(f"{path}: not TOML: {error}") from error


def _parse(name: str, text: str, default: Any) -> Any:
    """A value from a text, by the type of its default."""
    if name == "topics":
        return text
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise SettingError(f"{name} {text!r}: must be {kind}") from None


def _lift(value: Any, default: Any) -> Any:
    """TOML and callers may write 15 for 15.0 and a list for a tuple."""
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, tuple) and type(value) in (list,):
        return tuple(value)
    return value


def _check(name: str, value: Any, default: Any, metadata: Mapping[str, Any]) -> None:
    if type(value) is not type(default) and not (isinstance(default, float) and type(value) is int):
        raise SettingError(f"{name} {value!r}: must be {type(default).__name__}")
    if isinstance(default, tuple):
        _check_parts(name, value)
        return
    if isinstance(default, str):
        if value not in metadata["choices"]:
            raise SettingError(f"{name} {value!r}: must be one of {', '.join(metadata['choices'])}")
        return
    low, high = metadata["low"], metadata["high"]
    if not low <= value <= high:  # NaN is in no range
        unit = f" {metadata['unit']}" if metadata["unit"] else ""
        raise SettingError(f"{name} {value!r}: must be {low:g} to {high:g}{unit}")


def _check_parts(name: str, parts: Any) -> None:
    for part in parts:
        if not isinstance(part, str) or not part:
            raise SettingError(f"{name} {part!r}: must be text, not empty")


# Knobs of some topics.


def _topics_of(given: Any) -> Any:
    """Tables from their text, or from several; anything else as it is."""
    texts: list[Any] = [given] if isinstance(given, str) else given
    if type(texts) is not list or not all(isinstance(text, str) for text in texts):
        return given
    tables: dict[str, dict[str, Any]] = {}
    for entry in ";".join(texts).split(";"):
        if entry.strip():
            pattern, knobs = _parse_topics(entry.strip())
            if pattern in tables:
                raise SettingError(f"topics {pattern!r}: must be given once")
            tables[pattern] = knobs
    return tables


def _parse_topics(entry: str) -> tuple[str, dict[str, Any]]:
    """One pattern and its knobs; the pattern ends at the last colon."""
    known = {knob.name: knob for knob in fields(Settings)}
    pattern, _, rest = entry.rpartition(":")
    knobs: dict[str, Any] = {}
    for part in rest.split(","):
        name, equals, text = (word.strip() for word in part.partition("="))
        if not pattern or not equals:
            raise SettingError(f"topics {entry!r}: must be {_TOPICS_FORM}; several are parted by ;")
        if name in knobs:
            raise SettingError(f"topics {pattern!r}: {name}: must be given once")
        knobs[name] = _parse(name, text, known[name].default) if name in known else text
    return pattern.strip(), knobs


def _freeze(topics: Any) -> Any:
    """The tables as pairs: immutable, hashable, and taken again by `dataclasses.replace`."""
    known = {knob.name: knob for knob in fields(Settings)}
    frozen: list[tuple[Any, Any]] = []
    for pattern, knobs in _table("topics", topics).items():
        pairs = _table(f"topics {pattern!r}:", knobs)
        for name, value in pairs.items():
            pairs[name] = _lift(value, known[name].default) if name in known else value
        frozen.append((pattern, tuple(pairs.items())))
    return tuple(frozen)


def _table(name: str, given: Any) -> dict[Any, Any]:
    """A mapping, or pairs that were one, as a dict of our own."""
    try:
        return dict(given)
    except (TypeError, ValueError):
        raise SettingError(f"{name} {given!r}: must be a table of settings") from None


def _check_topics(topics: Any) -> None:
    known = {knob.name: knob for knob in fields(Settings) if knob.metadata["per_topic"]}
    if len(topics) > _MOST_PATTERNS:
        raise SettingError(f"topics: {len(topics)} patterns: must be at most {_MOST_PATTERNS}")
    for pattern, knobs in topics:
        if not isinstance(pattern, str) or not pattern or not pattern.isprintable():
            raise SettingError(f"topics {pattern!r}: must be a topic's name or a pattern with *")
        if not knobs:
            raise SettingError(f"topics {pattern!r}: sets nothing; known are {', '.join(known)}")
        for name, value in knobs:
            if name not in known:
                raise SettingError(
                    f"topics {pattern!r}: {name}: cannot be set for topics; known are {', '.join(known)}"
                )
            _check(f"topics {pattern!r}: {name}", value, known[name].default, known[name].metadata)
