"""The names of topics as a history keeps them: each name once, and each set of names once.

Every request brings its names in strings of its own. A record is given the strings that are kept already, so that a
million records of one topic hold one string.
"""

from __future__ import annotations

from sys import getsizeof

__all__ = ["SharedNames"]

# Bytes that things take beside their text, measured by the growth of a process's resident memory.
_NAME = 110  # a name, which topics and sets share
_SET = 180  # a set of names, which records share


class SharedNames:
    """Names and sets of names, with the number of their users; what nobody uses goes.

    Attributes:
        size: bytes that they take.
    """

    __slots__ = ("_names", "_sets", "size")

    def __init__(self) -> None:
        self._names: dict[str, _Name] = {}
        self._sets: dict[tuple[str, ...], _Set] = {}
        self.size = 0

    def share(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the kept set that equals these names, for one more record."""
        found = self._sets.get(names)
        if found is None:
            found = _Set(tuple(map(self.hold, names)))
            self._sets[found.names] = found
            self.size += found.cost
        found.records += 1
        return found.names

    def release(self, names: tuple[str, ...]) -> None:
        """Count one record less with these names, and let them go with the last."""
        found = self._sets[names]
        found.records -= 1
        if not found.records:
            del self._sets[names]
            self.size -= found.cost
            for name in names:
                self.drop(name)

    def hold(self, text: str) -> str:
        """Return the kept string that equals this name, for one more user."""
        name = self._names.get(text)
        if name is None:
            name = self._names[text] = _Name(text)
            self.size += _NAME + getsizeof(text)
        name.uses += 1
        return name.text

    def drop(self, text: str) -> None:
        """Count one user of a name less, and let the name go with the last."""
        name = self._names[text]
        name.uses -= 1
        if not name.uses:
            del self._names[text]
            self.size -= _NAME + getsizeof(name.text)


class _Name:
    """A name as it is kept, and how many sets and topics have it."""

    __slots__ = ("text", "uses")

    def __init__(self, text: str) -> None:
        self.text = text
        self.uses = 0


class _Set:
    """The names of a record as they are kept, and how many records have them."""

    __slots__ = ("names", "records")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.records = 0

    @property
    def cost(self) -> int:
        return _SET + 8 * len(self.names)
