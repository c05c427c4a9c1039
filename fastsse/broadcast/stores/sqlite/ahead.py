"""Pages read ahead: one look into the file gives a late reader many pages, since a change of threads costs as much as
a hundred entries.

A page that was read stays true: a log only grows behind it, and what goes from its beginning has been read already.

Bounds: `_KEPT` readers have up to `READ` bytes of blocks, and one block, read ahead; the reader that has not come for
longest loses what was read for it, and reads again.

The module knows pages; it must not know files or threads.
"""

from __future__ import annotations

from collections import OrderedDict

from fastsse.broadcast.stores import Page

__all__ = ["READ", "Ahead"]

READ = 2**18  # bytes of blocks that one look into the file takes
_KEPT = 16
_NEVER = object()


class Ahead:
    """The entries read for late readers and not yet asked for, by topics and position."""

    def __init__(self) -> None:
        self._pages: OrderedDict[tuple[tuple[str, ...], int], Page] = OrderedDict()
        self._ends: OrderedDict[tuple[tuple[str, ...], int], None] = OrderedDict()

    def take(self, topics: tuple[str, ...], after: int) -> Page | None:
        """Take what was read for a reader that goes on here; None when nothing was."""
        return self._pages.pop((topics, after), None)

    def goes_on(self, topics: tuple[str, ...], after: int) -> bool:
        """Return True for a reader that has had a page up to here: only the first page of a reader is read alone."""
        return self._ends.pop((topics, after), _NEVER) is None

    def cut(self, topics: tuple[str, ...], page: Page, before: int, limit: int) -> Page:
        """Cut from a page what was asked for, and keep the rest.

        Args:
            before: position before which the cut page ends.
            limit: bytes of blocks, reached by the last entry.
        """
        entries, size = page.entries, 0
        for number, entry in enumerate(entries, 1):
            if entry.position >= before:
                return page._replace(entries=entries[: number - 1], end=before - 1)
            size += len(entry.block)
            if size >= limit and number < len(entries):
                self._keep(topics, page._replace(entries=entries[number:]), entry.position)
                return page._replace(entries=entries[:number], end=entry.position)
        if page.end >= before:
            return page._replace(end=before - 1)
        if page.end < before - 1:
            self._ends[topics, page.end] = None
            if len(self._ends) > _KEPT:
                self._ends.popitem(last=False)
        return page

    def clear(self) -> None:
        """Forget all pages."""
        self._ends.clear()
        self._pages.clear()

    def _keep(self, topics: tuple[str, ...], rest: Page, end: int) -> None:
        self._pages[topics, end] = rest
        if len(self._pages) > _KEPT:
            self._pages.popitem(last=False)
