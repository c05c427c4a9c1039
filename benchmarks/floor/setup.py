"""Builds the floor: ``python setup.py build_ext --build-lib DIR``, which `benchmarks.floor` runs by itself."""

import os

from setuptools import Extension, setup

FOR = os.environ.get("FLOOR_FOR", "x86-64")  # the value of gcc's -march

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
