"""The model test of the hub for as long as you like: ``python tests/stress/model.py --steps 100000``.

Each round is as many examples as take some seconds, with a seed of its own that is printed when the round fails.
Prints how many steps were done, and how many rounds ended in a disagreement.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from support.machine import HubMachine

EXAMPLES = 100  # in one round
STEPS = 60  # at most, in one example


class Counted(HubMachine):
    """The machine, with a count of all steps of all examples."""

    steps = 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            Counted.steps += self.world.steps
        super().teardown()


def run_round(seed: int, *, shrink: bool) -> BaseException | None:
    """Run one round of examples; return the disagreement that it found."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    Counted._hypothesis_internal_use_seed = seed  # type: ignore[attr-defined]
    try:
        run_state_machine_as_test(
            Counted,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=phases,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except (Exception, BaseExceptionGroup) as error:
        return error
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--steps", type=int, default=10_000, help="how many, at least (%(default)s)")
    add("--seed", type=int, default=None, help="of the first round; by chance itself")
    add("--shrink", action="store_true", help="look for the smallest example that disagrees")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    begun, rounds, disagreements = time.monotonic(), 0, 0
    while Counted.steps < given.steps:
        fault = run_round(seed + rounds, shrink=given.shrink)
        if fault is not None:
            disagreements += 1
            print(f"\nseed {seed + rounds}: {fault}", *getattr(fault, "__notes__", ()), sep="\n")
        rounds += 1
        print(f"\r{Counted.steps} steps", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - begun
    print(file=sys.stderr)
    print(f"{Counted.steps} steps, {rounds} rounds, {disagreements} disagreements, {seconds:.0f} s")
    return 1 if disagreements else 0


if __name__ == "__main__":
    raise SystemExit(main())
