"""The readers of the measurement give whole answers."""

from __future__ import annotations

import gc

import pytest

from benchmarks.client.readers import TASKS, readers

pytest.importorskip("granian")
pytest.importorskip("httpx2")
pytest.importorskip("aiohttp")

from benchmarks.client.__main__ import CHARACTERS, serving

# A client object lives as long as its reader: the run ends with it.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.mark.parametrize("size", [100, 1])
def test_every_reader_gives_all_events(size: int) -> None:
    with serving([0]) as port:
        url = f"http://127.0.0.1:{port}/{size}/300"
        for task in TASKS:
            for name, read in readers(task).items():
                assert 300 * CHARACTERS == read(url, 300), (task, name)
        gc.collect()  # what peers leave open is told here, where it is passed over
