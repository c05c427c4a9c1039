"""Measures every configuration of docs/proxies.md and writes its table there: ``python tests/proxies/table.py``.

A proxy that is not installed keeps its row. Figures are those of this machine, on the loopback, and each event is
compared with a direct reader of the same hub in the same moment.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

from proxies.documented import PAGE, PROXIES, Proxy, find, run
from proxies.measure import HUB, delays, first_byte, leaving, longest_query
from proxies.restart import house, survivors
from support.servers import ROOT, Clients, Server, free_port, serve, serve_uvicorn

BEGIN = "<!-- measured: written by tests/proxies/table.py -->\n"
END = "<!-- end of measured -->\n"
HEAD = """\
| proxy | first byte: quiet topic, late item | event: median, longest | reader left | query | survives TERM, KILL |
|---|---|---|---|---|---|
"""
ROUNDS = 5
LATE = os.pathsep.join([str(ROOT), str(ROOT / "tests")])


def main() -> int:
    rows = _rows_of_the_page() | {"none": asyncio.run(_directly())}
    print(rows["none"], end="")
    for proxy in PROXIES:
        if find(proxy) is None:
            print(f"no {proxy.program} here: its row stays as it is; {proxy.install}")
        else:
            rows[proxy.name] = asyncio.run(_row(proxy))
            print(rows[proxy.name], end="")
    before, _, behind = _parts()
    names = ["none", *(proxy.name for proxy in PROXIES)]
    text = "".join(rows[name] for name in names if name in rows)
    PAGE.write_text(f"{before}{BEGIN}{HEAD}{text}{END}{behind}", encoding="utf-8")
    return 0


def _parts() -> tuple[str, str, str]:
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    table, behind = rest.split(END)
    return before, table, behind


def _rows_of_the_page() -> dict[str, str]:
    """Read the rows that stand there, by the proxy's name: the first cell is its name and its version."""
    rows = _parts()[1].splitlines(keepends=True)[2:]
    return {row.split()[1]: row for row in rows}


async def _row(proxy: Proxy) -> str:
    beat = 0 if proxy.tells else 5
    with ExitStack() as stack:
        hub = stack.enter_context(serve(*HUB, "--max-streams", "100", "--heartbeat", str(beat)))
        late = stack.enter_context(serve_uvicorn(app="proxies.late:app", PYTHONPATH=LATE))
        front = stack.enter_context(run(proxy, free_port(), hub))
        late_front = stack.enter_context(run(proxy, free_port(), late))
        heartbeat = "" if proxy.tells else ", heartbeat of 5 s"
        streams = await _streams(hub, front, late_front, heartbeat)
    return f"| {proxy.name} {_version(proxy)} | {streams} | {await _ends(proxy)} |\n"


async def _ends(proxy: Proxy | None) -> str:
    """Restart the hub of one reader, which is behind the proxy or has none."""
    found = []
    for signum in ("SIGTERM", "SIGKILL"):
        with house([proxy] if proxy else []) as built:
            if proxy is None:
                built.fronts["none"] = PROXIES[0], built.hub
            (reader,) = (await survivors(built, signum)).values()
        found.append("yes" if reader.dead is None else f"no ({reader.dead})")
    return ", ".join(found)


async def _directly() -> str:
    """Measure without a proxy, for comparison."""
    with ExitStack() as stack:
        hub = stack.enter_context(serve(*HUB, "--max-streams", "100"))
        late = stack.enter_context(serve_uvicorn(app="proxies.late:app", PYTHONPATH=LATE))
        streams = await _streams(hub, hub, late, "")
    return f"| none | {streams} | {await _ends(None)} |\n"


async def _streams(hub: Server, front: Server, late_front: Server, heartbeat: str) -> str:
    clients = Clients()
    first = [await first_byte(clients, front, "/events?topic=a") for _ in range(ROUNDS)]
    late = [await first_byte(clients, late_front, "/events") for _ in range(ROUNDS)]
    rounds = [await delays(clients, hub, front, "a") for _ in range(ROUNDS)]
    # A busy machine delays one round, a fault of a configuration every round.
    quietest = min(([delay.behind for delay in each] for each in rounds), key=max)
    left = [await leaving(clients, hub, front, "a") for _ in range(3)]
    query = await asyncio.to_thread(longest_query, front)
    return " | ".join(
        [
            f"{_ms(statistics.median(first))}, {_ms(statistics.median(late))}",
            f"{_ms(statistics.median(quietest))}, {_ms(max(quietest))}",
            f"{max(left):.1f} s{heartbeat}",
            f"{query:,} bytes",
        ]
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _version(proxy: Proxy) -> str:
    """Find the first thing that looks like a version in what the program says of itself."""
    program = find(proxy)
    assert program is not None
    said = subprocess.run([program, *proxy.versions], capture_output=True, text=True, check=False)
    found = re.search(r"(?<![\d.])\d+(\.\d+)+", said.stdout + said.stderr)
    return found[0] if found else ""


if __name__ == "__main__":
    sys.exit(main())
