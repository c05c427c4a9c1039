"""A broadcast whose store is an archive that holds many entries from the beginning, for real servers to run.

`ARCHIVED` is the number of entries; all of them have the topic ``log``, and their data is their position.
"""

from __future__ import annotations

import os

from support.stores import ArchivedStore

from fastsse.broadcast import Hub, Settings
from fastsse.broadcast.app import create_app

store = ArchivedStore()
for _number in range(1, int(os.environ.get("ARCHIVED", "1000")) + 1):
    store.add("log", b"data: %d\n\n" % _number)
app = create_app(hub=Hub(Settings(heartbeat=0, lifetime=0), store))
