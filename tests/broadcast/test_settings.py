"""Settings: one field a knob; what is unknown or out of bounds is refused at the start, with the rule."""

from __future__ import annotations

import dataclasses
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
