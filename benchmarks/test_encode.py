"""Encoding, twin beside twin: ``python -m pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import time
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cells import shape
from benchmarks.corpora import ENCODED, corpus

ROUNDS = 5

pytestmark = pytest.mark.benchmark(timer=time.thread_time)
"""CPU time: what other processes take away is not counted."""


@pytest.mark.parametrize("name", ENCODED)
def test_encode(benchmark: BenchmarkFixture, twin: ModuleType, name: str) -> None:
    benchmark.group = f"encode {name}"
    source = corpus(name)
    others = shape(source.fields)[1:]
    benchmark.extra_info.update(events=len(source.fields), bytes=len(source.stream))

    def fresh() -> tuple[tuple[object, ...], dict[str, object]]:
        """Make new strings for every round, because CPython keeps a string's UTF-8 once it was asked for."""
        calls = []
        for item in source.fields:
            new = item.fresh()
            calls.append((new.data, {field: getattr(new, field) for field in others}))
        return (twin.encode, calls), {}

    blocks = benchmark.pedantic(_encode, setup=fresh, rounds=ROUNDS, warmup_rounds=1)

    assert list(source.blocks) == blocks


def _encode(encode: object, calls: list[tuple[str, dict[str, object]]]) -> list[bytes]:
    return [encode(data, **fields) for data, fields in calls]  # type: ignore[operator]


@pytest.mark.parametrize("name", ["llm", "small", "full"])
def test_encode_many(benchmark: BenchmarkFixture, twin: ModuleType, name: str) -> None:
    benchmark.group = f"encode_many {name}"
    stream = corpus(name).stream

    written = benchmark.pedantic(
        twin.encode_many, setup=lambda: ((twin.decode(stream),), {}), rounds=ROUNDS, warmup_rounds=1
    )

    assert stream == written
