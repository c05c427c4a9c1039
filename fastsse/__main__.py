"""Lets ``python -m fastsse`` run the ``fastsse`` command."""

from __future__ import annotations

import sys

from fastsse.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
