"""How soon the model test finds each of the faults of `support.mutations`: ``python tests/stress/mutations.py``.

Prints a table of the faults, with the number of examples after which each was found.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from support.mutations import MUTATIONS, examples_until_found


def main() -> int:
    missed = 0
    for mutation in MUTATIONS:
        found = examples_until_found(mutation)
        missed += found is None
        print(f"{mutation.name:<70} {'not found' if found is None else found}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
