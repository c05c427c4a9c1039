"""Settings: one field a knob; what is unknown or out of bounds is refused at the start, with the rule."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from fastsse.broadcast import SettingError, Settings


def test_the_defaults_are_within_their_bounds_and_every_knob_is_explained() -> None:
    knobs = dataclasses.fields(Settings())

    assert [] == [k.name for k in knobs if not k.metadata["help"]]
    numbers = [k for k in knobs if isinstance(k.default, (int, float))]
    assert [] == [k.name for k in numbers if not k.metadata["unit"] or k.metadata["high"] is None]


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


def test_a_list_in_the_environment_is_parted_by_commas() -> None:
    settings = Settings.load(environ={"FASTSSE_HOSTS": "a.example, b.example,"})

    assert ("a.example", "b.example") == settings.hosts


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"heartbeat": -1}, "heartbeat -1.0: must be 0 to 86400 s"),
        ({"heartbeat": float("nan")}, "heartbeat nan: must be 0 to 86400 s"),
        ({"heartbeat": "15"}, "heartbeat '15': must be float"),
        ({"max_streams": 0}, "max_streams 0: must be 1 to 1.04858e+06 streams"),
        ({"max_streams": 1.5}, "max_streams 1.5: must be int"),
        ({"retry": True}, "retry True: must be int"),
        ({"slow_policy": "drop"}, "slow_policy 'drop': must be one of end, skip, latest"),
        ({"hosts": [""]}, "hosts '': must be text, not empty"),
        ({"hosts": "a"}, "hosts 'a': must be tuple"),
        ({"heart_beat": 1}, "heart_beat: unknown setting; known are heartbeat, "),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_with_the_rule(
    given: dict[str, Any], rule: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.load(environ={}, **given)

    assert str(caught.value).startswith(rule)


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("FASTSSE_RETRY", "soon", "retry 'soon': must be a whole number"),
        ("FASTSSE_HEARTBEAT", "soon", "heartbeat 'soon': must be a number"),
        ("FASTSSE_RETRY", "1.5", "retry '1.5': must be a whole number"),
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
        ({"a": {}}, "topics 'a': sets nothing; known are history_events, history_bytes, lag_"),
        ({"": PRICES}, "topics '': must be a topic's name or a pattern with *"),
        ({"a\n": PRICES}, "topics 'a\\n': must be a topic's name or a pattern with *"),
        ({"a": {"retry": 1}}, "topics 'a': retry: cannot be set for topics; known are history_"),
        ({"a": {"topics": 1}}, "topics 'a': topics: cannot be set for topics; known are "),
        ({"a": {"lag_events": 0}}, "topics 'a': lag_events 0: must be 1 to 1e+07 events"),
        ({"a": {"lag_events": 1.5}}, "topics 'a': lag_events 1.5: must be int"),
        ({"a": {"slow_policy": "drop"}}, "topics 'a': slow_policy 'drop': must be one of end"),
        ({str(n): PRICES for n in range(1001)}, "topics: 1001 patterns: must be at most 1000"),
        ("a", "topics 'a': must be PATTERN:KEY=VALUE,KEY=VALUE; several are parted by ;"),
        (":lag_events=1", "topics ':lag_events=1': must be PATTERN:KEY=VALUE"),
        ("a:lag_events", "topics 'a:lag_events': must be PATTERN:KEY=VALUE"),
        ("a:lag_events=few", "lag_events 'few': must be a whole number"),
        ("a:lag_events=1,lag_events=2", "topics 'a': lag_events: must be given once"),
        ("a:lag_events=1;a:lag_bytes=1", "topics 'a': must be given once"),
        ("a:lags=1", "topics 'a': lags: cannot be set for topics"),
    ],
)
def test_knobs_of_topics_that_break_a_rule_are_refused_with_it(topics: Any, rule: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.load(environ={}, topics=topics)

    assert str(caught.value).startswith(rule)
