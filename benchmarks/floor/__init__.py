"""The floor: a hand-written C codec without the product's limits and comforts, built when it is first used.

The floor shows what CPython allows on the machine at hand, so that "within 1.2 times the floor" means something.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

__all__ = ["FloorUnavailable", "level", "load"]

HERE = Path(__file__).parent
SOURCES = (HERE / "floor.c", HERE / "setup.py")


class FloorUnavailable(ImportError):
    """The floor cannot be built here; the message says why."""


@cache
def level() -> str:
    """Name the target of the build: AVX2 where the processor has it, otherwise what every x86-64 has."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        known = ""
    flags = next((line.split() for line in known.splitlines() if line.startswith("flags")), [])
    return (
        "x86-64-v3" if {"avx2", "bmi1", "bmi2", "fma", "movbe", "abm"} <= set(flags) else "x86-64"
    )


@cache
def load() -> ModuleType:
    """Build the floor unless a newer build lies in ``build/``, and import it.

    Raises:
        FloorUnavailable: another interpreter than CPython, another processor than x86-64, no compiler.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise FloorUnavailable(f"the floor is x86-64 only, this is {platform.machine()}")
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise FloorUnavailable("the floor is for CPython with the GIL")
    built = _folder() / level() / f"floor{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not built.exists() or built.stat().st_mtime < max(s.stat().st_mtime for s in SOURCES):
        _build(built)
    spec = importlib.util.spec_from_file_location("floor", built)
    if spec is None or spec.loader is None:
        raise FloorUnavailable(f"{built} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _folder() -> Path:
    """Return ``build/floor`` beside the benchmarks, or a temporary folder where that cannot be written."""
    root = HERE.parent.parent
    if os.access(root, os.W_OK):
        return root / "build" / "floor"
    return Path(tempfile.gettempdir()) / "fastsse-floor"


def _build(built: Path) -> None:
    """Build beside `built`, then move the result there, because another process may be importing or building it."""
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--force"]
        command += ["--build-lib", folder, "--build-temp", folder]
        environment = {**os.environ, "FLOOR_FOR": level()}
        done = subprocess.run(
            command, cwd=HERE, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise FloorUnavailable(f"the floor does not build: {done.stderr.strip()[-400:]}")
        os.replace(Path(folder) / built.name, built)
