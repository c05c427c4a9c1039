"""Build the floor: ``python setup.py build_ext --build-lib DIR``. `benchmarks.floor` does it when it is asked."""

import os

from setuptools import Extension, setup

FOR = os.environ.get("FLOOR_FOR", "x86-64")  # what gcc's -march is told

setup(
    name="fastsse-floor",
    version="0",
    py_modules=[],
    ext_modules=[
        Extension(
            "floor",
            ["floor.c"],
            extra_compile_args=[f"-march={FOR}", "-O3", "-std=c11", "-Wall", "-Wextra", "-Werror"],
        )
    ],
)
