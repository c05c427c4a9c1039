"""URLs of stores: each scheme has its module, and a URL that cannot be used is told why without its password."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastsse.broadcast import Keep, MemoryStore, Retention, SettingError, Settings, open_url
from fastsse.broadcast.stores.opening import SCHEMES, Address, is_shared

DRIVERS = {"redis": "redis", "nats": "nats", "postgresql": "asyncpg"}


def test_memory_is_the_store_that_nothing_else_is_asked_for() -> None:
    assert isinstance(open_url(Settings().store), MemoryStore)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "unknown scheme ''"),
        ("events.db", "unknown scheme ''"),
        ("mysql://root:secret@db/events", "unknown scheme 'mysql'; known are memory:"),
        ("redis://host:port/0", "no URL"),
        ("redis://[::1/0", "no URL"),
        ("memory:x", "must be memory: alone"),
        ("memory://x", "must be memory: alone"),
        ("memory:?x=1", "option 'x' is unknown; there are none"),
        ("memory:?x=", "must stand once, with a value"),
        ("memory:?x=1&x=2", "must stand once, with a value"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        open_url(url)

    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:1/0?token=secret", "redis://host:1/0"),
        ("redis://:secret@host/0", "redis://host/0"),
        ("nats://secret@a:1", "nats://a:1"),
        ("postgresql:///events?password=secret", "postgresql:///events"),
        ("memory:", "memory:"),
    ],
)
def test_what_is_shown_of_a_url_has_no_password(url: str, shown: str) -> None:
    assert shown == Address.of(url).shown


def test_neither_the_settings_nor_their_errors_show_the_url() -> None:
    assert "secret" not in repr(Settings(store="redis://:secret@host"))
    with pytest.raises(SettingError) as caught:
        Settings(store=["redis://:secret@host"])  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", [name for name, (_, extra) in SCHEMES.items() if extra])
def test_a_driver_that_is_not_installed_names_its_extra(scheme: str) -> None:
    extra = SCHEMES[scheme][1]
    code = (
        f"import sys; sys.modules[{DRIVERS[extra]!r}] = None\n"
        "from fastsse.broadcast import open_url\n"
        f"try: open_url({scheme!r} + '://user:secret@host/0')\n"
        "except ImportError as error: print(error)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"pip install 'fastsse-core[{extra}]'" in said.stdout
    assert "secret" not in said.stdout + said.stderr


def test_a_store_says_that_it_is_shared_otherwise_it_is_not() -> None:
    class Shared(MemoryStore):
        shared = True

    assert not is_shared(MemoryStore())
    assert is_shared(Shared())


@pytest.mark.parametrize(
    ("value", "right"), [("1", True), ("99", True), ("0", False), ("x", False), ("-1", False)]
)
def test_an_option_that_is_a_number_has_bounds(value: str, right: bool) -> None:
    address = Address.of(f"sqlite:///x?keys={value}")

    if right:
        assert int(value) == address.number("keys", 10, 1, 99)
    else:
        with pytest.raises(SettingError, match="must be 1 to 99"):
            address.number("keys", 10, 1, 99)


def test_an_option_that_is_a_word_is_one_of_a_few() -> None:
    address = Address.of("sqlite:///x?synchronous=fast")

    assert "full" == Address.of("sqlite:///x").choose("synchronous", ("full", "normal"), "full")
    with pytest.raises(SettingError, match="'fast': must be one of full, normal"):
        address.choose("synchronous", ("full", "normal"), "full")


class TestRetention:
    def test_the_settings_bound_the_log_and_a_table_its_topics(self) -> None:
        kept = Retention.of(
            Settings(
                retain_events=9,
                topics={
                    "a*": {"retain_bytes": 5},
                    "ab": {"retain_seconds": 7, "lag_events": 1},
                    "b": {"lag_events": 1},
                },
            )
        )

        assert Keep(9, 2**30, 0.0) == kept.log
        assert Keep(0, 5, 0.0) == kept.of_topic("ac")
        assert Keep(0, 0, 7.0) == kept.of_topic("ab")  # an exact name goes before a pattern
        assert kept.of_topic("b").unbounded
        assert kept.of_topic("c").unbounded

    def test_without_tables_no_topic_has_bounds_of_its_own(self) -> None:
        assert not Retention.of(Settings(topics={"b": {"lag_events": 1}})).by_topic
        assert Retention.of(Settings(topics={"b": {"retain_events": 1}})).by_topic
