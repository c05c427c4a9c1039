"""Kinds of settings: how each reads its value from a text, keeps it, checks it, and says what is allowed.

A knob is one field of `Settings` without its name. The kinds are numbers, switches, choices, texts, lists of names,
lists of patterns, and the tables of single topics. The module knows values and rules; it must not know what a setting
does.
"""

from __future__ import annotations

import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeGuard

from fastsse.broadcast.names import RULE, is_text
from fastsse.errors import SettingError, quote, shorten

__all__ = ["Choice", "Knob", "Names", "Number", "Patterns", "Switch", "Tables", "Text", "read_file"]

_SWITCHES = {"true": True, "false": False, "on": True, "off": False, "1": True, "0": False}
_UNITS = {"s": "seconds", "ms": "milliseconds"}
# `int` and `float` alone would also take 1_0, digits of every script, and nan.
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MOST_PATTERNS = 1000  # of `Tables`, each of which is tried at a topic's first use
_MOST_CLASSES = 100  # of `Patterns`, each of which is a time series of `/metrics`


@dataclass(frozen=True)
class Knob(ABC):
    """One setting without its name. The methods take the name for their messages.

    Attributes:
        default: the value of a setting that is not given.
        help: what the setting is for, in words that the command line and the documents repeat.
    """

    default: Any
    help: str

    @property
    def shown(self) -> str:
        """The default as people read it."""
        return str(self.default)

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The allowed values as people read them."""

    @abstractmethod
    def parse(self, name: str, text: str, /) -> Any:
        """Read a value from the environment's text.

        Raises:
            SettingError: the text has another form.
        """

    def keep(self, _name: str, value: Any, /) -> Any:
        """Return `value` as it is kept: a file or a caller may write 15 for 15.0, or a list for a tuple."""
        return value

    @abstractmethod
    def check(self, name: str, value: Any, /) -> None:
        """Check a kept value.

        Raises:
            SettingError: the value has another type, or is not allowed.
        """


@dataclass(frozen=True)
class Number(Knob):
    """A whole number or a float, as the default is, within bounds that belong to it.

    Attributes:
        unit: what is counted, such as ``s`` or ``bytes``.
        low: the least value.
        high: the greatest value.
    """

    unit: str
    low: float
    high: float

    @property
    def shown(self) -> str:
        return _digits(self.default)

    @property
    def allowed(self) -> str:
        return f"{_digits(self.low)} to {_digits(self.high)} {self.unit}"

    def parse(self, name: str, text: str, /) -> Any:
        form = _WHOLE if isinstance(self.default, int) else _NUMBER
        if form.fullmatch(text.strip()) is None:
            raise SettingError(f"{name} {quote(text)}: must be {self._kind}")
        return type(self.default)(text)

    def keep(self, _name: str, value: Any, /) -> Any:
        return float(value) if isinstance(self.default, float) and type(value) is int else value

    def check(self, name: str, value: Any, /) -> None:
        if type(value) is not type(self.default):
            raise SettingError(f"{name} {quote(value)}: must be {self._kind}")
        if not self.low <= value <= self.high:  # NaN is in no range
            bounds = f"{_digits(self.low)} to {_digits(self.high)}"
            raise SettingError(f"{name} {quote(value)}: must be {bounds} {self.spelled_unit}")

    @property
    def spelled_unit(self) -> str:
        """The unit as a word."""
        return _UNITS.get(self.unit, self.unit)

    @property
    def _kind(self) -> str:
        return "a whole number" if isinstance(self.default, int) else "a number"


@dataclass(frozen=True)
class Switch(Knob):
    """True or false."""

    @property
    def shown(self) -> str:
        return str(self.default).lower()

    @property
    def allowed(self) -> str:
        return "true, false"

    def parse(self, name: str, text: str, /) -> Any:
        switch = _SWITCHES.get(text.strip().lower())
        if switch is None:
            raise SettingError(f"{name} {quote(text)}: must be one of {', '.join(_SWITCHES)}")
        return switch

    def check(self, name: str, value: Any, /) -> None:
        if not isinstance(value, bool):
            raise SettingError(f"{name} {quote(value)}: must be true or false")


@dataclass(frozen=True)
class Choice(Knob):
    """One of a few words.

    Attributes:
        choices: the words.
    """

    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return ", ".join(self.choices)

    def parse(self, _name: str, text: str, /) -> Any:
        return text

    def check(self, name: str, value: Any, /) -> None:
        if value not in self.choices:
            raise SettingError(f"{name} {quote(value)}: must be one of {self.allowed}")


@dataclass(frozen=True)
class Text(Knob):
    """Any text that is not empty. Messages never repeat the text, because it may hold a password.

    Attributes:
        what: what the text is, in one word.
    """

    what: str

    @property
    def allowed(self) -> str:
        return self.what

    def parse(self, _name: str, text: str, /) -> Any:
        return text

    def check(self, name: str, value: Any, /) -> None:
        if not isinstance(value, str) or not value:
            raise SettingError(f"{name}: must be text, not empty")


@dataclass(frozen=True)
class Names(Knob):
    """Several texts, none of them empty; commas separate them in a text.

    Attributes:
        what: what the texts are, in the plural.
    """

    what: str

    @property
    def shown(self) -> str:
        return "none"

    @property
    def allowed(self) -> str:
        return self.what

    def parse(self, _name: str, text: str, /) -> Any:
        return tuple(part.strip() for part in text.split(",") if part.strip())

    def keep(self, _name: str, value: Any, /) -> Any:
        return tuple(value) if _is_list(value) else value

    def check(self, name: str, value: Any, /) -> None:
        if not _is_tuple(value):
            raise SettingError(f"{name} {quote(value)}: must be a list of {self.what}")
        for part in value:
            if not isinstance(part, str) or not part:
                raise SettingError(f"{name} {quote(part)}: must be text, not empty")


@dataclass(frozen=True)
class Patterns(Names):
    """Several names of topics, or patterns of such names."""

    def check(self, name: str, value: Any, /) -> None:
        super().check(name, value)
        if len(value) > _MOST_CLASSES:
            raise SettingError(f"{name}: {len(value)} patterns: must be at most {_MOST_CLASSES}")
        for text in value:
            if not is_text(text):
                raise SettingError(f"{name} {quote(text)}: {RULE}")


@dataclass(frozen=True)
class Tables(Knob):
    """Other values of some settings for some topics: a table of settings for each pattern of names.

    A table is a mapping in Python, a table in a file, and elsewhere a text such as ``prices/*:lag_events=5``; a
    semicolon separates several texts. Tables are kept as pairs, which are immutable and can be hashed.

    Attributes:
        knobs: the settings that a table may have.
    """

    knobs: Mapping[str, Knob]
    form: ClassVar = "PATTERN:KEY=VALUE,KEY=VALUE"

    @property
    def shown(self) -> str:
        return "none"

    @property
    def allowed(self) -> str:
        return f"`{self.form}`"

    def parse(self, name: str, text: str, /) -> Any:
        tables: dict[str, dict[str, Any]] = {}
        for entry in text.split(";"):
            if entry.strip():
                pattern, values = self._parse_table(name, entry.strip())
                if pattern in tables:
                    raise SettingError(f"{name} {quote(pattern)}: must be given once")
                tables[pattern] = values
        return tables

    def _parse_table(self, name: str, entry: str) -> tuple[str, dict[str, Any]]:
        """Read one table. The pattern ends at the last colon, since names of topics may have colons."""
        pattern, _, rest = entry.rpartition(":")
        values: dict[str, Any] = {}
        for part in rest.split(","):
            key, equals, text = (word.strip() for word in part.partition("="))
            if not pattern or not equals:
                raise SettingError(
                    f"{name} {quote(entry)}: must be {self.form}; several are separated by ;"
                )
            if key in values:
                raise SettingError(f"{name} {quote(pattern)}: {key}: must be given once")
            knob = self.knobs.get(key)
            values[key] = knob.parse(f"{name} {quote(pattern)}: {key}", text) if knob else text
        return pattern.strip(), values

    def keep(self, name: str, value: Any, /) -> Any:
        kept: list[tuple[Any, Any]] = []
        for pattern, table in _table(name, self._read(name, value)).items():
            label = f"{name} {quote(pattern)}:"
            pairs = _table(label, table)
            for key, inner in pairs.items():
                if (knob := self.knobs.get(key)) is not None:
                    pairs[key] = knob.keep(f"{label} {key}", inner)
            kept.append((pattern, tuple(pairs.items())))
        return tuple(kept)

    def _read(self, name: str, value: Any) -> Any:
        """Read tables from a text, or from several texts of the command line; leave anything else as it is."""
        texts = value if _is_list(value) else [value]
        if all(isinstance(text, str) for text in texts):
            return self.parse(name, ";".join(texts))
        return value

    def check(self, name: str, value: Any, /) -> None:
        known = ", ".join(self.knobs)
        if len(value) > _MOST_PATTERNS:
            raise SettingError(f"{name}: {len(value)} patterns: must be at most {_MOST_PATTERNS}")
        for pattern, pairs in value:
            label = f"{name} {quote(pattern)}:"
            if not isinstance(pattern, str) or not pattern or not is_text(pattern):
                raise SettingError(f"{label} must be a topic's name or a pattern with *; {RULE}")
            if not pairs:
                raise SettingError(f"{label} sets nothing; known are {known}")
            for key, inner in pairs:
                if key not in self.knobs:
                    given = shorten(str(key))
                    raise SettingError(
                        f"{label} {given}: cannot be set for topics; known are {known}"
                    )
                self.knobs[key].check(f"{label} {key}", inner)


def _table(name: str, given: Any) -> dict[Any, Any]:
    """Copy a mapping, or the pairs as which a mapping is kept, to a dict of our own."""
    try:
        return dict(given)
    except (TypeError, ValueError):
        raise SettingError(f"{name} {quote(given)}: must be a table of settings") from None


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def _digits(number: float) -> str:
    """Write a number for people: ``1,048,576``, ``0.05``."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.15g}"


def read_file(path: str) -> dict[str, Any]:
    """Read a TOML file of settings; a byte-order mark, with which editors of Windows begin a file, is passed over.

    Raises:
        SettingError: the file is not TOML, or not UTF-8.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise SettingError(f"{path}: not TOML: line {line} must be UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingError(f"{path}: not TOML: {error}") from error
