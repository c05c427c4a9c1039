"""Every scenario of the table over every transport, sync and async."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.drivers import WAYS, Driver, each_way
from support.odd_scenarios import ODD, ODD_OF_TRANSPORTS
from support.scenarios import OF_TRANSPORTS, SCENARIOS, Scenario, mistakes

import fastsse.client._async
import fastsse.client._sync


@pytest.fixture(scope="module")
def drivers() -> Iterator[Callable[[str], Driver]]:
    """Make each client once."""
    with each_way() as find:
        yield find


@pytest.fixture(autouse=True)
def short_error_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the body of an error for a moment only."""
    for module in (fastsse.client._async, fastsse.client._sync):
        monkeypatch.setattr(module, "MAX_ERROR_TIME", 0.1)


# In every run each transport plays the scenarios in which transports differ, and two of them play all; one plays all of
# the odd ones. The gate for long tests plays all over all; what shares its code with another one is played there alone.
WHOLE = {"stdlib", "asyncio-aiohttp"}
PARTLY = {"httpx2", "requests", "asyncio-httpx2"}
ALL = [*SCENARIOS, *ODD]
DIFFERING = [*OF_TRANSPORTS, *ODD_OF_TRANSPORTS]


def plays() -> Iterator[Any]:
    """Pair every scenario with every way."""
    for scenario in ALL:
        for way in WAYS:
            whole = way == "stdlib" if scenario in ODD else way in WHOLE
            often = whole or (way in WHOLE | PARTLY and scenario in DIFFERING)
            marks = () if often else (pytest.mark.long,)
            yield pytest.param(scenario, way, id=f"{scenario.name}-{way}", marks=marks)


@pytest.mark.parametrize(("scenario", "way"), [*plays()])
def test_a_client_does_as_it_must(
    scenario: Scenario, way: str, drivers: Callable[[str], Driver]
) -> None:
    if scenario.without & {way, way.rpartition("-")[2]}:
        pytest.skip("a fault of the library's own shows here; the scenario says which")
    driver = drivers(way)

    assert [] == mistakes(scenario, driver.play)


def test_there_are_many_scenarios() -> None:
    assert 120 <= len(ALL) == len({scenario.name for scenario in ALL})
