"""Faults put into the client's machine, one at a time: the table of scenarios must find each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from support.client_mutations import CLIENT_MUTATIONS
from support.drivers import Driver, driver_for
from support.mutations import Mutation, applied
from support.scenarios import SCENARIOS, Scenario, mistakes

import fastsse.client._sync
import fastsse.client.connection

# Scenarios that wait for time-outs come last, or not at all.
SLOW = ("max_time", "silence", "without end", "does not come", "refused", "keep a stream alive")
OURS = [one for one in SCENARIOS if "stdlib" not in one.without]
QUICK = [one for one in OURS if not any(word in one.name for word in SLOW)]
TIMED = [one for one in OURS if "max_time" in one.name]


@contextmanager
def faulty_driver() -> Iterator[Driver]:
    """Give a driver that ends what goes on for ever."""
    with driver_for("stdlib") as driver:
        driver.patience = 3.0
        yield driver


def is_found(scenario: Scenario, play: Any) -> bool:
    """Play a scenario with a fault in the machine: an exception or a hang of it counts as found."""
    try:
        return bool(mistakes(scenario, play))
    except Exception:
        return True


@pytest.mark.long
@pytest.mark.parametrize("mutation", CLIENT_MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_fault_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastsse.client._sync, "MAX_ERROR_TIME", 0.1)
    with faulty_driver() as driver, applied(mutation):
        module, _, name = mutation.place.partition(":")
        if module != "connection":  # which has imported the function by its name
            wrong = getattr(import_module(f"fastsse.client.{module}"), name)
            monkeypatch.setattr(fastsse.client.connection, name, wrong)
        found = next((it for it in QUICK + TIMED if is_found(it, driver.play)), None)

    assert found is not None
    print(f"found by: {found.name}")


@pytest.mark.long
def test_without_a_fault_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastsse.client._sync, "MAX_ERROR_TIME", 0.1)
    with faulty_driver() as driver:
        assert [] == [it.name for it in QUICK + TIMED if is_found(it, driver.play)]


def test_the_faults_are_many_and_most_are_in_the_machine_itself() -> None:
    assert 20 <= sum(it.place.startswith("connection:") for it in CLIENT_MUTATIONS)


@pytest.mark.parametrize("mutation", CLIENT_MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_fault_still_has_its_place(mutation: Mutation) -> None:
    with applied(mutation):
        pass
