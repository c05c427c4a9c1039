"""``python -m fastsse`` is the ``fastsse`` command."""

from __future__ import annotations

import sys

from fastsse.cli import main

if __name__ == "__main__":
    sys.exit(main())
