"""From a URL to a store: ``memory:``, ``sqlite:///events.db``, ``redis://…``, ``nats://…``, ``postgresql://…``.

A store's module is imported when its scheme is asked for, so a process loads the driver of its own engine alone. Each
module has a function `from_url`, which makes the store and reaches for nothing: that is what `Store.open` does.

A URL may hold a password. So no message and no log repeats a URL as it was given; `Address.shown` is fit for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import NamedTuple, Self, cast
from urllib.parse import SplitResult, parse_qsl, urlsplit

from fastsse.broadcast.stores import Store
from fastsse.broadcast.stores.retention import Retention
from fastsse.errors import SettingError, quote, shorten

__all__ = ["SCHEMES", "Address", "finds_topics", "is_shared", "open_url"]

_HERE = __name__.rpartition(".")[0]

SCHEMES: Mapping[str, tuple[str, str]] = {
    "memory": ("memory", ""),
    "sqlite": ("sqlite", ""),
    "redis": ("redis", "redis"),
    "rediss": ("redis", "redis"),
    "redis+sentinel": ("redis", "redis"),
    "redis+cluster": ("redis", "redis"),
    "nats": ("nats", "nats"),
    "tls": ("nats", "nats"),
    "postgresql": ("postgresql", "postgresql"),
    "postgres": ("postgresql", "postgresql"),
}
"""The module of this folder that a scheme belongs to, and the extra that installs its driver."""


class Address(NamedTuple):
    """A store's URL in parts.

    Attributes:
        text: the URL as it was given, which may hold a password: for drivers, never for messages.
        parts: the URL, split.
        options: the query's names and values.
    """

    text: str
    parts: SplitResult
    options: Mapping[str, str]

    @classmethod
    def of(cls, url: str) -> Self:
        """Split a URL.

        Raises:
            SettingError: the text is no URL, or an option stands twice or without a value.
        """
        try:
            parts = urlsplit(url)
            if "," not in parts.netloc:  # of several hosts, the store looks at each
                _ = parts.port  # which is only read here
        except ValueError as error:
            raise SettingError(f"store: no URL: {error}") from None
        options: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name in options or not value:
                raise SettingError(f"store: option {quote(name)}: must stand once, with a value")
            options[name] = value
        return cls(url, parts, options)

    @property
    def shown(self) -> str:
        """The URL for messages and logs: without user, password and options."""
        parts = self.parts
        place = parts.netloc.rpartition("@")[2]
        slashes = "//" if place or parts.path.startswith("/") else ""
        return shorten(f"{parts.scheme}:{slashes}{place}{parts.path}", 200)

    def refuse(self, why: str) -> SettingError:
        """Make the error of a URL that cannot be used."""
        return SettingError(f"store {self.shown}: {why}")

    def check_options(self, known: Iterable[str]) -> None:
        """Refuse options that the store does not know.

        Raises:
            SettingError: the option's name, and those that are known.
        """
        names = sorted(known)
        for name in self.options:
            if name not in names:
                words = f"known are {', '.join(names)}" if names else "there are none"
                raise self.refuse(f"option {quote(name)} is unknown; {words}")

    def choose(self, name: str, choices: Iterable[str], default: str) -> str:
        """Return the value of an option that is one of a few words.

        Raises:
            SettingError: the option has another value.
        """
        allowed = tuple(choices)
        value = self.options.get(name, default)
        if value not in allowed:
            raise self.refuse(f"option {name} {quote(value)}: must be one of {', '.join(allowed)}")
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return the value of an option that is a whole number within bounds.

        Raises:
            SettingError: the option has another value.
        """
        text = self.options.get(name, str(default))
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else low - 1
        if not low <= number <= high:
            raise self.refuse(f"option {name} {quote(text)}: must be {low:,} to {high:,}")
        return number


def open_url(url: str, *, retention: Retention | None = None) -> Store:
    """Make the store that a URL names; `Store.open` then reaches for its engine.

    Args:
        url: such as ``sqlite:///events.db``; docs/stores.md has the form of each.
        retention: how much the store keeps; without bounds when None. A memory store keeps nothing in any case.

    Raises:
        SettingError: an unknown scheme or option, or a part that cannot be; a password is not repeated.
        ImportError: the driver is not installed; the message names the extra that installs it.
    """
    address = Address.of(url)
    scheme = address.parts.scheme
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise SettingError(f"store: unknown scheme {quote(scheme)}; known are {known}")
    name, extra = SCHEMES[scheme]
    try:
        module = import_module(f"{_HERE}.{name}")
    except ImportError as error:
        if not extra:
            raise
        raise ImportError(
            f"store {scheme}: needs {error.name}: pip install 'fastsse-core[{extra}]'",
            name=error.name,
        ) from error
    return cast("Store", module.from_url(address, Retention() if retention is None else retention))


def is_shared(store: Store) -> bool:
    """Return True for a store that several processes may use at once: it has an attribute `shared` that is True."""
    return getattr(store, "shared", False) is True


def finds_topics(store: Store) -> bool:
    """Return True for an archive that reads one topic without the others: it has an attribute `finds_topics`."""
    return getattr(store, "finds_topics", False) is True
