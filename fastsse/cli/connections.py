"""How many connections `serve` takes, and the open files that they need.

The module knows limits of the process and of the settings; it must not know which server counts connections.
"""

from __future__ import annotations

import sys

from fastsse.broadcast.settings import Settings
from fastsse.cli.terminal import Failure

__all__ = ["SPARE", "allow_connections"]

SPARE = 4096  # connections beside streams and bodies: probes, pages, idle ones, silent ones of strangers
_FILES = 256  # descriptors beside the connections


def allow_connections(wanted: int | None, settings: Settings) -> int:
    """Decide how many connections there may be, and allow this process the open files for them.

    granian leaves connections beyond that number unaccepted until others end, those of /health too. The broadcast
    counts streams and bodies itself and refuses further ones; so the two together must never take all connections.

    Args:
        wanted: what ``--connections`` says; by default there is room for streams, bodies, and a quarter more.
        settings: for the number of streams and bodies.

    Raises:
        Failure: `wanted` leaves no connection beside streams and bodies.
    """
    counted = settings.max_streams + settings.max_bodies
    if wanted is not None and wanted <= counted:
        raise Failure(
            f"--connections {wanted}: must be more than max_streams and max_bodies together, which is {counted}"
        )
    connections = wanted or counted + max(SPARE, counted // 4)
    allowed = _allow_files(connections + _FILES)
    return min(connections, max(allowed - _FILES, allowed // 2))


def _allow_files(count: int) -> int:
    """Raise the soft limit of open files, usually 1,024, to `count`, because each connection is an open file.

    Returns:
        How many files may be open, at most `count`: the hard limit may be lower.
    """
    if sys.platform == "win32":
        return count
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= count:
        return count
    allowed = count if hard == unlimited else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        print(
            f"fastsse: open files are limited to {allowed}, and {count} are needed; "
            "raise the limit (ulimit -Hn), or lower --max-streams",
            file=sys.stderr,
        )
    return allowed
