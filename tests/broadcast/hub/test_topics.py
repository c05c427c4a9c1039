"""Limits by topic: which table holds for a name, and what a stream of several topics has."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from fastsse.broadcast import Settings
from fastsse.broadcast.hub.topics import TopicLimits


def limits(**topics: dict[str, Any]) -> TopicLimits:
    return TopicLimits(Settings(topics=topics))


def test_what_no_table_says_is_general() -> None:
    found = TopicLimits(Settings(lag_events=7, topics={"a*": {"lag_bytes": 9}}))

    assert (7, 9, "end") == (*found.of("ab")[2:4], found.of("ab").slow_policy)
    assert Settings().lag_bytes == found.of("b").lag_bytes


def test_an_exact_name_goes_before_patterns_and_an_earlier_pattern_before_a_later_one() -> None:
    topics = {"a/*": 1, "a/b*": 2, "a/b": 3, "*": 4}
    found = TopicLimits(Settings(topics={k: {"lag_events": v} for k, v in topics.items()}))

    names = ("a/b", "a/bc", "a/", "b", "a/*")

    assert [3, 1, 1, 4, 1] == [found.of(name).lag_events for name in names]


@pytest.mark.parametrize("seed", range(4))
def test_a_star_is_any_characters_and_the_rest_stands_for_itself(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(500):
        pattern = "".join(rng.choices("ab*?[.", k=rng.randrange(1, 6)))
        topic = "".join(rng.choices("ab?[.", k=rng.randrange(1, 8)))
        expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), topic)

        found = limits(**{pattern: {"lag_events": 1}}).of(topic)

        assert (expected is not None) == (found.lag_events == 1), (pattern, topic)


def test_many_names_are_looked_up_and_few_are_kept() -> None:
    found = limits(**{"a*": {"lag_events": 1}})

    for number in range(5000):
        assert 1 == found.of(f"a{number}").lag_events

    assert found._search.cache_info().currsize <= 1024


def test_a_stream_has_the_least_of_each_limit_and_the_policy_that_loses_least() -> None:
    found = limits(
        prices={"slow_policy": "latest", "lag_events": 10, "lag_seconds": 50.0},
        news={"slow_policy": "skip", "lag_bytes": 5},
    )

    assert found.of("news") == found.of_stream(["news"])
    both = found.of_stream(["news", "prices"])
    assert (10, 5, 30.0, "latest") == both[2:]
    assert "end" == found.of_stream(["news", "orders", "prices"]).slow_policy


def test_streams_of_topics_with_the_same_limits_share_them() -> None:
    found = limits(**{"a*": {"lag_events": 1}})

    assert found.of("a") is found.of_stream(["a", "aa", "ab"])


def test_the_shortest_time_of_any_topic_is_known() -> None:
    assert 2.0 == limits(a={"lag_seconds": 2.0}, b={"lag_seconds": 60.0}).shortest
