"""Modules that answer to the names of other libraries, so that a project changes one import and nothing else.

Each keeps the documented manner and the bytes of the library that its name tells, and none of the faults. Where the two
conflict, the difference stands in the docstring of that module and on its page in `docs/migrating/`. A module here
imports the framework that it is for; nothing else of the package imports a module from here.
"""

from __future__ import annotations

__all__: list[str] = []
