"""How many connections `serve` takes: more than streams and bodies, and no more than it may open files."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.servers import DEADLINE, environment

from fastsse.broadcast import Settings
from fastsse.cli.connections import SPARE, allow_connections
from fastsse.cli.terminal import Failure

SCRIPT = """
import resource, sys
from fastsse.broadcast import Settings
from fastsse.cli.connections import allow_connections
soft, hard, wanted, streams = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(allow_connections(wanted or None, Settings(max_streams=streams, max_bodies=1)))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""

limits_files = pytest.mark.skipif(sys.platform == "win32", reason="no limit of open files")


def limited(soft: int, hard: int, wanted: int, streams: int) -> tuple[list[str], str]:
    """Ask a process with these limits of open files; return the lines of its stdout, and its stderr."""
    arguments = [str(number) for number in (soft, hard, wanted, streams)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("wanted", [1, 29, 30])
def test_streams_and_bodies_may_never_be_all_connections(wanted: int) -> None:
    with pytest.raises(Failure, match=f"--connections {wanted}: must be more than .*, which is 30"):
        allow_connections(wanted, Settings(max_streams=20, max_bodies=10))


@limits_files
@pytest.mark.parametrize(("wanted", "expected"), [(0, 101 + SPARE), (150, 150)])
def test_the_soft_limit_of_open_files_is_raised_to_what_connections_need(
    wanted: int, expected: int
) -> None:
    lines, errors = limited(64, 8000, wanted, 100)

    assert ([str(expected), f"{expected + 256} 8000"], "") == (lines, errors)


@limits_files
def test_a_limit_that_is_high_enough_stays() -> None:
    lines, errors = limited(7000, 8000, 150, 100)

    assert (["150", "7000 8000"], "") == (lines, errors)


@limits_files
def test_where_the_hard_limit_is_lower_there_are_fewer_connections_and_serve_says_so() -> None:
    lines, errors = limited(64, 2000, 0, 100)

    assert ["1744", "2000 2000"] == lines
    assert errors.startswith("fastsse: open files are limited to 2000, and 4453 are needed; ")
