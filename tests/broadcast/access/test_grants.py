"""Grants: which patterns there are, what each covers, and who may read what is private."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsse.broadcast.access.grants import (
    OPEN,
    BadPattern,
    Grant,
    Reach,
    anonymous,
    read_grant,
)

NAMES = st.text(st.sampled_from("ab/*{}é "), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        ("a", ["a"], ["", "A", "a/", "aa", "/a"]),
        ("a/*", ["a/", "a/b", "a/b/c", "a/*"], ["a", "ab", "b/a/c", "*"]),
        ("*", ["a", "a/b", "private/x", "*"], []),
        ("u/{sub}", ["u/ann"], ["u/", "u/ann/x", "u/{sub}", "u/bob"]),
        ("u/{sub}/*", ["u/ann/x"], ["u/ann", "u/anne/x"]),
        ("{sub}/{sub}", ["ann/ann"], ["ann"]),
    ],
)
def test_what_a_pattern_covers(pattern: str, covered: list[str], others: list[str]) -> None:
    reach = Reach([pattern], "ann")

    assert covered == [topic for topic in [*covered, *others] if reach.covers(topic)]


@pytest.mark.parametrize(
    "pattern", ["", "a*", "*a", "a/*/b", "**", "*/*", "a\n", "\x00", "{", "}", "{user}", "{{sub}}", "x" * 5000]
)  # fmt: skip
def test_what_cannot_be_a_pattern(pattern: str) -> None:
    with pytest.raises(BadPattern):
        Reach([pattern], "ann")


@pytest.mark.parametrize("subject", [None, "", "a/b", "*", "{sub}", "}"])
def test_subjects_that_cannot_stand_in_a_topic(subject: str | None) -> None:
    with pytest.raises(BadPattern, match="subject"):
        Reach(["u/{sub}"], subject)


@given(st.lists(NAMES, max_size=4), NAMES)
def test_a_reach_covers_what_its_patterns_say_one_by_one(patterns: list[str], topic: str) -> None:
    try:
        whole = Reach(patterns)
    except BadPattern:
        return

    def covers(pattern: str) -> bool:
        return topic.startswith(pattern[:-1]) if pattern.endswith("*") else topic == pattern

    assert any(map(covers, patterns)) == whole.covers(topic)


def test_no_pattern_covers_nothing() -> None:
    assert not Reach([])
    assert not Reach([]).covers("a")
    assert not Reach([]).covers("")


def test_every_topic_must_be_covered() -> None:
    grant = Grant(["a", "p/*"])

    assert grant.allows("subscribe", ["a", "p/x"])
    assert not grant.allows("subscribe", ["a", "b"])
    assert not grant.allows("publish", ["a"])


@pytest.mark.parametrize("grant", [OPEN, anonymous(["*"], ["*"])])
def test_nobody_reads_what_is_private_without_a_grant(grant: Grant) -> None:
    assert not grant.allows("subscribe", ["private/x"])
    assert not grant.allows("subscribe", ["a", "private/"])
    assert grant.allows("publish", ["private/x"])


@pytest.mark.parametrize("pattern", ["private/*", "private/x", "private/a/*"])
def test_anonymous_patterns_cannot_name_what_is_private(pattern: str) -> None:
    with pytest.raises(BadPattern, match="private"):
        anonymous([pattern], [])


@pytest.mark.parametrize(
    "claim", [[], "a", 1, True, {"x": []}, {"subscribe": "a"}, {"publish": None}, {"end": [None]}, {"labels": 1},
              {"operator": "true"}, {"subscribe": {"a": 1}}, {"subscribe": ["a"] * 1001}]
)  # fmt: skip
def test_claims_that_cannot_be_read(claim: Any) -> None:
    with pytest.raises(BadPattern):
        read_grant(claim, "ann", 1.0)


def test_a_token_without_a_claim_grants_nothing() -> None:
    grant = read_grant(None, "ann", 1.0, "t1")

    assert not any(grant.allows_some(verb) for verb in ("subscribe", "publish", "end"))
    assert (False, True, "ann", 1.0, "t1") == (
        grant.operator,
        grant.known,
        grant.subject,
        grant.until,
        grant.token_id,
    )
