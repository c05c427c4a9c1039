"""Whatever happens to a hub, each reader is sent its events once and in order, or a gap that names what is gone.

Hypothesis does to a hub what it likes (`support.machine`), and a naive model that keeps every event says what each
reader must be sent (`support.model`). ``python tests/stress/model.py --steps 100000`` does so for much longer.

A model that agrees with everything proves nothing, so it has to find faults that `support.mutations` puts into the hub
on purpose: a floor one less than it is, a gap of one event not told, gaps told again, a replay that leaves out the
event after the reader's place, an event of two topics replayed twice, a gap that does not move its reader, a repeated
entry sent again, a loss that leaves no hole, a loss not told to open streams, a new log with the old one's history, a
page that leaves out its last entry, one event gone from the archive and not told, a gap that names the event
after it; and of ends: streams that go on after theirs or end before it, an end told twice or not at all, readers
sent away too early or not at all, an ended topic that takes events, or one that is open again and takes none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.mutations import MUTATIONS, Mutation

# These tests compute all the time, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

STRESS = Path(__file__).parents[2] / "stress"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own.

    Hypothesis draws from the constants of all modules that are imported, and a process has only the script's.
    """
    command = [sys.executable, str(STRESS / script), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )


@pytest.mark.parametrize(
    ("seed", "steps"), [(1, 3_000), pytest.param(2, 20_000, marks=pytest.mark.long)]
)
def test_the_hub_agrees_with_the_model(seed: int, steps: int) -> None:
    """Run always the same steps; `stress/model.py` by hand looks elsewhere each time."""
    ran = run("model.py", "--seed", str(seed), "--steps", str(steps))

    assert ran.stdout.endswith(" s\n"), ran.stderr
    assert " 0 disagreements" in ran.stdout.splitlines()[-1], ran.stdout


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_the_model_finds_a_fault(mutation: Mutation) -> None:
    ran = run("mutations.py", mutation.name)

    assert ran.returncode == 0, ran.stdout + ran.stderr
