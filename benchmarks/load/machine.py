"""Reads /proc: the CPU time and the memory of a process group, and how busy the machine is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["busy", "connection_memory", "cpu", "exact_cpu", "members", "rss", "written_down"]

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def members(group: int) -> Iterator[int]:
    """List the processes of a group."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields and int(fields[2]) == group:
                yield int(entry)


def _stat(process: int) -> list[str]:
    """Read the fields after the name in /proc/PID/stat: state, parent, group …; empty when the process has gone."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def cpu(group: int) -> float:
    """Sum the seconds of CPU that the members of a group have used."""
    stats = filter(None, map(_stat, members(group)))
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) * _TICK


def exact_cpu(group: int) -> float:
    """Sum the seconds of CPU that the living threads of a group have used, exact to the nanosecond.

    A thread that ends between two calls takes its share with it; a kernel without scheduler statistics gives `cpu`.
    """
    total = 0
    for process in members(group):
        for stat in Path(f"/proc/{process}/task").glob("*/schedstat"):
            try:
                total += int(stat.read_text().split()[0])
            except OSError:
                continue
    return total / 1e9 if total else cpu(group)


def rss(group: int) -> int:
    """Sum the resident bytes of a group's members; shared memory counts for each of them."""
    total = 0
    for process in members(group):
        try:
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
        except OSError:
            continue
    return total


def busy() -> float:
    """Sum the seconds of CPU that anybody has used, on all processors, stolen time included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) * _TICK


def connection_memory() -> int:
    """Read the bytes of kernel memory that TCP says it has in buffers."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            fields = line.split()
            return int(fields[fields.index("mem") + 1]) * _PAGE
    return 0


def written_down() -> dict[str, object]:
    """Describe the machine for the record, without anything that identifies it."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "kernel": os.uname().release.split("-")[0],
        "machine": os.uname().machine,
    }
