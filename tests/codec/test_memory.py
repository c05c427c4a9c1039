"""Memory does not grow with the number of events, and no allocation that fails breaks anything.

A short run of each case; ten million events of each are ``python tests/stress/memory.py``.
"""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from stress.memory import CASES, STREAM, malloced, resident, watch
from support.twins import load_twin

EVENTS = {
    "c": 200_000,
    "py": 20_000,
}  # a leak of one block in a hundred events is ten times the bound, or twice

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="only CPython counts what it holds"
)


def _tell_nobody(_done: int) -> None:
    pass


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_memory_is_flat(codec: ModuleType, case: str) -> None:
    work, kept = CASES[case](codec)
    events = EVENTS["c" if codec.__name__.endswith("_c") else "py"]

    growth = watch(work, kept, events, _tell_nobody)

    assert growth.is_flat, growth


@pytest.mark.long
@pytest.mark.parametrize("leak", ["a block", "a reference", "large memory"])
def test_a_leak_is_seen(leak: str) -> None:
    if leak == "large memory" and not resident() and not malloced():
        pytest.skip("this system does not say how much memory a process holds")
    leaked: list[Any] = []
    watched = object()

    def work() -> int:
        if leak == "a block":
            leaked.append([len(leaked)])
        elif leak == "a reference":
            leaked.append(watched)
        else:
            leaked.append(b"x" * (20_000 + len(leaked)))
        return 100

    growth = watch(work, [watched], 100_000, _tell_nobody)

    assert not growth.is_flat, growth


OUT_OF_MEMORY = """
import sys
from importlib import import_module

import _testcapi

from fastsse.errors import EventTooLarge

twin = import_module(sys.argv[1])
stream = bytes.fromhex(sys.argv[2])
chunks = [stream[at : at + 50] for at in range(0, len(stream), 50)]
events = twin.decode(stream)
lines = twin.LineSplitter().feed(stream)
decoder, splitter, small = twin.Decoder(), twin.LineSplitter(), twin.Decoder(max_event_size=500)
heard = twin.Decoder(on_comment=len)
blocks, joined = twin.BlockSplitter(), twin.BlockSplitter()
all_kept = (decoder, splitter, small, heard, blocks, joined)

calls = {
    "encode": lambda: twin.encode("a\\nb" * 400, event="e", id="1", retry=2**40, comment="c"),
    "wide": lambda: twin.encode("\u20ac" * 400, event="\u20ac"),
    "encode_many": lambda: twin.encode_many(events),
    "Event": lambda: twin.Event("x" * 600, "e", "1", 2**40),
    "decode": lambda: twin.decode(stream),
    "feed": lambda: decoder.feed(stream),
    "pieces": lambda: [event for chunk in chunks for event in decoder.feed(chunk)],
    "heard": lambda: heard.feed(stream),
    "lines": lambda: splitter.feed(stream),
    "pieces of lines": lambda: [line for chunk in chunks for line in splitter.feed(chunk)],
    "limit": lambda: small.feed(stream),
    "blocks": lambda: [blocks.feed(stream), blocks.finish()],
    "pieces of blocks": lambda: [block for chunk in chunks for block in blocks.feed(chunk)],
    "joined blocks": lambda: b"".join([joined.feed_joined(chunk) for chunk in chunks]),
}


def outcome(call):
    try:
        return call()
    except EventTooLarge as error:
        return error.events


for name, call in calls.items():
    right, failed = outcome(call), 0
    for number in range(150):
        for kept in all_kept:
            kept.reset()
        held = None
        held = [twin.Event("x") for _ in range(300)]  # so that no dead event lends its memory
        _testcapi.set_nomemory(number, number + 1)  # that allocation fails, and no other
        try:
            got = outcome(call)
        except (MemoryError, SystemError):  # CPython itself makes one of the other when a frame ends
            got = None
            failed += 1
        finally:
            _testcapi.remove_mem_hooks()
        assert got is None or got == right, (name, number, got)
        for kept in all_kept:
            kept.reset()
        assert right == outcome(call), (name, number)
    assert failed > 0, name
"""


def test_whichever_allocation_fails_nothing_is_broken() -> None:
    codec = load_twin("c")  # what the pure one allocates is the interpreter's
    pytest.importorskip("_testcapi", reason="this Python was built without its own tests")
    stream = (STREAM + b"data: \xe2\x82\xac\n\n") * 30

    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, codec.__name__, stream.hex()],
        capture_output=True,
        text=True,
    )

    assert (0, "") == (done.returncode, done.stderr)
