"""Measures each store beside a bare loop over its own driver, and a hub over it beside a hub over memory.

    python -m benchmarks.stores [--rounds 5] [--events 20000] [--only SQLite] [--store URL]

All engines take turns in every round, so that a slow minute is slow for all of them. Python's garbage collector is
tuned as `fastsse serve` does it, and servers do not wait for a disk (`servers.py`). Medians are printed:

    appends/s    so many publishers in flight at a time, by `Store.append`; in brackets over the bare loop of that group
    delivery     from `Hub.publish` to a subscription in this process, at `--rate` events a second; and over memory's
    replay/s     pages of one topic, by `Archive.read`, as a late reader takes them
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.stores.engines import BLOCK, ENGINES, Engine
from fastsse.broadcast import Archive, Draft, Hub, Log, Receipt, Settings, open_url
from fastsse.broadcast.process import tune_collector
from fastsse.broadcast.stores import Entry

__all__ = ["main"]

_FLIGHT = (1, 10, 100, 1000)
_PAGE = 16_384
_Figures = dict[str, list[float]]


class _Follower:
    """Takes reports and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def entry(self, entry: Entry) -> None:  # noqa: ARG002 - only counted
        self.count += 1

    def lost(self, to: int) -> None:
        """Do nothing: the log is new."""

    def renewed(self, log: Log) -> None:
        """Fail: the log must stay."""
        raise AssertionError(log)

    def stalled(self, since: float | None) -> None:
        """Say so: the figures are worth nothing."""
        print("stalled:", since, file=sys.stderr)


async def _append(url: str, count: int, flight: int) -> tuple[float, float | None]:
    """Return appends a second, and entries a second that one late reader gets."""
    store, follower = open_url(url), _Follower()
    await store.open()
    await store.follow(follower, 0)
    draft = Draft(("a",), BLOCK)

    async def publish() -> None:
        for _ in range(count // flight):
            await store.append(draft)

    begun = perf_counter()
    await asyncio.gather(*(publish() for _ in range(flight)))
    took = perf_counter() - begun
    # A store on another machine reports a little later than it answers.
    while follower.count < count // flight * flight:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    replay = await _replay(store) if isinstance(store, Archive) and flight == max(_FLIGHT) else None
    await store.close()
    assert follower.count == count // flight * flight
    return follower.count / took, replay


async def _replay(store: Archive) -> float:
    at = found = 0
    begun = perf_counter()
    while True:
        page = await store.read(("a",), at, 2**62, _PAGE)
        found += len(page.entries)
        at = page.end
        if at >= 2**62 - 1:
            return found / (perf_counter() - begun)


async def _deliver(url: str, rate: int, count: int) -> float:
    """Return the median seconds from a publish to its delivery, at so many events a second."""
    taken: list[float] = []
    async with Hub(Settings(heartbeat=0, store=url)) as hub, hub.subscribe("a") as events:

        async def take() -> None:
            async for event in events:
                taken.append(perf_counter() - float(event.data))
                if len(taken) == count:
                    return

        reader = asyncio.ensure_future(take())
        begun = perf_counter()
        publishes: list[asyncio.Future[Receipt]] = []
        for number in range(count):
            if (early := begun + number / rate - perf_counter()) > 0:
                await asyncio.sleep(early)
            publishes.append(asyncio.ensure_future(hub.publish("a", repr(perf_counter()))))
        await asyncio.gather(*publishes, reader)
    return median(taken)


def _round(engine: Engine, given: argparse.Namespace, found: _Figures) -> None:
    """Measure one engine once, each figure in a log of its own."""

    def note(name: str, value: float | None) -> None:
        if value is not None:
            found.setdefault(name, []).append(value)

    for flight in _FLIGHT:
        count = given.events if flight > 1 else max(flight, given.events // 10)
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            appends, replay = asyncio.run(_append(engine.url(Path(folder)), count, flight))
            note(f"appends {flight}", appends)
            note("replay", replay)
            if engine.bare is not None:
                note(f"ratio {flight}", appends * engine.bare(Path(folder), count, flight) / count)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        note("delivery", asyncio.run(_deliver(engine.url(Path(folder)), given.rate, given.rate)))


def _line(name: str, found: _Figures, memory: _Figures) -> str:
    middle = {key: median(values) for key, values in found.items()}
    cells = [name.ljust(20)]
    for flight in _FLIGHT:
        ratio = f" ({middle[f'ratio {flight}']:.2f})" if f"ratio {flight}" in middle else ""
        cells.append(f"{middle[f'appends {flight}']:,.0f}{ratio}".rjust(18))
    more = 1000 * (middle["delivery"] - median(memory["delivery"])) if memory else float("nan")
    cells.append(f"{1000 * middle['delivery']:.3f} (+{more:.3f})".rjust(18))
    cells.append(f"{middle['replay']:,.0f}".rjust(14) if "replay" in middle else "-".rjust(14))
    return "".join(cells)


def main(arguments: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stores",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--events", type=int, default=20_000, help="appends of one measurement")
    add("--rate", type=int, default=1000, help="events a second while delivery is measured")
    add("--only", action="append", help="engines whose name has this text; memory always")
    add("--store", action="append", default=[], help="one more store, by URL; its log must be new")
    add("--folder", help="where files of logs are made (default: the system's)")
    given = parser.parse_args(arguments)
    engines = [
        one for one in ENGINES
        if one.name == "memory" or not given.only or any(t in one.name for t in given.only)
    ]  # fmt: skip
    engines += [Engine(url.partition("//")[0], lambda _, url=url: url, None) for url in given.store]  # type: ignore[misc]
    found: dict[str, _Figures] = {engine.name: {} for engine in engines}
    tune_collector()
    for _ in range(given.rounds):
        for engine in engines:
            _round(engine, given, found[engine.name])
    heads = [f"appends/s, {flight}".rjust(18) for flight in _FLIGHT]
    print("store".ljust(20) + "".join(heads) + "delivery, ms".rjust(18) + "replay/s".rjust(14))
    for name, figures in found.items():
        print(_line(name, figures, found.get("memory", {})))
    return 0


if __name__ == "__main__":
    sys.exit(main())
