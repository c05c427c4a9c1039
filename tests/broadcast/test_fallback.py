"""Without a compiled helper the broadcast runs on the pure one: each is optional at build, on its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.servers import DEADLINE, environment

SCRIPT = """
import importlib, sys
chooser, name, absent = sys.argv[1:]
sys.modules[absent] = None  # an import of it fails, as where its compilation failed
import fastsse.broadcast
print(getattr(importlib.import_module(chooser), name).__module__)
"""


@pytest.mark.parametrize(
    ("folder", "module", "name"), [("hub", "_pump", "sweep"), ("web", "_escapes", "unescape")]
)
def test_where_one_of_them_was_not_compiled_its_pure_twin_stands_in(
    folder: str, module: str, name: str
) -> None:
    chooser = f"fastsse.broadcast.{folder}.{module}"

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, chooser, name, f"{chooser}_c"],
        capture_output=True,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )

    assert f"{chooser}_py\n" == done.stdout.decode(), done.stderr
