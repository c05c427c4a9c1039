"""Run: what `Hub.run` gives, a handle on the run and a response that shows it from its beginning.

The module knows one run and the response of its topic; it must not know how items are iterated or published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING

from fastsse.broadcast.hub.response import HubResponse, Streams

if TYPE_CHECKING:
    from fastsse.broadcast.hub.runs import Job
    from fastsse.broadcast.hub.terms import Terms

__all__ = ["Run"]


class Run(HubResponse):
    """A run of a hub: items that are published to a topic until it ends. Letting it go does not end it.

    An endpoint of any framework may return the run as its response: the reader gets everything from the beginning, or
    from where it left off, and the end. To await a run gives the run at once: it goes on already.

    Args:
        streams, terms, status_code: as `HubResponse`.
        job: the run at work.
    """

    __slots__ = ("_job",)

    def __init__(self, streams: Streams, terms: Terms, job: Job, status_code: int = 200) -> None:
        super().__init__(streams, terms, status_code)
        self._job = job

    def __await__(self) -> Generator[None, None, Run]:
        return self
        yield  # so that this is a generator

    @property
    def topic(self) -> str:
        """The topic that the run ends."""
        return self._job.topic

    @property
    def reason(self) -> str:
        """Why the run has ended, as its `end` event says; empty while it goes on."""
        return self._job.reason if self._job.over.done() else ""

    async def wait(self) -> str:
        """Wait until the run has ended and its end is told. Returns the reason."""
        await asyncio.wait([self._job.over])
        return self._job.reason
