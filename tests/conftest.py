"""Fixtures that more than one folder of tests uses: the twins of the codec."""

from __future__ import annotations

import signal
from types import ModuleType

import pytest
from hypothesis import settings
from twins import NAMES, load_twin

settings.register_profile("fastsse", deadline=None, print_blob=True)
settings.load_profile("fastsse")

# A shell's background job ignores SIGINT, and so would every process that a test starts to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", params=NAMES)
def codec(request: pytest.FixtureRequest) -> ModuleType:
    """One twin's module: `codec.encode`, `codec.Decoder`, `codec.Event` ..."""
    return load_twin(request.param)


@pytest.fixture(scope="session")
def twins() -> tuple[ModuleType, ModuleType]:
    """Both twins, the pure one first."""
    return load_twin("py"), load_twin("c")
