"""The fuzzer of `fuzz_twins.py`, led by coverage: atheris watches which lines of the pure twin an input reaches.

    pip install atheris && python tests/fuzz/fuzz_atheris.py -runs=1000000 [corpus folder]

The command takes libFuzzer's options, and stops with an AssertionError at the first disagreement.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found, unused-ignore]

with atheris.instrument_imports(include=["fastsse"]):
    import fuzz_twins
from fuzz_twins import Case, disagreement


def case_of(data: bytes) -> Case:
    """Make a case of a fuzzer's bytes: a few decide how the twins are fed, the rest is the stream."""
    provider = atheris.FuzzedDataProvider(data)
    limit = provider.ConsumeIntInRange(0, 200)
    listening = provider.ConsumeBool()
    again = provider.ConsumeBool()
    shares = [
        [provider.ConsumeProbability() for _ in range(provider.ConsumeIntInRange(0, 4))]
        for _ in range(2)
    ]
    texts = [
        provider.ConsumeUnicode(provider.ConsumeIntInRange(0, 20))
        if provider.ConsumeBool()
        else None
        for _ in range(4)
    ]
    retry = provider.ConsumeInt(9) if provider.ConsumeBool() else None
    stream = provider.ConsumeBytes(provider.remaining_bytes())
    cuts, others = (tuple(sorted(int(one * len(stream)) for one in some)) for some in shares)
    fields = (texts[0], texts[1], texts[2], retry, texts[3])
    return Case(stream, cuts, others, limit or None, listening, again, fields)


def test_one(data: bytes) -> None:
    case = case_of(data)
    what = disagreement(case)
    if what:
        fuzz_twins.report(case)
        raise AssertionError(f"the twins disagree on {what}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one)
    atheris.Fuzz()
