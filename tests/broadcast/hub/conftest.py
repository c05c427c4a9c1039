"""Fixtures of the hub's tests. Imports no framework: the pump is tested where none is installed, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.driver import Sends


@pytest.fixture(params=["granian", "coroutine", "wrapped", "direct"])
def sends(request: pytest.FixtureRequest) -> Sends:
    """Give a test each kind of `send` in turn."""
    return request.param  # type: ignore[no-any-return]
