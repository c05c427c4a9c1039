"""The module ``tests.anyio_compat``, which sse-starlette's suite imports and its source distribution lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collapse_excgroups"]


@contextmanager
def collapse_excgroups() -> Iterator[None]:
    """Raise the one exception of a group by itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            [error] = error.exceptions
        raise error from None
