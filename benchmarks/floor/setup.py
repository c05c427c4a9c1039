"""Build the floor: ``python setup.py build_ext --build-lib DIR``. `benchmarks.floor` does it when it is asked."""

import os

from setuptools import Extension, setup

HERE = os.path.dirname(os.path.abspath(__file__))

setup(
    name="fastsse-floor",
    version="0",
    py_modules=[],
    ext_modules=[
        Extension(
            "floor",
            ["floor.c"],
            extra_compile_args=["-O3", "-std=c11", "-Wall", "-Wextra", "-Werror"],
        )
    ],
)
