"""Fixtures of the benchmarks: the two twins, and what to do when the compiled one is not built."""

from __future__ import annotations

import os
from types import ModuleType

import pytest

from benchmarks import contenders


def _twin(name: str) -> ModuleType:
    try:
        return contenders.twin(name)
    except contenders.Missing as missing:
        if os.environ.get("FASTSSE_REQUIRE_EXTENSIONS", "0") not in ("", "0"):
            pytest.fail(f"{name} is required and not built: {missing}")
        pytest.skip(f"{name} is not built: {missing}")


@pytest.fixture(params=[contenders.COMPILED, contenders.PURE])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """The codec of either twin."""
    return _twin(request.param)


@pytest.fixture
def compiled() -> ModuleType:
    """The compiled twin."""
    return _twin(contenders.COMPILED)
