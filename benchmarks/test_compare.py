"""The comparison itself: wrong answers are found, ratios are right, and a bar without a measurement fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest

from benchmarks import bars, chart, compare, contenders, floor, instructions, report
from benchmarks.__main__ import main
from benchmarks.cells import (
    Cell,
    Encoding,
    Pulled,
    Pushed,
    PythonCell,
    Task,
    decode_cell,
    encode_cell,
)
from benchmarks.compare import Outcome, Plan, Result, Row
from benchmarks.corpora import DECODED, ENCODED, Seen, corpus
from benchmarks.reference import interpret


class Reference:
    """A decoder that gathers the stream and interprets it whole when its last chunk has come."""

    def __init__(self, size: int, drop: int = 0) -> None:
        self._left = size
        self._drop = drop
        self._stream = b""

    def feed(self, chunk: bytes) -> list[Seen]:
        self._stream += chunk
        self._left -= len(chunk)
        return [] if self._left else interpret(self._stream)[self._drop :]


@dataclass
class Clock:
    """A cell whose samples take the times that the test gives."""

    times: list[float]
    order: list[str] = field(default_factory=list)
    name: str = ""

    def sample(self, passes: int) -> float:
        assert passes
        self.order.append(self.name)
        return self.times.pop(0)

    def right(self) -> bool:
        return True


def test_a_decoder_that_answers_as_the_reference_is_right() -> None:
    cut = corpus("small").part(20).cut("4k")

    cell = decode_cell(Pushed(lambda: Reference(cut.size)), cut)

    assert cell.right()
    assert 0 < cell.sample(1)


def test_a_decoder_that_loses_an_event_is_not_right() -> None:
    cut = corpus("small").part(20).cut("4k")

    cell = decode_cell(Pushed(lambda: Reference(cut.size, drop=1)), cut)

    assert not cell.right()


def test_events_of_another_kind_are_not_counted() -> None:
    cut = corpus("small").part(20).cut("whole")

    def events(chunks: Sequence[bytes]) -> Iterator[object]:
        for event in interpret(b"".join(chunks)):
            yield object()
            yield event

    cell = decode_cell(Pulled(events, lambda event: event.event, only=Seen), cut)

    assert cell.right()


@pytest.mark.parametrize("name", ENCODED)
def test_an_encoder_that_writes_the_block_is_right(name: str) -> None:
    fields = corpus(name).fields[:10]

    cell = encode_cell(Encoding(lambda _shape: _by_reference), fields)

    assert cell.right()


def test_an_encoder_may_use_other_line_ends_and_another_order() -> None:
    fields = corpus("small").fields[:10]

    def encode(data: str, event: str, id: str) -> bytes:
        return f"data: {data}\r\nid: {id}\r\nevent: {event}\r\n\r\n".encode()

    assert encode_cell(Encoding(lambda _shape: encode), fields).right()


def test_an_encoder_that_does_not_cut_lines_is_not_right() -> None:
    fields = corpus("bigml").fields[:1]

    def encode(data: str) -> bytes:
        return f"data: {data}\n\n".encode()

    assert not encode_cell(Encoding(lambda _shape: encode), fields).right()


def _by_reference(data: str, **others: object) -> bytes:
    lines = [f"{name}: {value}" for name, value in others.items()]
    lines += [f"data: {line}" for line in data.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    base = Clock([1.0, 1.0, 100.0, 200.0, 100.0])
    other = Clock([1.0, 1.0, 300.0, 400.0, 500.0])

    outcomes = compare.measure({"a": base, "b": other}, "a", 10, Plan((), 3, 1.0, True))

    assert 3.0 == outcomes["b"].ratio
    assert (2.0, 5.0) == (outcomes["b"].low, outcomes["b"].high)
    assert 10.0 == outcomes["a"].ns


def test_every_round_begins_with_another_contender() -> None:
    order: list[str] = []
    cells = {name: Clock([1.0] * 3, order, name) for name in "abc"}

    compare.sample_rounds(cells, dict.fromkeys("abc", 1), dict.fromkeys("abc", 3))

    assert list("abcbcacab") == order


def test_a_contender_that_raises_is_shown_and_not_timed() -> None:
    def fail() -> bool:
        raise ValueError("chunk too big")

    broken = PythonCell(prepare=lambda: fail, check=fail)
    cells: dict[str, Cell] = {"a": Clock([1.0] * 5), "b": broken}

    outcomes = compare.measure(cells, "a", 1, Plan((), 3, 1.0, True))

    assert "ValueError: chunk too big" == outcomes["b"].error
    assert outcomes["b"].ns is None


def test_the_quick_run_is_a_part_of_the_full_one() -> None:
    assert set(compare.quick().tasks) < set(compare.full().tasks)


def test_a_contender_that_nobody_knows_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--only", "nobody"])

    assert 2 == status
    assert "no contender is called 'nobody'" in capsys.readouterr().err


def test_a_contender_that_is_wanted_and_not_here_is_an_error() -> None:
    with pytest.raises(contenders.Missing, match="b is not here: pip install b"):
        contenders.Field(["a", "b"], loaders={"a": _here, "b": _not_here})


def test_a_contender_that_is_not_here_has_no_row_and_an_install_line() -> None:
    field = contenders.Field(loaders={"a": _here, "b": _not_here})

    assert ("a",) == field.names
    assert {"b": "pip install b"} == field.absent


def _here(_field: contenders.Field) -> tuple[object, str]:
    return object(), "1.0"


def _not_here(_field: contenders.Field) -> tuple[object, str]:
    raise contenders.Missing("pip install b")


def test_a_task_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="no task begins with 'sing'"):
        compare.chosen(compare.full().tasks, ["sing"])


def _result(task: Task, **ratios: float) -> Result:
    names = {"fastsse": 1.0, **{name.replace("_", " "): ratio for name, ratio in ratios.items()}}
    outcomes = {
        name: Outcome(ns=60.0 * ratio, ratio=ratio, low=ratio, high=ratio, right=True)
        for name, ratio in names.items()
    }
    about = {"python": "CPython 3.11.7", "processor": "P", "system": "Linux", "date": "2026-01-01"}
    return Result("fastsse", True, 3, about, {"fastsse": "0"}, {}, [Row(task, 10, 100, outcomes)])


def test_bars_hold_where_the_ratios_do() -> None:
    result = _result(Task("encode", "llm"), floor=0.9, fastapi=14.5)

    judged = {str(bar).split(":")[1].strip(): bar for bar in bars.judge(result)}

    assert judged["fastsse near floor"].holds
    assert judged["fastsse against fastapi"].holds


def test_a_bar_fails_below_its_ratio() -> None:
    result = _result(Task("encode", "llm"), floor=0.8, fastapi=13.5)

    judged = [str(bar) for bar in bars.judge(result) if not bar.holds]

    assert "fail    encode llm: fastsse near floor: 0.80 (at least 0.83)" in judged
    assert "fail    encode llm: fastsse against fastapi: 13.50 (at least 14.00)" in judged


def test_a_bar_that_nobody_measured_does_not_hold() -> None:
    result = _result(Task("encode", "llm"), floor=1.0)

    judged = [str(bar) for bar in bars.judge(result) if not bar.holds]

    assert (
        "absent  encode llm: fastsse against sse-starlette: not measured (at least 38.00)" in judged
    )


@pytest.mark.parametrize("base", ["floor", "fastsse pure"])
def test_a_run_without_the_compiled_twin_is_not_judged(base: str) -> None:
    result = _result(Task("encode", "llm"))
    result.base = base

    with pytest.raises(ValueError, match="bars are about fastsse"):
        bars.judge(result)


def test_a_run_of_nothing_is_not_judged() -> None:
    result = _result(Task("encode", "llm"))
    result.rows.clear()

    with pytest.raises(ValueError, match="nothing was measured"):
        bars.judge(result)


def test_the_table_marks_a_wrong_answer_and_a_failure() -> None:
    result = _result(Task("decode", "llm", "64k"), httpx2=40.0, openai=70.0)
    result.rows[0].outcomes["httpx2"].right = False
    result.rows[0].outcomes["openai"] = Outcome(error="ValueError: no")

    row = next(line for line in report.table(result).splitlines() if line.startswith("llm 64k"))

    assert ["llm", "64k", "60.0", "40.0*", "-"] == row.split()


def test_the_charts_are_well_formed_and_say_who_was_measured() -> None:
    result = _result(Task("decode", "llm", "64k"), fastsse_pure=16.0, launchdarkly=17.0)

    drawn = chart.both(result.json())

    assert {"chart-light.svg", "chart-dark.svg"} == set(drawn)
    for picture in drawn.values():
        title = ElementTree.fromstring(picture)[0].text or ""
        assert "fastsse 60 ns, fastsse, pure 960 ns, LaunchDarkly 1,020 ns" in title


def test_a_count_that_grows_past_the_limit_is_a_fault() -> None:
    record = {"environment": {"python": "x"}, "cells": {"encode llm": _counts(100, 1000, 1.0)}}
    found = {"environment": {"python": "x"}, "cells": {"encode llm": _counts(106, 1000, 1.04)}}

    faults = instructions.compare(record, found)

    assert ["encode llm: compiled 100 -> 106, +6.0%"] == faults


def test_counts_of_another_interpreter_are_compared_by_their_ratio_to_the_floor() -> None:
    record = {"environment": {"python": "x"}, "cells": {"encode llm": _counts(100, 1000, 1.0)}}
    found = {"environment": {"python": "y"}, "cells": {"encode llm": _counts(150, 1500, 1.16)}}

    faults = instructions.compare(record, found)

    assert ["encode llm: ratio 1.0 -> 1.16, +16.0%"] == faults


def test_counts_beside_another_floor_are_not_compared() -> None:
    record = {"environment": {"floor": "x86-64"}, "cells": {"encode llm": _counts(100, 1000, 1.0)}}
    found = {"environment": {"floor": "x86-64-v3"}, "cells": {"encode llm": _counts(9, 9, 9.0)}}

    faults = instructions.compare(record, found)

    assert [] == faults


def _counts(compiled: float, pure: float, ratio: float) -> dict[str, float]:
    return {"compiled": compiled, "pure": pure, "ratio": ratio}


def test_a_cell_that_is_not_counted_any_more_is_a_fault() -> None:
    record = {"environment": {}, "cells": {"encode llm": _counts(100, 1000, 1.0)}}

    faults = instructions.compare(record, {"environment": {}, "cells": {}})

    assert ["encode llm: not counted any more"] == faults


@pytest.fixture(scope="module")
def the_floor() -> object:
    try:
        return floor.load()
    except floor.FloorUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.mark.parametrize("chunking", ["whole", "64k", "event", "16b"])
@pytest.mark.parametrize("name", DECODED)
def test_the_floor_decodes_rightly(the_floor: object, name: str, chunking: str) -> None:
    cut = corpus(name).cut(chunking)
    decoder = the_floor.Decoder()  # type: ignore[attr-defined]

    events = [event for chunk in cut.chunks for event in decoder.feed(chunk)]

    assert list(cut.events) == [Seen(e.data, e.event, e.id, e.retry) for e in events]


@pytest.mark.parametrize("name", ENCODED)
def test_the_floor_encodes_rightly(the_floor: object, name: str) -> None:
    source = corpus(name)
    encode = the_floor.encode  # type: ignore[attr-defined]

    blocks = [encode(f.data, event=f.event, id=f.id, retry=f.retry) for f in source.fields]

    assert list(source.blocks) == blocks
