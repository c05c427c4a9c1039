"""Builds the two C programs of the load benchmark with gcc, when they are first needed.

``python -m benchmarks.load.build`` builds both and says where they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["Unavailable", "build"]

HERE = Path(__file__).parent
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


class Unavailable(Exception):
    """Something that the benchmark needs is not here; the message says how to get it."""


def build(name: str) -> Path:
    """Build the program of ``name.c`` unless a newer one is there, and return its path.

    Raises:
        Unavailable: there is no gcc, or it refuses the source.
    """
    source = HERE / f"{name}.c"
    program = _folder() / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    if shutil.which("gcc") is None:
        raise Unavailable("the load generator needs gcc")
    program.parent.mkdir(parents=True, exist_ok=True)
    made = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        ["gcc", *FLAGS, str(source), "-o", str(made)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unavailable(f"{source.name} does not build: {done.stderr.strip()[-800:]}")
    made.replace(program)
    return program


def _folder() -> Path:
    """Return ``build/load`` of the project, or a temporary folder where that cannot be written."""
    root = HERE.parent.parent
    if os.access(root, os.W_OK):
        return root / "build" / "load"
    return Path(tempfile.gettempdir()) / "fastsse-load"


if __name__ == "__main__":
    for each in ("sseload", "floor"):
        print(build(each))
