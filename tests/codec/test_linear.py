"""Time is a test too: twice the input is twice the work, for every shape that a peer or a user can send.

Time is counted in instructions (callgrind), so that a busy machine changes nothing. `support/linear.py` has the shapes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from support.linear import SHAPES
from support.twins import CODEC, NAMES

import fastsse

VALGRIND = shutil.which("valgrind")
PARTS = {
    "fastsse._codec_py": 4,
    "fastsse._codec_c": 1,
}  # the pure twin's sizes are cut: it is all interpreted
Counts = dict[str, tuple[int, int]]
LEAST, MOST = 1.8, 2.2  # quadratic is 4; what is under the least has not done the work

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(VALGRIND is None, reason="no valgrind here: apt-get install valgrind"),
    pytest.mark.skipif(sys.platform == "win32", reason="valgrind does not know Windows"),
]


def counted(twin: str, out: Path) -> Counts:
    """Count the instructions for each shape at its size and at twice its size."""
    assert VALGRIND is not None
    driver = Path(__file__).parents[1] / "support" / "linear.py"
    subprocess.run(
        [
            *(VALGRIND, "-q", "--tool=callgrind"),
            *(f"--callgrind-out-file={out}", "--dump-before=getppid"),
            *(sys.executable, "-I", "-S", str(driver)),
            *(str(Path(fastsse.__file__).parent.parent), twin),
        ],
        check=True,
        env={
            **os.environ,
            "PYTHONHASHSEED": "0",
            # A `rep movsb` counts once a byte, where other ways to copy count once in 32.
            "GLIBC_TUNABLES": f"glibc.cpu.x86_rep_movsb_threshold={2**31 - 1}",
        },
    )
    names = [*SHAPES, "the control"]
    dumps = [out.with_name(f"{out.name}.{n}").read_text() for n in range(1, 3 * len(names) + 1)]
    counts = [int(re.findall(r"^summary: (\d+)$", dump, re.MULTILINE)[0]) for dump in dumps]
    # Of each three counts the first belongs to what came before: the start, or the warming up.
    return dict(zip(names, zip(counts[1::3], counts[2::3], strict=True), strict=True))


@pytest.fixture(scope="session")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Counts]]]:
    """Count every twin that is here, all at the same time, which does not change the counts."""
    folder = tmp_path_factory.mktemp("callgrind")
    with ThreadPoolExecutor() as threads:
        yield {
            twin: threads.submit(counted, twin, folder / twin)
            for twin in map(CODEC.format, NAMES)
            if find_spec(twin)
        }


@pytest.fixture(scope="session")
def counts(codec: ModuleType, counting: dict[str, Future[Counts]]) -> Counts:
    return counting[codec.__name__].result()


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_input_is_twice_the_work(counts: Counts, shape: str) -> None:
    once, twice = counts[shape]

    assert LEAST < twice / once < MOST, f"{once} instructions became {twice}"


def test_work_that_is_not_linear_is_seen(counts: Counts) -> None:
    once, twice = counts["the control"]

    assert 3 < twice / once
