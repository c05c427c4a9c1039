"""What /proc says: the CPU time and the memory of a process group, and how busy the machine is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["busy", "connection_memory", "cpu", "members", "rss", "written_down"]

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def members(group: int) -> Iterator[int]:
    """The processes of a group."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields and int(fields[2]) == group:
                yield int(entry)


def _stat(process: int) -> list[str]:
    """What stands behind the name in /proc/PID/stat: state, parent, group …; empty when the process has gone."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def cpu(group: int) -> float:
    """Seconds of CPU that the members of a group have used."""
    stats = filter(None, map(_stat, members(group)))
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) * _TICK


def rss(group: int) -> int:
    """Resident bytes of a group's members; what they share counts for each."""
    total = 0
    for process in members(group):
        try:
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
        except OSError:
            continue
    return total


def busy() -> float:
    """Seconds of CPU that anybody has used, on all processors; what was stolen counts."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) * _TICK


def connection_memory() -> int:
    """Bytes of kernel memory that TCP says it has in buffers."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            fields = line.split()
            return int(fields[fields.index("mem") + 1]) * _PAGE
    return 0


def written_down() -> dict[str, object]:
    """The machine, for the record: nothing that names it."""
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
