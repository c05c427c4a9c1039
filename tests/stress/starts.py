"""Starts and ends each browser many times on a busy machine: ``python tests/stress/starts.py --times 50 --hogs 4``.

Each time a page is opened, and each third time a Chromium as people launch it. Prints how long that took, what was
started again, and what was left running: nothing may be.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browsers import KINDS, browsing, sleepy
from support.starts import children, notes, tree

HOG = "while True: pass"
PAGE = "data:text/html,hello"


async def start(name: str, *, alone: bool) -> None:
    """Start a browser, open a page, end the browser."""
    async with browsing(name) as browser:
        page = await browser.open(_shown)
        assert "hello" == await page.text_content("body")
        if alone:
            with tempfile.TemporaryDirectory() as folder:
                async with sleepy(browser, Path(folder), PAGE) as page:
                    assert "hello" == await page.text_content("body")


async def _shown(browser: Any) -> Any:
    page = await (await browser.new_context()).new_page()
    await page.goto(PAGE)
    return page


async def repeat(times: int) -> list[float]:
    """Start both browsers so many times, and return how many seconds each start took."""
    took = []
    for number in range(times):
        for name in KINDS:
            began = time.monotonic()
            await start(name, alone=number % 3 == 0 and name == "chromium")
            took.append(time.monotonic() - began)
            print(f"{number + 1} {name}: {took[-1]:.1f} s", *notes(), sep="  ", flush=True)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--hogs", type=int, default=4)
    arguments = parser.parse_args()
    hogs = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(arguments.hogs)]
    before = children()
    try:
        took = asyncio.run(repeat(arguments.times))
        left = tree(children() - before)
    finally:
        for hog in hogs:
            hog.kill()
    print(f"{len(took)} starts, the longest {max(took):.1f} s, {len(left)} processes left")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
