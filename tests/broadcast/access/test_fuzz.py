"""A bounded run of the fuzzer of access control (`tests/fuzz/fuzz_access.py`), and the fuzzer itself."""

from __future__ import annotations

import pytest
from fuzz.fuzz_access import Fuzzer, work

from fastsse.broadcast.web.problems import Problem

EXECUTIONS = 40_000


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
def test_the_guard_and_the_judge_agree(seed: int) -> None:
    ran, failure = work((seed, EXECUTIONS // 4))

    assert (EXECUTIONS // 4, None) == (ran, failure)


def test_requests_are_let_in_and_refused_for_many_reasons() -> None:
    fuzzer = Fuzzer(1)
    details: set[str] = set()
    fuzzer.judge_problem = lambda _, problem: details.add(problem.detail)  # type: ignore[assignment]

    failures = [failure for failure in (fuzzer.run() for _ in range(1500)) if failure]

    assert [] == failures
    assert fuzzer.let_in > 75
    assert len(details) > 20


def test_the_judge_finds_a_guard_that_asks_for_no_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jwt.algorithms.HMACAlgorithm.verify", lambda *_: True)
    fuzzer = Fuzzer(2)

    assert any(fuzzer.run() for _ in range(2000))


def test_a_header_that_is_there_twice_is_not_repeated_where_it_has_a_token() -> None:
    fuzzer = Fuzzer(3)
    token = b"Bearer " + b"x" * 200
    scope = fuzzer.scope([(b"host", b"localhost"), *[(b"authorization", token)] * 2], b"topic=a")

    with pytest.raises(Problem) as caught:
        fuzzer.guard.grant(scope, tickets=True)

    assert 400 == caught.value.status
    assert b"xxx" not in caught.value.body()
