"""The standard's section 9.2.6, word for word: the reference of the tests (tests/support/standard.py).

The file is loaded by its path, because a package that is installed may be called `tests`, too. Slow, and independent
of fastsse.
"""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from benchmarks.corpora import Seen

_STANDARD = Path(__file__).parents[1] / "tests" / "support" / "standard.py"


def interpret(stream: bytes) -> list[Seen]:
    """Read the events of a whole event stream."""
    return [Seen(*fields) for fields in _standard.read(stream).events]


def _load(path: Path) -> ModuleType:
    spec = spec_from_file_location("benchmarks_standard", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_standard = _load(_STANDARD)
