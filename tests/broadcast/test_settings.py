"""Settings: one field is one knob; unknown ones and values that break a rule are refused at the start, with it."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from fastsse.broadcast import SettingError, Settings
from fastsse.broadcast.hub.topics import Limits
from fastsse.broadcast.settings import KNOBS, PER_TOPIC


def test_the_defaults_are_within_their_bounds_and_every_knob_is_explained() -> None:
    fields = [field.name for field in dataclasses.fields(Settings())]

    assert fields == list(KNOBS)
    assert [] == [name for name, knob in KNOBS.items() if not knob.help or not knob.allowed]


def test_the_knobs_of_topics_are_those_of_the_limits_and_the_class_has_the_same() -> None:
    assert list(Limits._fields) == [name for name in PER_TOPIC if not name.startswith("retain_")]
    assert [] == [name for name, knob in PER_TOPIC.items() if knob is not KNOBS[name]]


def test_every_form_of_a_value_is_kept_as_one() -> None:
    hosts: Any = ["a.example"]

    settings = Settings(heartbeat=15, hosts=hosts)

    assert (float, ("a.example",)) == (type(settings.heartbeat), settings.hosts)


def test_what_is_given_goes_before_the_environment_the_file_and_the_default(tmp_path: Path) -> None:
    file = tmp_path / "fastsse.toml"
    file.write_text('heartbeat = 1\nretry = 10\nlifetime = 60.5\norigins = ["https://a.example"]\n')
    environ = {
        "FASTSSE_HEARTBEAT": "2",
        "FASTSSE_RETRY": "20",
        "FASTSSE_UNRELATED": "x",
        "PATH": "/",
    }

    settings = Settings.load(file=str(file), environ=environ, heartbeat=3, retry=None)

    assert (3.0, 20, 60.5) == (settings.heartbeat, settings.retry, settings.lifetime)
    assert ("https://a.example",) == settings.origins
    assert Settings().history_events == settings.history_events


@pytest.mark.parametrize(
    ("text", "expected"), [("1", 1.0), (" 0.5 ", 0.5), ("5.", 5.0), (".25", 0.25), ("1e2", 100.0)]
)
def test_a_number_in_the_environment_may_have_a_fraction_or_an_exponent(
    text: str, expected: float
) -> None:
    assert expected == Settings.load(environ={"FASTSSE_HEARTBEAT": text}).heartbeat


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    settings = Settings.load(environ={"FASTSSE_HOSTS": "a.example, b.example,"})

    assert ("a.example", "b.example") == settings.hosts


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("on", True), ("TRUE", True), ("0", False), ("off", False)]
)
def test_a_switch_in_the_environment_is_a_word(text: str, expected: bool) -> None:
    settings = Settings.load(environ={"FASTSSE_RETRY_FROM_PUBLISHERS": text})

    assert expected is settings.retry_from_publishers


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"retry_from_publishers": 1}, "retry_from_publishers 1: must be true or false"),
        ({"heartbeat": -1}, "heartbeat -1.0: must be 0 to 86,400 seconds"),
        ({"heartbeat": float("nan")}, "heartbeat nan: must be 0 to 86,400 seconds"),
        ({"heartbeat": "15"}, "heartbeat '15': must be a number"),
        ({"max_streams": 0}, "max_streams 0: must be 1 to 1,048,576 streams"),
        ({"max_streams": 1.5}, "max_streams 1.5: must be a whole number"),
        ({"retry": True}, "retry True: must be a whole number"),
        ({"slow_policy": "drop"}, "slow_policy 'drop': must be one of end, skip, latest"),
        ({"hosts": [""]}, "hosts '': must be text, not empty"),
        ({"hosts": "a"}, "hosts 'a': must be a list of hosts"),
        ({"coalesce": 2}, "coalesce 2.0: must be 0 to 1 seconds"),
        ({"metric_classes": ["a\n"]}, "metric_classes 'a\\n': must not contain control characters"),
        ({"metric_classes": ["a"] * 101}, "metric_classes: 101 patterns: must be at most 100"),
        ({"heart_beat": 1}, "heart_beat: unknown setting; known are "),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_with_the_rule(
    given: dict[str, Any], rule: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.load(environ={}, **given)

    assert str(caught.value).startswith(rule)


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(SettingError) as caught:
        Settings.load(environ={"FASTSSE_SLOW_POLICY": "x" * 2**20})

    assert str(caught.value).startswith(f"slow_policy 'xxx{'x' * 55}…: must be one of")


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("FASTSSE_RETRY", "soon", "retry 'soon': must be a whole number"),
        ("FASTSSE_HEARTBEAT", "soon", "heartbeat 'soon': must be a number"),
        ("FASTSSE_RETRY", "1.5", "retry '1.5': must be a whole number"),
        ("FASTSSE_RETRY", "1_000", "retry '1_000': must be a whole number"),
        ("FASTSSE_RETRY", "٣", "retry '٣': must be a whole number"),
        ("FASTSSE_RETRY", "1" * 5000, "retry '1111"),
        ("FASTSSE_RETRY", "-5", "retry -5: must be 0 to 86,400,000 milliseconds"),
        ("FASTSSE_HEARTBEAT", "1_0.0", "heartbeat '1_0.0': must be a number"),
        ("FASTSSE_HEARTBEAT", "nan", "heartbeat 'nan': must be a number"),
        ("FASTSSE_HEARTBEAT", "1e999", "heartbeat inf: must be 0 to 86,400 seconds"),
        (
            "FASTSSE_RETRY_FROM_PUBLISHERS",
            "",
            "retry_from_publishers '': must be one of true, false",
        ),
        ("FASTSSE_SLOW_POLICY", "", "slow_policy '': must be one of"),
    ],
)
def test_the_environment_is_checked_too(name: str, text: str, rule: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.load(environ={name: text})

    assert str(caught.value).startswith(rule)


@pytest.mark.parametrize(
    ("text", "rule"), [("retry = ", "not TOML"), ("nonsense = 1", "nonsense: unknown setting")]
)
def test_a_file_is_checked_too(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "fastsse.toml"
    file.write_text(text)

    with pytest.raises(SettingError, match=rule):
        Settings.load(file=str(file), environ={})


# Settings of some topics


PRICES = {"slow_policy": "latest", "lag_seconds": 5.0, "history_events": 10}


def test_the_knobs_of_topics_come_from_everywhere_in_one_form(tmp_path: Path) -> None:
    file = tmp_path / "fastsse.toml"
    file.write_text(
        '[topics."prices/*"]\nslow_policy = "latest"\nlag_seconds = 5\nhistory_events = 10\n'
    )
    text = "prices/*:slow_policy=latest, lag_seconds=5, history_events=10"

    given = Settings(topics={"prices/*": PRICES})
    read = Settings.load(file=str(file), environ={})
    parsed = Settings.load(environ={"FASTSSE_TOPICS": f" {text} ;"})
    flagged: Any = [text]

    assert given == read == parsed == Settings.load(environ={}, topics=flagged)
    assert (("prices/*", tuple(PRICES.items())),) == given.topics


def test_several_patterns_keep_their_order_and_a_name_may_have_colons() -> None:
    text = "a:b:c:history_events=1;*:lag_events=2"
    more: Any = ["z:lag_bytes=3"]

    parsed = Settings.load(environ={"FASTSSE_TOPICS": text})
    flagged = Settings.load(environ={"FASTSSE_TOPICS": text}, topics=[text, *more])

    assert ["a:b:c", "*"] == list(dict(parsed.topics))
    assert ["a:b:c", "*", "z"] == list(dict(flagged.topics))


def test_settings_with_topics_cannot_be_changed_from_outside_and_are_hashed_and_pickled() -> None:
    tables: dict[str, dict[str, Any]] = {"a": {"lag_events": 1}}
    settings = Settings(topics=tables)

    tables["a"]["lag_events"] = 2

    assert (("a", (("lag_events", 1),)),) == settings.topics
    assert hash(Settings(topics={"a": {"lag_events": 1}})) == hash(settings)
    assert settings == pickle.loads(pickle.dumps(settings))
    assert settings.topics == dataclasses.replace(settings, retry=1).topics


@pytest.mark.parametrize(
    ("topics", "rule"),
    [
        (5, "topics 5: must be a table of settings"),
        ({"a": 5}, "topics 'a': 5: must be a table of settings"),
        ({"a": {}}, "topics 'a': sets nothing; known are history_events, history_bytes, retain_"),
        ({"": PRICES}, "topics '': must be a topic's name or a pattern with *"),
        ({"a\n": PRICES}, "topics 'a\\n': must be a topic's name or a pattern with *"),
        ({"a": {"retry": 1}}, "topics 'a': retry: cannot be set for topics; known are history_"),
        ({"a": {"topics": 1}}, "topics 'a': topics: cannot be set for topics; known are "),
        ({"a": {"lag_events": 0}}, "topics 'a': lag_events 0: must be 1 to 10,000,000 events"),
        ({"a": {"lag_events": 1.5}}, "topics 'a': lag_events 1.5: must be a whole number"),
        ({"a": {"slow_policy": "drop"}}, "topics 'a': slow_policy 'drop': must be one of end"),
        ({str(n): PRICES for n in range(1001)}, "topics: 1001 patterns: must be at most 1000"),
        ("a", "topics 'a': must be PATTERN:KEY=VALUE,KEY=VALUE; several are separated by ;"),
        (":lag_events=1", "topics ':lag_events=1': must be PATTERN:KEY=VALUE"),
        ("a:lag_events", "topics 'a:lag_events': must be PATTERN:KEY=VALUE"),
        ("a:lag_events=few", "topics 'a': lag_events 'few': must be a whole number"),
        ("a:lag_events=1,lag_events=2", "topics 'a': lag_events: must be given once"),
        ("a:lag_events=1;a:lag_bytes=1", "topics 'a': must be given once"),
        ("a:lags=1", "topics 'a': lags: cannot be set for topics"),
    ],
)
def test_knobs_of_topics_that_break_a_rule_are_refused_with_it(topics: Any, rule: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.load(environ={}, topics=topics)

    assert str(caught.value).startswith(rule)
