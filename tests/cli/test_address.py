"""The port that `serve` holds: other servers are kept from it, also those that start at the same moment."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.synchronize import Barrier

import pytest
from support.servers import free_port

from fastsse.cli.address import hold_port
from fastsse.cli.terminal import Failure

ROUNDS = 3000  # without a lock, some of them end with two servers on one port
SPAWNED = multiprocessing.get_context("spawn")


def hold(ports: list[int], begin: Barrier, end: Barrier, held: list[bool]) -> None:
    """Hold each port in turn, at the moment at which another process does so, and note whether that succeeds."""
    for port in ports:
        begin.wait()
        try:
            with hold_port("127.0.0.1", port):
                held.append(True)
                end.wait()
        except Failure:
            held.append(False)
            end.wait()


def hold_and_tell(ports: list[int], begin: Barrier, end: Barrier, told: object) -> None:
    held: list[bool] = []
    hold(ports, begin, end, held)
    told.put(held)  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no port can be shared")
def test_of_two_that_hold_a_port_at_the_same_moment_one_is_refused() -> None:
    ports = [free_port()] * ROUNDS
    begin, end, told = SPAWNED.Barrier(2), SPAWNED.Barrier(2), SPAWNED.SimpleQueue()
    other = SPAWNED.Process(target=hold_and_tell, args=(ports, begin, end, told))
    other.start()
    held: list[bool] = []

    hold(ports, begin, end, held)
    others = told.get()
    other.join()

    assert [1] * ROUNDS == [mine + theirs for mine, theirs in zip(held, others, strict=True)]
