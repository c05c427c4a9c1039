"""The compiled twin is as much faster than the pure one as the guard asks, in this very run."""

from __future__ import annotations

from types import ModuleType

import pytest

from benchmarks import guard
from benchmarks.cells import Task


@pytest.mark.parametrize("task", guard.GUARDED, ids=str)
@pytest.mark.usefixtures("compiled")
def test_the_compiled_twin_is_as_many_times_as_fast_as_it_should_be(task: Task) -> None:
    wanted = guard.GUARDED[task]

    found = guard.ratio(task)

    assert wanted <= found


@pytest.mark.parametrize("task", guard.RELAYED, ids=str)
@pytest.mark.usefixtures("compiled")
def test_a_relay_is_as_many_times_as_fast_as_to_decode_and_encode(task: Task) -> None:
    wanted = guard.RELAYED[task]

    found = guard.relay_ratio(task)

    assert wanted <= found


def test_the_compiled_twin_is_another_module_than_the_pure_one(compiled: ModuleType) -> None:
    assert compiled.__name__ == "fastsse._codec_c"
