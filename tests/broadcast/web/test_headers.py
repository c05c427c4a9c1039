"""Headers that decide something: the value, none, or a problem where there are two."""

from __future__ import annotations

import pytest

from fastsse.broadcast.web.headers import header_once
from fastsse.broadcast.web.problems import Problem


@pytest.mark.parametrize(("values", "expected"), [([], None), ([b""], b""), ([b"x"], b"x")])
def test_a_header_has_one_value_or_none(values: list[bytes], expected: bytes | None) -> None:
    headers = [(b"host", value) for value in values]

    assert expected == header_once({"headers": [(b"origin", b"y"), *headers]}, b"host")


def test_a_header_that_is_given_twice_is_refused_even_with_one_value() -> None:
    with pytest.raises(Problem) as caught:
        header_once({"headers": [(b"host", b"a"), (b"host", b"a")]}, b"host")

    problem = caught.value
    assert (400, "host", "must be given once") == (problem.status, problem.field, problem.rule)
    assert b"a, a" == problem.value
