"""A publisher that never gives an event up: ``publisher.py NAME FIRST PAUSE PORT …`` until its input is closed.

Event n has the data ``NAME n`` and the key ``NAME-n``. When an answer is missing, or says that nothing can be published
now, the event is sent again with its key, to the next port. Each id is printed once it is known. Only the standard
library is used, so that nothing of ours is at both ends.
"""

from __future__ import annotations

import http.client
import json
import select
import sys
import time

PATIENCE = 15.0  # s for one answer


def main(name: str, first: int, pause: float, ports: list[int]) -> int:
    """Publish until standard input is closed."""
    number, at = first, 0
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=PATIENCE)
    while not select.select([sys.stdin], [], [], pause)[0]:
        try:
            id = publish(connection, name, number)
        except (OSError, http.client.HTTPException):
            connection.close()
            at += 1
            port = ports[at % len(ports)]
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            time.sleep(0.05)
            continue
        print(number, id, flush=True)
        number += 1
    return 0


def publish(connection: http.client.HTTPConnection, name: str, number: int) -> str:
    """Send one event, and return its id.

    Raises:
        OSError: nobody has answered, or not by an id; the event may be published or not.
    """
    topic = f"t{number % 3}"
    headers = {"Idempotency-Key": f'"{name}-{number}"', "Content-Type": "text/plain"}
    connection.request("POST", f"/events?topic={topic}&topic=all", f"{name} {number}", headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status in (429, 500, 503):
        raise OSError(f"{answer.status}")
    if answer.status not in (200, 201):
        raise SystemExit(f"{answer.status}: {body!r}")
    return str(json.loads(body)["id"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), [*map(int, sys.argv[4:])]))
