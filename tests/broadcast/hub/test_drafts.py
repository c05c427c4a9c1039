"""Events before they have a position: the error for one that is over a bound."""

from __future__ import annotations

import copy
import pickle

import pytest

from fastsse import InvalidField
from fastsse.broadcast import TooLarge
from fastsse.broadcast.hub.drafts import MAX_BESIDE, MAX_EVENT_TYPE, write_block


@pytest.mark.parametrize(
    ("data", "event", "field", "size", "limit"),
    [
        ("x" * 1001, None, "data", 1001, 1000),
        (b"x" * 1001, None, "data", 1001, 1000),
        ("\u00e4" * 501, None, "data", 1002, 1000),
        (memoryview(b"x" * 1001), None, "data", 1001, 1000),
        ("x", "e" * 257, "event", 257, MAX_EVENT_TYPE),
        ("x", "\u00e4" * 129, "event", 258, MAX_EVENT_TYPE),
        ("\n" * 999, None, "data", 7000, 1000 + MAX_BESIDE),
    ],
    ids=["str", "bytes", "not ASCII", "memoryview", "type", "type, not ASCII", "line ends"],
)
def test_an_event_over_a_bound_is_told_its_size_and_the_limit(
    data: str | bytes, event: str | None, field: str, size: int, limit: int
) -> None:
    with pytest.raises(TooLarge) as caught:
        write_block(data, event, None, 1000)

    error = caught.value
    assert (field, size, limit) == (error.field, error.size, error.limit)
    assert f"{field} of {size} bytes: must be at most {limit} bytes" in str(error)


@pytest.mark.parametrize(
    "error", [TooLarge("data", 2, 1, " as written"), TooLarge("data", None, 1)]
)
def test_the_error_survives_a_pickle_and_a_copy(error: TooLarge) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(error), error.size, error.limit) == (str(again), again.size, again.limit)
        assert isinstance(again, InvalidField)


def test_a_size_that_is_not_known_is_not_told() -> None:
    assert "data: must be at most 1 bytes" == str(TooLarge("data", None, 1))
