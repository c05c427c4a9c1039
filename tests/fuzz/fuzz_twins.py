"""A long-running differential fuzzer: both twins, one random stream an execution, until they disagree.

    python tests/fuzz/fuzz_twins.py --executions 10_000_000 --seed 1 --jobs 2

An execution is one stream of nasty tokens. Each twin reads it in random chunks of its own (some of them whole),
and both must tell the same events, ids, reconnection times, comments and failures; some go on after a failure,
and after a reset. Then both write random fields, and what they wrote is read again. Every so often the judge of
the tests (`standard.py`) reads along. Exit code 0: all agreed. 1: they did not, and the smallest such case that
could be made is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz.batches import run  # noqa: E402 (found by the line above)
from support.split import blocks_of, is_mixed, split_joined  # noqa: E402
from support.split import split as split_blocks  # noqa: E402
from support.standard import fields_of, read  # noqa: E402

from fastsse import _codec_c as compiled  # noqa: E402
from fastsse import _codec_py as pure  # noqa: E402
from fastsse.errors import EventTooLarge, InvalidField, LineTooLong  # noqa: E402

JUDGED = 64  # one execution in so many is also read by the judge, which is slow
UNLIMITED = 8  # one execution in so many has no limit

# 256 tokens, so that a random byte names one; what decides something stands more than once.
_LINES = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b"\r\r\n"] * 5
_NAMES = [b"data", b"data:", b"data: ", b"data: x\n", b"data:\n", b"data\n", b"data:  y\r"] * 5
_IDS = [b"id: 1\n", b"id:2\r\n", b"id\n", b"id:", b"id: ", b"id: a\0b\n", b"id: \xc3\xa9\n"] * 3
_TYPES = [b"event: e\n", b"event:", b"event: message\n", b"event\n", b"event: eee\r"] * 3
_TIMES = [b"retry: 5\n", b"retry:", b"retry: 007\r", b"retry: x\n", b"9" * 19, b"9" * 21] * 2
_TIMES += [
    b"retry: 1234567890123456789\n",
    b"retry: 9223372036854775807\n",
    b"retry: 9223372036854775808\r",
]
_COMMENTS = [b":\n", b": ping\n", b":", b": ", b"::\r\n"] * 3
_OTHERS = [
    *[
        b"Data: x\n",
        b"dat",
        b"datax: y\n",
        b"even",
        b"i",
        b"retr",
        b"foo: bar\n",
        b"foo\n",
        b" data: x\n",
    ],
    *[b"\xef\xbb\xbf", b"\xef\xbb", b"\xef", b"\xbb\xbf", b"\xbf", b"\xef\xbb\xbfdata: x\n"],
    *[
        b"\xff",
        b"\x80",
        b"\xc0\x8a",
        b"\xe2\x82",
        b"\xac",
        b"\xf0\x9f",
        b"\x98\x80",
        b"\xed\xa0\x80",
    ],
    *["é".encode(), "€".encode(), "😀".encode(), "\u2028".encode(), "\x85".encode(), b"\x0b\x0c"],
    *[b" ", b"  ", b"\t", b"\0", b":", b"x", b"0", b"5", b"xyz", b"hello world", b"{}", b"[DONE]"],
    *[b"x" * size for size in (7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100)],
    *[b"data: " + b"x" * size + b"\n" for size in (9, 10, 25, 26, 57, 58, 200)],
]
_ALL = _LINES + _NAMES + _IDS + _TYPES + _TIMES + _COMMENTS + _OTHERS
TOKENS = (_ALL * (256 // len(_ALL) + 1))[:256]
STARTS = [b"", b"", b"", b"", b"\xef\xbb\xbf", b"\n", b"\r", b"data: "]
LETTERS = [
    *[
        "\n",
        "\r",
        "\r\n",
        "\0",
        " ",
        ":",
        "data: x",
        "id: 9",
        "\u2028",
        "\x85",
        "\ufeff",
        "é",
        "€",
        "😀",
    ],
    *[
        "x",
        "y",
        "hello",
        "x" * 15,
        "x" * 16,
        "x" * 31,
        "é" * 17,
        "x" * 70,
        "\ud800",
        "",
        "a b",
        "1",
    ],
]

NUMBERS = [
    0,
    1,
    5,
    9,
    10,
    99,
    100,
    3000,
    2**31,
    2**32,
    2**53,
    10**18,
    2**63 - 1,
    2**63,
    2**64,
    -1,
    True,
    "5",
    1.5,
]


class Case(NamedTuple):
    """One execution, small enough to print: what both twins are given."""

    stream: bytes
    cuts: tuple[int, ...]  # for the pure twin
    others: tuple[int, ...]  # for the compiled one
    limit: int | None
    listening: bool
    again: bool  # feed once more, reset, feed once more
    fields: tuple[Any, ...]  # data, event, id, retry, comment


def make(random: Random) -> Case:
    """Make a random case. Random bytes choose the tokens, because one call makes all of them."""
    shape = random.randbytes(8)
    picked = random.randbytes(1 + shape[0] % 24 if shape[0] < 250 else shape[1])
    stream = STARTS[shape[2] % 8] + b"".join([TOKENS[octet] for octet in picked])
    size = len(stream) + 1
    cuts = tuple(sorted([octet * size >> 8 for octet in random.randbytes(shape[3] % 4)]))
    others = tuple(sorted([octet * size >> 8 for octet in random.randbytes(shape[6] % 7)]))
    if shape[3] >= 252:
        others = tuple(range(size))
    limit = 1 + shape[4] * (1 + shape[5] % 3) if shape[4] % UNLIMITED else None
    fields = _fields(random.randbytes(18))
    return Case(stream, cuts, others, limit, bool(shape[5] & 4), not shape[5] & 56, fields)


def _fields(octets: bytes) -> tuple[Any, ...]:
    texts = [LETTERS[octet % len(LETTERS)] for octet in octets[:10]]
    mask = octets[10]
    data: Any = "".join(texts[: octets[11] % 6])
    if mask & 1:
        data = data.encode("utf-8", "surrogatepass") if mask & 2 else data
    elif not mask & 14:
        data = None
    return (
        data,
        texts[6] + texts[7] if mask & 16 else None,
        texts[8] if mask & 32 else None,
        NUMBERS[octets[12] % len(NUMBERS)] if mask & 64 else None,
        texts[9] + texts[0] if mask & 128 else None,
    )


def tell(
    twin: Any, chunks: list[bytes], limit: int | None, listening: bool, again: bool = False
) -> list[Any]:
    """Feed the chunks to a decoder, and return all that it tells by the end or by its failure; again, if asked."""
    comments: list[str] = []
    decoder = twin.Decoder(max_event_size=limit, on_comment=comments.append if listening else None)
    told: list[Any] = []
    while True:
        events: list[Any] = []
        failure = None
        try:
            for chunk in chunks:
                events += decoder.feed(chunk)
        except EventTooLarge as error:
            events += error.events
            failure = error.limit
        told += [events, failure, decoder.last_event_id, decoder.retry]
        if not again or len(told) == 12:
            told.append(comments)
            return told
        if len(told) == 8:
            decoder.reset()


def split(twin: Any, chunks: list[bytes], limit: int | None, again: bool = False) -> list[Any]:
    """Feed the chunks to a splitter, and return all that it tells by the end or by its failure."""
    splitter = twin.LineSplitter(max_line_size=limit)
    told: list[Any] = []
    while True:
        lines: list[bytes] = []
        failure = None
        try:
            for chunk in chunks:
                lines += splitter.feed(chunk)
        except LineTooLong as error:
            lines += error.lines
            failure = error.limit
        told += [lines, failure]
        if not again or len(told) == 6:
            return told
        if len(told) == 4:
            splitter.reset()


def write(twin: Any, fields: tuple[Any, ...]) -> Any:
    data, event, id, retry, comment = fields
    try:
        return twin.encode(data, event=event, id=id, retry=retry, comment=comment)
    except InvalidField as error:
        return error.args


def sliced(stream: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    if not cuts:
        return [stream]
    places = [0, *cuts, len(stream)]
    return [stream[places[i] : places[i + 1]] for i in range(len(places) - 1)]


def disagreement(case: Case, judged: bool = True) -> str:
    """Run both twins, and say what they do not agree on; an empty text when they agree."""
    stream, cuts, others, limit, listening, again, fields = case
    chunks, other = sliced(stream, cuts), sliced(stream, others)
    if tell(pure, chunks, limit, listening, again) != tell(
        compiled, other, limit, listening, again
    ):
        return "decoding"
    if (again or judged) and split(pure, chunks, limit, again) != split(
        compiled, other, limit, again
    ):
        return "splitting lines"
    if split_blocks(pure, chunks, limit) != split_blocks(compiled, chunks, limit):
        return "splitting blocks"
    if judged and (
        _missplit(pure, stream, chunks, limit) or _missplit(compiled, stream, other, limit)
    ):
        return "splitting blocks, says the judge"
    if judged and (_misread(pure, stream, chunks) or _misread(compiled, stream, other)):
        return "decoding, says the judge"
    block = write(pure, fields)
    if block != write(compiled, fields):
        return "writing"
    return "" if type(block) is tuple else _lost(block, fields, judged)


def _misread(twin: Any, stream: bytes, chunks: list[bytes]) -> bool:
    reading = read(stream)
    events, _, last_event_id, retry, comments = tell(twin, chunks, None, True)
    return (list(map(fields_of, events)), last_event_id, retry, comments) != tuple(reading)


def _missplit(twin: Any, stream: bytes, chunks: list[bytes], limit: int | None) -> bool:
    blocks, rest = split_blocks(twin, chunks)
    wanted = blocks_of(stream)
    pieces, left = split_joined(twin, chunks, limit)
    bounded, last = split_blocks(twin, chunks, limit)
    return (
        b"".join(blocks) + (rest or b"") != stream
        or rest != wanted[1]
        or (blocks != wanted[0] and not is_mixed(stream))
        or (b"".join(pieces), left) != (b"".join(bounded), last)
    )


def _lost(block: bytes, fields: tuple[Any, ...], judged: bool) -> str:
    """Read a block again, and say which field it lost or made up."""
    data, event, id, retry, comment = fields
    if isinstance(data, bytes):
        data = data.decode()
    wanted = []
    if data is not None:
        text = data.replace("\r\n", "\n").replace("\r", "\n")
        wanted = [(text, event or "message", "before" if id is None else id, retry)]
    if judged:
        reading = read(block, "before")
        spoken = (
            [] if comment is None else comment.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        )
        if spoken != reading.comments or retry != reading.retry:
            return "what was written"
        events: list[Any] = reading.events
    else:
        decoder = compiled.Decoder(last_event_id="before")
        events = decoder.feed(block)
    if wanted != [(e.data, e.event, e.id, e.retry) for e in events]:
        return "what was written"
    if (
        judged
        and events
        and compiled.decode(pure.encode_many(compiled.decode(block))) != pure.decode(block)
    ):
        return "what was written again"
    return ""


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Cut pieces away for as long as the case still fails, and return the smallest."""
    size = len(case.stream)
    while size:
        smaller = False
        for at in range(0, len(case.stream), size):
            cut = _without(case, at, size)
            if fails(cut):
                case, smaller = cut, True
                break
        size = size if smaller else size // 2
    for name in ("cuts", "others"):
        for index in reversed(range(len(getattr(case, name)))):
            places = getattr(case, name)
            fewer = case._replace(**{name: places[:index] + places[index + 1 :]})
            case = fewer if fails(fewer) else case
    for simpler in ({"again": False}, {"limit": None}, {"listening": False}):
        simple = case._replace(**simpler)
        case = simple if fails(simple) else case
    for index in range(len(case.fields)):
        fields = (*case.fields[:index], None, *case.fields[index + 1 :])
        case = case._replace(fields=fields) if fails(case._replace(fields=fields)) else case
    return case


