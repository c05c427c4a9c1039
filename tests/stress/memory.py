"""Memory does not grow with the number of events, whatever is written, read or refused on the way.

    python tests/stress/memory.py [--events 10_000_000] [--twin c] [CASE ...]

A case makes rounds of events. After a warm-up the blocks that Python has allocated, the bytes that malloc has given
out (where it is glibc's), the references to what the case keeps and the resident set must be where they were. A new
way to use the codec is one more case in `CASES`; `tests/codec/test_memory.py` runs each of them briefly.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the tests have it

from support.twins import NAMES, load_twin

from fastsse import streams
from fastsse.errors import BlockTooLarge, EventTooLarge, InvalidField, LineTooLong

WARM_UP = 2_000  # events: pools and free lists are full by then
BLOCKS = 256  # what may come and go: pools, free lists, the interpreter's specialised code
KIB = 64
RESIDENT_KIB = 4096  # arenas come by the MiB; a leak of half a byte an event is seen in 10 million

STREAM = (
    b": note\nid: 1\nevent: greeting\ndata: hello\ndata: world\n\n"
    b"retry: 250\rdata: caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\r\r"
    b"id: \xc3\xbc\r\ndata\r\ndata: \xff\xfe\r\n\r\n"
    b"id\nunknown: x\ndata: " + b"x" * 700 + b"\n\n"
)
COUNT = 4  # events in it
TEXTS = ("hello", "café\r\nau lait", "€" * 40, "😀 and\nmore", "x" * 700, "")

Round = Callable[[], int]  # does its work once, and returns how many events that made


class Growth(NamedTuple):
    """How much more is held than before."""

    blocks: int  # Python's own, of at most 512 bytes each
    kib: float  # that malloc has given out
    references: int  # to what the case keeps
    resident_kib: float

    @property
    def is_flat(self) -> bool:
        return (
            self.blocks <= BLOCKS
            and self.kib <= KIB
            and self.references <= 0
            and self.resident_kib <= RESIDENT_KIB
        )


class Mallinfo2(ctypes.Structure):
    """glibc's, since 2.33."""

    _fields_ = [
        *((f"_unread_{number}", ctypes.c_size_t) for number in range(4)),
        ("hblkhd", ctypes.c_size_t),  # in blocks that are mapped one by one
        *((f"_unread_{number}", ctypes.c_size_t) for number in range(4, 6)),
        ("uordblks", ctypes.c_size_t),  # in all others
        *((f"_unread_{number}", ctypes.c_size_t) for number in range(6, 8)),
    ]


def _find_mallinfo() -> Callable[[], Mallinfo2] | None:
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"):
        return None
    function = ctypes.CDLL(None).mallinfo2
    function.restype = Mallinfo2
    return function


_mallinfo = _find_mallinfo()


def malloced() -> int:
    """Count the bytes that malloc has given out; 0 where it is not glibc's."""
    if _mallinfo is None:
        return 0
    info = _mallinfo()
    return int(info.uordblks + info.hblkhd)


