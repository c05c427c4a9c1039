"""How soon the model test finds each of the faults of `support.mutations`: ``python tests/stress/mutations.py``.

Prints a table of the faults, or of those that are named, with the number of examples after which each was found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from support.mutations import MUTATIONS, examples_until_found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="of a fault; all of them by default"
    )
    names = parser.parse_args().names
    chosen = [mutation for mutation in MUTATIONS if not names or mutation.name in names]
    if unknown := {*names} - {mutation.name for mutation in chosen}:
        parser.error(f"there is no fault of the name {', '.join(sorted(unknown))}")
    missed = 0
    for mutation in chosen:
        found = examples_until_found(mutation)
        missed += found is None
        print(f"{mutation.name:<70} {'not found' if found is None else found}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
