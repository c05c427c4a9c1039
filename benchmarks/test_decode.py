"""Decoding, twin beside twin: ``python -m pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import time
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.corpora import CHUNKINGS, DECODED, Seen, corpus

ROUNDS = 5

pytestmark = pytest.mark.benchmark(timer=time.thread_time)
"""CPU time: what other processes take away is not counted."""


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", DECODED)
def test_decode(benchmark: BenchmarkFixture, twin: ModuleType, name: str, chunking: str) -> None:
    benchmark.group = f"decode {name} {chunking}"
    cut = corpus(name).cut(chunking)
    benchmark.extra_info.update(events=len(cut.events), bytes=cut.size)

    events = benchmark.pedantic(
        _decode, setup=lambda: ((twin.Decoder(), cut.chunks), {}), rounds=ROUNDS, warmup_rounds=1
    )

    assert list(cut.events) == [Seen(e.data, e.event, e.id, e.retry) for e in events]


def _decode(decoder: object, chunks: tuple[bytes, ...]) -> list[object]:
    feed = decoder.feed  # type: ignore[attr-defined]
    return [event for chunk in chunks for event in feed(chunk)]