def _without(case: Case, at: int, size: int) -> Case:
    stream = case.stream[:at] + case.stream[at + size :]

    def moved(cuts: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(min(cut if cut <= at else max(at, cut - size), len(stream)) for cut in cuts)

    return case._replace(stream=stream, cuts=moved(case.cuts), others=moved(case.others))


def work(job: tuple[int, int]) -> tuple[int, Case | None]:
    """Run executions from a seed of their own; return how many were run and the first case that failed."""
    seed, executions = job
    random = Random(seed)
    for number in range(executions):
        case = make(random)
        if disagreement(case, judged=number % JUDGED == 0):
            return number + 1, case
    return executions, None


def report(case: Case) -> None:
    case = shrink(case, lambda smaller: bool(disagreement(smaller)))
    print(f"\nthe twins disagree: {disagreement(case)}")
    print(f"  {case!r}")
    stream, cuts, others, limit, listening, again, fields = case
    for name, twin, places in (("pure", pure, cuts), ("compiled", compiled, others)):
        chunks = sliced(stream, places)
        print(f"{name}, fed {chunks!r}:")
        print(f"  events  {tell(twin, chunks, limit, listening, again)!r}")
        print(f"  lines   {split(twin, chunks, limit, again)!r}")
        print(f"  wrote   {write(twin, fields)!r}")
    print(f"the judge:\n  {read(stream)!r}")


def main(arguments: list[str] | None = None) -> int:
    return run(work, report, "the twins agree", __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
