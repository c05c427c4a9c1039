"""Problems as JSON: their members, and the bounds on what they repeat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastsse import InvalidField
from fastsse.broadcast import TooLarge
from fastsse.broadcast.web.problems import Problem, shown


def members(problem: Problem) -> Any:
    return json.loads(problem.body())


def test_a_problem_names_field_value_and_rule() -> None:
    problem = Problem.of_field("event", "a\nb", "must be one line")

    assert {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "event 'a\\nb': must be one line",
        "field": "event",
        "value": "a\nb",
        "rule": "must be one line",
    } == members(problem)


def test_what_the_codec_refuses_becomes_a_problem() -> None:
    problem = Problem.of_invalid(InvalidField("retry", -1, "must be at least 0"))

    body = members(problem)

    assert ("retry", -1, "must be at least 0") == (body["field"], body["value"], body["rule"])
    assert "retry -1: must be at least 0" == body["detail"]


def test_an_event_that_the_hub_finds_too_large_is_a_413_with_its_size() -> None:
    problem = Problem.of_invalid(TooLarge("data", 1001, 1000))

    body = members(problem)

    assert (413, "data", 1001, "must be at most 1000 bytes") == (
        problem.status,
        body["field"],
        body["value"],
        body["rule"],
    )
    assert "data of 1001 bytes: must be at most 1000 bytes" == body["detail"]
    assert members(Problem.of_size("data", 1001, 1000)) == body


def test_a_missing_value_is_null_and_said_to_be_missing() -> None:
    body = members(Problem.of_field("topic", None, "name one"))

    assert (None, "topic missing: name one") == (body["value"], body["detail"])


def test_a_problem_without_a_field_has_no_members_for_one() -> None:
    body = members(Problem(503, "the server is stopping"))

    assert {"type", "title", "status", "detail"} == body.keys()


def test_further_members_stand_beside_the_others() -> None:
    assert 3 == members(Problem(400, "broke", more={"count": 3}))["count"]


def test_an_unknown_status_has_a_title_too() -> None:
    assert "Error" == members(Problem(499, "gone"))["title"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (5, 5),
        (1.5, "float"),
        (True, "True"),
        (2**53, "int"),
        (-(2**53), "int"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        (b"y" * 61, "y" * 59 + "…"),
        (b"\xffa", "\\xffa"),
        (bytearray(b"ab"), "ab"),
        ("\U0001f600".encode() * 60, "\U0001f600" * 60),
        ("\U0001f600".encode() * 61, "\U0001f600" * 59 + "…"),
        ("a\ud800", "a\\ud800"),
        (object(), "object"),
    ],
)
def test_a_value_is_shown_short_and_as_valid_unicode(value: object, expected: object) -> None:
    found = shown(value)

    assert expected == found
    json.dumps(found, ensure_ascii=False).encode()


def test_a_huge_value_costs_no_more_than_a_short_one() -> None:
    problem = Problem.of_field("data", b"\xff" * 2**24, "must be UTF-8")

    assert 400 > len(problem.body())


def test_lone_surrogates_in_a_name_do_not_break_the_answer() -> None:
    body = members(Problem.of_field("a\udc80", "b", "is unknown"))

    assert "a\\udc80" == body["field"]