def resident() -> int:
    """Count the bytes of the resident set; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def watch(work: Round, kept: list[Any], events: int, tell: Callable[[int], object]) -> Growth:
    """Run a case for so many events after its warm-up, and return what is held then and was not before.

    Args:
        work: does one round, and returns how many events that made.
        kept: what must not gain references.
        tell: called with the number of events so far, after each round.
    """

    def run(limit: int) -> None:
        done = 0
        while done < limit:
            done += work()
            tell(done)

    def look() -> tuple[int, int, int, int]:
        gc.collect()
        references = sum(sys.getrefcount(it) for it in kept)
        return sys.getallocatedblocks(), malloced(), references, resident()

    look()
    run(WARM_UP)
    before = look()
    run(events)
    after = look()
    blocks, size, references, pages = (b - a for a, b in zip(before, after, strict=True))
    return Growth(blocks, size / 1024, references, pages / 1024)


# --- the cases ------------------------------------------------------------------------------------------------------

# Takes a twin, and returns its round and the objects that must not gain references.
Case = Callable[[Any], tuple[Round, list[Any]]]


def pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def write_blocks(twin: Any) -> tuple[Round, list[Any]]:
    kept: list[Any] = [
        *TEXTS,
        b"bytes\rof UTF-8 \xc3\xa9",
        bytearray(b"array"),
        memoryview(b"view"),
    ]
    name, id, comment = "an event type", "an id", "a\ncomment"

    def work() -> int:
        for data in kept:
            twin.encode(data)
            twin.encode(data, event=name, id=id, retry=2**40, comment=comment)
            twin.encode(None, comment=data) if isinstance(data, str) else None
        return 2 * len(kept)

    return work, [*kept, name, id, comment]


def write_comments(twin: Any) -> tuple[Round, list[Any]]:
    def work() -> int:
        for text in TEXTS:
            twin.encode_comment(text)
        return len(TEXTS)

    return work, [*TEXTS]


def write_json(twin: Any) -> tuple[Round, list[Any]]:
    obj = {"text": "é" * 300, "numbers": [1, 2.5, 2**53], "none": None}

    def work() -> int:
        for id in ("1", "ü", ""):
            twin.encode_json(obj, event="json", id=id)
        return 3

    return work, [obj]


def write_many(twin: Any) -> tuple[Round, list[Any]]:
    events = [twin.Event(text, "e", id, 5) for text in TEXTS for id in ("", "1", "é")]

    def work() -> int:
        blocks = twin.encode_many(events)
        twin.encode_many(iter(events))
        assert b"id: 1\nevent: e\nretry: 5\ndata: hello\n\n" in blocks
        return 2 * len(events)

    return work, [*events, events]


def refuse_to_write(twin: Any) -> tuple[Round, list[Any]]:
    good = twin.Event("good" * 200, "e", "1", 5)
    calls: list[tuple[Any, ...]] = [
        ("lone \ud800",),
        (b"\xff" * 600,),
        ("x", "two\nlines"),
        ("x", ""),
        ("x" * 700, "e", "nul\0"),
        ("é", "e", "i\ud800"),
        ("x", "e", "i", -1),
        ("x", "e", "i", 2**63),
        ("x", "e", "i", 5, "\udfff"),
        (None, "e"),
        (None,),
        (5,),
        ("x", 5),
        ("x", "e", "i", "5"),
    ]
    bad: list[list[Any]] = [[good, twin.Event("x", "a\nb")], [good, "no event"], [good, None]]

    def work() -> int:
        for call in calls:
            names = ("event", "id", "retry", "comment")
            _refused(twin.encode, *call[:1], **dict(zip(names, call[1:], strict=False)))
        for events in bad:
            _refused(twin.encode_many, events)
        _refused(twin.encode_many, (1 // 0 for _ in "x"))
        _refused(twin.encode_comment, "\ud800")
        _refused(twin.encode_json, {"text": "\ud800"})
        return len(calls) + len(bad) + 3

    return work, [good, calls, bad]


def _refused(function: Callable[..., object], *args: Any, **options: Any) -> None:
    try:
        function(*args, **options)
    except (InvalidField, TypeError, ValueError, ZeroDivisionError):
        return
    raise AssertionError(f"{function} took {args} {options}")


def make_events(twin: Any) -> tuple[Round, list[Any]]:
    data, name = "x" * 600, "a type"

    def work() -> int:
        made = [twin.Event(data, name, str(number), number) for number in range(20)]
        for event in made:
            hash(event), repr(event), event.encode()
        _refused(twin.Event, data, None)
        _refused(twin.Event, data, name, "i", 1.5)
        assert made == pickle.loads(pickle.dumps(made))
        return len(made)

    return work, [data, name, twin.Event]


def read_chunks(size: int) -> Case:
    def case(twin: Any) -> tuple[Round, list[Any]]:
        decoder = twin.Decoder()
        chunks: list[Any] = pieces(STREAM * 5, size)
        chunks[1::3] = map(bytearray, chunks[1::3])
        chunks[2::3] = map(memoryview, chunks[2::3])

        def work() -> int:
            events = sum(len(decoder.feed(chunk)) for chunk in chunks)
            assert events == 5 * COUNT
            return events

        return work, [decoder, *chunks]

    return case


def read_cut_anywhere(twin: Any) -> tuple[Round, list[Any]]:
    decoder = twin.Decoder(last_event_id="from before")

    def work() -> int:
        for at in range(0, len(STREAM), 5):
            decoder.feed(STREAM[:at])
            decoder.feed(STREAM[at:])
        return COUNT * len(range(0, len(STREAM), 5))

    return work, [decoder, STREAM]


def read_half_and_let_go(twin: Any) -> tuple[Round, list[Any]]:
    """Let decoders die, and begin anew, with half a line and half an event in them."""
    kept = twin.Decoder()
    half = STREAM + b"id: 7\nevent: e\ndata: a\ndata: " + b"x" * 300

    def work() -> int:
        for decoder in (kept, twin.Decoder(max_event_size=None)):
            decoder.feed(half)
            decoder.feed(b"y" * 300)
            decoder.reset()
            decoder.feed(half)
        kept.reset()
        return 4 * COUNT

    return work, [kept, half]


def read_too_much(twin: Any) -> tuple[Round, list[Any]]:
    decoder = twin.Decoder(max_event_size=1000)
    line = b"data: " + b"x" * 600

    def work() -> int:
        for chunks in ([STREAM + line + b"\n" + line], [line, line], [b"data: a\n" * 999]):
            before = _too_much(decoder, chunks)
            assert len(before) in (0, COUNT)
            _too_much(decoder, [b"\n\n"])
            decoder.reset()
        _refused(decoder.feed, "text")
        return 3 * COUNT

    return work, [decoder, line]


def _too_much(decoder: Any, chunks: list[bytes]) -> list[Any]:
    """Feed until the limit is met, and return the events before that."""
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    except EventTooLarge as error:
        return error.events
    raise AssertionError("no limit")


def read_comments(twin: Any) -> tuple[Round, list[Any]]:
    heard: list[str] = []
    decoder = twin.Decoder(on_comment=heard.append)

    def work() -> int:
        for chunk in pieces(STREAM * 5, 40):
            decoder.feed(chunk)
        assert heard == ["note"] * 5
        heard.clear()
        return 5 * COUNT

    return work, [decoder, heard]


def read_comments_that_raise(twin: Any) -> tuple[Round, list[Any]]:
    def raise_it(text: str) -> None:
        raise LookupError(text)

    decoder = twin.Decoder(on_comment=raise_it)
    stream = STREAM[STREAM.index(b"id") :] + b"data: half\n: said\n\n"

    def work() -> int:
        try:
            decoder.feed(stream)
            raise AssertionError("nothing was raised")
        except LookupError:
            pass
        try:
            decoder.feed(b"\n")
            raise AssertionError("went on")
        except RuntimeError:
            decoder.reset()
        return COUNT

    return work, [decoder, raise_it, stream]


def read_whole_streams(twin: Any) -> tuple[Round, list[Any]]:
    stream = STREAM * 20

    def work() -> int:
        events = twin.decode(stream)
        assert len(events) == 20 * COUNT
        return len(events)

    return work, [stream]


def split_lines(size: int) -> Case:
    def case(twin: Any) -> tuple[Round, list[Any]]:
        splitter = twin.LineSplitter()
        chunks = pieces(STREAM * 5, size)

        def work() -> int:
            assert sum(len(splitter.feed(chunk)) for chunk in chunks) > 5 * COUNT
            return 5 * COUNT

        return work, [splitter, *chunks]

    return case


def split_lines_too_long(twin: Any) -> tuple[Round, list[Any]]:
    splitter = twin.LineSplitter(max_line_size=500)

    def work() -> int:
        for chunk in (b"x" * 501, STREAM):
            splitter.feed(b"a\nb")
            for _ in range(2):
                try:
                    splitter.feed(chunk)
                    raise AssertionError("no limit")
                except LineTooLong:
                    pass
            splitter.reset()
        return 2 * COUNT

    return work, [splitter]


def split_blocks(size: int) -> Case:
    def case(twin: Any) -> tuple[Round, list[Any]]:
        splitter, joining = twin.BlockSplitter(), twin.BlockSplitter()
        chunks: list[Any] = pieces(STREAM * 5, size)
        chunks[1::3] = map(bytearray, chunks[1::3])

        def work() -> int:
            assert sum(len(splitter.feed(chunk)) for chunk in chunks) == 5 * COUNT
            assert sum(len(joining.feed_joined(chunk)) for chunk in chunks) == 5 * len(STREAM)
            joining.finish()
            return 10 * COUNT

        return work, [splitter, joining, *chunks]

    return case


def split_blocks_too_large(twin: Any) -> tuple[Round, list[Any]]:
    splitter = twin.BlockSplitter(max_block_size=800)

    def work() -> int:
        for chunk in (b"x" * 801, STREAM + b"x" * 801):
            splitter.feed(b"a\n\nb\r\n\r")
            for call in (splitter.feed, splitter.feed_joined):
                try:
                    call(chunk)
                    raise AssertionError("no limit")
                except BlockTooLarge:
                    pass
            splitter.reset()
        return 2 * COUNT

    return work, [splitter]


def read_json(twin: Any) -> tuple[Round, list[Any]]:
    block = b'data: {"choices":[{"delta":{"content":"caf\xc3\xa9"}}]}\n\n'
    chunks = [*pieces(block * 20, 30), b"data: [DONE]\n\n", block]

    def work() -> int:
        events = streams._iter_events(chunks, twin.Decoder())
        assert sum(1 for _ in streams._iter_json(events, "[DONE]".__eq__)) == 20
        rest = streams._iter_json(streams._iter_events(chunks, twin.Decoder()), "[DONE]".__eq__)
        next(rest)
        rest.close()
        bad = streams._iter_events([block, b"data: {\n\n"], twin.Decoder())
        _refused(list, streams._iter_json(bad, None))
        return 22

    return work, [*chunks, block]


CASES: dict[str, Case] = {
    "encode": write_blocks,
    "encode_comment": write_comments,
    "encode_json": write_json,
    "encode_many": write_many,
    "refused": refuse_to_write,
    "Event": make_events,
    "feed, whole": read_chunks(10**6),
    "feed, 100 bytes": read_chunks(100),
    "feed, 13 bytes": read_chunks(13),
    "feed, cut anywhere": read_cut_anywhere,
    "feed, half": read_half_and_let_go,
    "feed, too much": read_too_much,
    "on_comment": read_comments,
    "on_comment, raising": read_comments_that_raise,
    "decode": read_whole_streams,
    "LineSplitter, whole": split_lines(10**6),
    "LineSplitter, 13 bytes": split_lines(13),
    "LineSplitter, too long": split_lines_too_long,
    "BlockSplitter, whole": split_blocks(10**6),
    "BlockSplitter, 13 bytes": split_blocks(13),
    "BlockSplitter, too large": split_blocks_too_large,
    "iter_json": read_json,
}


# --- the command --------------------------------------------------------------------------------------------------


def main() -> int:
    given = _arguments()
    twin = load_twin(given.twin)
    print(f"{given.events:,} events a case, {twin.__name__}; more than after the warm-up:")
    print(f"{'case':24} {'s':>6} {'blocks':>7} {'KiB':>7} {'refs':>5} {'resident KiB':>13}")
    grown = [name for name in given.cases or CASES if not _run(name, twin, given.events)]
    print(f"memory grows: {', '.join(grown)}" if grown else "memory is flat")
    return 1 if grown else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Watch memory over very many events.")
    parser.add_argument(
        "--events", type=int, default=10_000_000, help="of each case (default: 10_000_000)"
    )
    parser.add_argument("--twin", choices=NAMES, default="c")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    given = parser.parse_args()
    unknown = set(given.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return given


def _run(name: str, twin: ModuleType, events: int) -> bool:
    """Watch one case and print how much more it holds; return True when that is next to nothing."""
    shown = 0
    live = sys.stdout.isatty()

    def tell(done: int) -> None:
        nonlocal shown
        if live and done * 100 // events > shown:
            shown = done * 100 // events
            print(f"\r{name:24} {shown:3} %", end="", flush=True)

    work, kept = CASES[name](twin)
    began = time.process_time()
    growth = watch(work, kept, events, tell)
    print(
        f"{chr(13) if live else ''}{name:24} {time.process_time() - began:6.1f} {growth.blocks:7} {growth.kib:7.1f} "
        f"{growth.references:5} {growth.resident_kib:13.0f}",
        flush=True,
    )
    return growth.is_flat


if __name__ == "__main__":
    raise SystemExit(main())
