"""The package's own source files by module name, for the tests that read them.

Knows the folder that the package was imported from and how a path becomes a module's name. Must not know any rule: each
test that reads sources has its own.
"""

from __future__ import annotations

from pathlib import Path

import fastsse

__all__ = ["CYTHON", "MODULES", "PACKAGE", "SOURCES", "name_of"]

PACKAGE = Path(fastsse.__file__).parent


def name_of(path: Path) -> str:
    """Return a module's name within the package; the package itself has the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
CYTHON = {name_of(path): path for path in sorted(PACKAGE.rglob("*.pyx"))}
MODULES = SOURCES | CYTHON
