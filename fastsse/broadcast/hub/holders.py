"""How many streams each subject and each address has, so that none takes the places of all others.

An IPv6 address counts by its first 64 bits, because one customer has all addresses of such a network. Without a bound
nothing is counted. The module knows terms and numbers; it must not know sends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastsse.broadcast.hub.subscriber import Subscriber
    from fastsse.broadcast.hub.terms import Terms
    from fastsse.broadcast.settings import Settings

__all__ = ["Holders", "Waiting", "network_of"]

_LONGEST = 64  # characters of an address


class Waiting:
    """A stream that was granted and has not begun, because its process waits for the store.

    Attributes:
        terms: what was granted.
        ended: somebody has taken that back meanwhile.
    """

    __slots__ = ("ended", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.ended = False


class Holders:
    """The open streams by subject and address.

    Args:
        settings: `streams_per_subject` and `streams_per_address`; 0: no bound.
    """

    def __init__(self, settings: Settings) -> None:
        self._per_subject = settings.streams_per_subject
        self._per_address = settings.streams_per_address
        self._subjects: dict[Subscriber, str] = {}
        self._addresses: dict[Subscriber, str] = {}
        self._token_ids: dict[Subscriber, str] = {}
        self._waiting: set[Waiting] = set()
        self._of_subject: Counter[str] = Counter()
        self._of_address: Counter[str] = Counter()

    def refusal(self, terms: Terms) -> str | None:
        """Return why a stream would be one too many: ``subject`` or ``address``; None when it is not."""
        most, subject = self._per_subject, terms.subject
        if most and subject is not None and self._of_subject[subject] >= most:
            return "subject"
        most, remote = self._per_address, terms.remote
        if most and remote and self._of_address[network_of(str(remote[0]))] >= most:
            return "address"
        return None

    def enter(self, subscriber: Subscriber, terms: Terms) -> None:
        """Count a stream that begins."""
        if terms.subject is not None:
            self._subjects[subscriber] = terms.subject
            self._of_subject[terms.subject] += 1
        if terms.token_id is not None:
            self._token_ids[subscriber] = terms.token_id
        if self._per_address and terms.remote:
            address = network_of(str(terms.remote[0]))
            self._addresses[subscriber] = address
            self._of_address[address] += 1

    def leave(self, subscriber: Subscriber) -> None:
        """Count a stream no more."""
        self._token_ids.pop(subscriber, None)
        _drop(self._of_subject, self._subjects.pop(subscriber, None))
        _drop(self._of_address, self._addresses.pop(subscriber, None))

    def subject_of(self, subscriber: Subscriber) -> str | None:
        """Return the subject of a stream; None where it has none."""
        return self._subjects.get(subscriber)

    def token_id_of(self, subscriber: Subscriber) -> str | None:
        """Return the name of the token that a stream was opened with; None where it has none."""
        return self._token_ids.get(subscriber)

    @contextmanager
    def waiting(self, terms: Terms) -> Generator[Waiting, None, None]:
        """Know of a stream that waits before it begins, so that it can be ended, too."""
        one = Waiting(terms)
        self._waiting.add(one)
        try:
            yield one
        finally:
            self._waiting.discard(one)

    def end_waiting(self, concerns: Callable[[Terms], bool]) -> int:
        """Let streams that wait not begin; return how many there were."""
        found = [one for one in self._waiting if not one.ended and concerns(one.terms)]
        for one in found:
            one.ended = True
        return len(found)


def _drop(counts: Counter[str], name: str | None) -> None:
    if name is not None:
        counts[name] -= 1
        if counts[name] <= 0:
            del counts[name]


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Return the name by which an address counts: an IPv4 address itself, of an IPv6 address the first 64 bits."""
    address = address[:_LONGEST]
    if ":" not in address:
        return address
    try:
        six = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if six.ipv4_mapped is not None:
        return str(six.ipv4_mapped)
    return str(IPv6Address(int(six) >> 64 << 64))
