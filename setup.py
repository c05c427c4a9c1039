"""The extensions; everything else about the build stands in pyproject.toml.

FASTSSE_NO_EXTENSIONS=1       build none: the pure twins alone, in a wheel for any platform
FASTSSE_REQUIRE_EXTENSIONS=1  a failing compiler is an error (always so under cibuildwheel); otherwise the
                              pure twins take over
FASTSSE_LINETRACE=1           let coverage see the lines of the .pyx files; slow
FASTSSE_COVERAGE=1            let gcov see every line of C, unoptimised; see tests/c/coverage.sh
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from glob import glob

from setuptools import Extension, setup


def flag(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


REQUIRED = flag("FASTSSE_REQUIRE_EXTENSIONS") or flag("CIBUILDWHEEL")
TRACED = flag("FASTSSE_LINETRACE")
WINDOWS = sysconfig.get_platform().startswith("win")

STEP = ["fastsse/_step.h", "fastsse/_step.pxd"]  # how the flow and the pump step awaitables
ESCAPES = "csrc/escapes.c"  # the kernels of forms; the codec has the others
COMPILE = ["/O2"] if WINDOWS else ["-O3", "-g0", "-fvisibility=hidden"]
LINK: list[str] = []
if flag("FASTSSE_COVERAGE"):
    COMPILE = ["-O0", "-g0", "--coverage"]
    LINK = ["--coverage"]
MACROS = [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")] if TRACED else []


def extensions() -> list[Extension]:
    if flag("FASTSSE_NO_EXTENSIONS") or platform.python_implementation() != "CPython":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if REQUIRED:
            raise
        print("fastsse: Cython is not there, building the pure twins alone", file=sys.stderr)
        return []
    codec = Extension(
        "fastsse._codec_c",
        ["fastsse/_codec_c.pyx", *sorted(set(glob("csrc/*.c")) - {ESCAPES})],
        include_dirs=["csrc", "fastsse"],
        depends=[*sorted(glob("fastsse/*.h")), *sorted(glob("csrc/*.h"))],
        define_macros=MACROS,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
    )
    flow = Extension(
        "fastsse._flow_c",
        ["fastsse/_flow_c.pyx"],
        include_dirs=["fastsse"],
        depends=STEP,
        define_macros=MACROS,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
    )
    pump = Extension(
        "fastsse.broadcast.hub._pump_c",
        ["fastsse/broadcast/hub/_pump_c.pyx"],
        include_dirs=["fastsse"],
        depends=STEP,
        define_macros=MACROS,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
    )
    escapes = Extension(
        "fastsse.broadcast.web._escapes_c",
        ["fastsse/broadcast/web/_escapes_c.pyx", ESCAPES],
        include_dirs=["csrc", "fastsse"],
        depends=["csrc/block.h", "csrc/sse.h"],
        define_macros=MACROS,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
    )
    built = cythonize(
        [codec, flow, pump, escapes],
        # Beside the .pyx only where coverage must find it.
        build_dir=None if TRACED else "build/cython",
        compiler_directives={"linetrace": TRACED},
    )
    for extension in built:
        extension.optional = not REQUIRED  # after cythonize(), which would drop it
    return list(built)


setup(ext_modules=extensions())
