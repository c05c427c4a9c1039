"""Publishes with a key that are under way: which of them append an event, and which repeat one.

A store answers a repeated key with the position of the first event, and says no more. A position that the hub had heard
of before the publish began is such a repeat. So is the position that another publish with this key has been given while
both were under way.

The module knows keys and numbers of the log; it must not know a store, or what is counted.
"""

from __future__ import annotations

__all__ = ["Flight", "Keyed"]


class Flight:
    """The publishes of one key that are under way together.

    Args:
        epoch: the name of the log when the first of them began.
        head: the newest number of that log that the hub had heard of.
    """

    __slots__ = ("_epoch", "_given", "_head", "users")

    def __init__(self, epoch: str, head: int) -> None:
        self.users = 1
        self._epoch = epoch
        self._head = head
        self._given = 0

    def appended(self, epoch: str, number: int) -> bool:
        """Return True when this number is that of a new event, once for each; False for a repeat.

        Args:
            epoch: the name of the log now.
            number: what the store has answered.
        """
        if number == self._given or (epoch == self._epoch and number <= self._head):
            return False
        self._given = number
        return True


class Keyed:
    """All publishes with a key that are under way; as many flights as publishes at most."""

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def begin(self, key: str, epoch: str, head: int) -> Flight:
        """Note that a publish begins, and return its flight. `end` must follow."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(epoch, head)
        else:
            flight.users += 1
        return flight

    def end(self, key: str) -> None:
        """Note that a publish is over."""
        flight = self._flights[key]
        flight.users -= 1
        if not flight.users:
            del self._flights[key]
