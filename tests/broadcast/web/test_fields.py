"""The fields of a publish: which there are, their sizes, and empty ones."""

from __future__ import annotations

import pytest

from fastsse.broadcast import Settings
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.web.fields import Fields, Rules
from fastsse.broadcast.web.problems import Problem


@pytest.fixture
def rules() -> Rules:
    return Rules(Settings(max_event_size=1000, max_topic_length=10, topics_per_publish=5), Stats())


@pytest.mark.parametrize(
    ("name", "size"), [("topic", 10), ("event", 256), ("retry", 1024), ("data", 1000)]
)
def test_a_field_may_be_as_large_as_its_bound(rules: Rules, name: str, size: int) -> None:
    rules.form(name, size)


@pytest.mark.parametrize(
    ("name", "size", "status"),
    [("topic", 11, 400), ("event", 257, 413), ("retry", 1025, 400), ("data", 1001, 413)],
)
def test_a_field_over_its_bound_is_refused_and_counted(name: str, size: int, status: int) -> None:
    stats = Stats()
    rules = Rules(Settings(max_event_size=1000, max_topic_length=10), stats)

    with pytest.raises(Problem) as caught:
        rules.form(name, size)

    assert (status, name, size) == (caught.value.status, caught.value.field, caught.value.value)
    assert f"must be at most {size - 1} bytes" == caught.value.rule
    assert {name: 1} == dict(stats.events_refused)


def test_the_data_goes_in_the_body_and_not_in_the_query(rules: Rules) -> None:
    with pytest.raises(Problem, match="data: goes in the body, not in the query"):
        rules.query("data", 1)


@pytest.mark.parametrize("where", ["query", "form"])
def test_an_unknown_field_is_told_the_known_ones(rules: Rules, where: str) -> None:
    with pytest.raises(Problem, match=f"is no {where} field; known are topic, .*event, retry"):
        getattr(rules, where)("id", 1)


def test_an_empty_field_of_a_form_is_one_that_nobody_filled_in() -> None:
    fields = Fields([("topic", b"a"), ("data", b""), ("event", b""), ("retry", b"")])

    assert (["a"], b"", None, None) == (fields.topics, fields.data, fields.event, fields.retry)


def test_the_fields_of_a_form_go_with_those_of_the_query() -> None:
    query = Fields([("topic", b"a"), ("event", b"e")])

    query.merge(Fields([("data", b"x"), ("event", b""), ("retry", b"5")]))

    assert (["a"], b"x", "e", 5) == (query.topics, query.data, query.event, query.retry)


@pytest.mark.parametrize("name", ["topic", "event", "retry"])
def test_a_field_that_both_have_is_refused(name: str) -> None:
    query = Fields([(name, b"1")])

    with pytest.raises(Problem, match="goes in the form or in the query, not in both"):
        query.merge(Fields([(name, b"1")]))
