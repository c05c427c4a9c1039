"""The guard: a token of ours costs little more Python than one without any library; and the report can be trusted."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.response import chart, inside, judge, report

COST = 1.15  # of a bare StreamingResponse's CPU for a token, the network left out: the most
HOSE = 0.6  # the same for items that never wait


def cell(cost: float, hose: float, kib: float, stop: float | None) -> dict[str, object]:
    """Make what a run has found of one contender."""
    rounds = {"costs": [cost, 2 * cost], "hoses": [hose]}
    return {"cost": cost, "hose": hose, "kib": kib, "stop": stop} | rounds


FOUND = {
    "environment": {"processors": 2, "processor": "P", "python": "CPython 3", "date": "2026-11-30"},
    "versions": {"fastsse/granian": "fastsse 1", "floor/granian": "granian 2"},
    "failed": [],
    "absent": {"Litestar/uvicorn": "pip install litestar"},
    "cells": {
        "floor/granian": cell(40.0, 20e3, 15, None),
        "fastsse/granian": cell(44.0, 400e3, 20, 0.2),
        "StreamingResponse/granian": cell(50.0, 40e3, 25, None),
    },
}


def test_a_token_costs_little_more_python_than_without_a_library() -> None:
    pytest.importorskip("starlette")

    found = inside.costs()

    assert found["fastsse"] <= COST * found["StreamingResponse"], found
    assert found["floor"] < found["fastsse"], found


def test_an_event_that_never_waits_costs_less_than_without_a_library() -> None:
    pytest.importorskip("starlette")

    found = inside.hoses()

    assert found["fastsse"] <= HOSE * found["StreamingResponse"], found


def test_the_bars_compare_rounds_with_their_neighbours() -> None:
    bars = {bar.what: bar for bar in judge.judge(FOUND)}

    token = bars["CPU of a token, fastsse / floor, granian"]
    assert (1.1, True) == (token.found, token.holds)
    slow = bars["CPU of a token, fastsse / StreamingResponse, granian"]
    assert (0.88, False) == (slow.found, slow.holds)
    assert bars["firehose, fastsse / StreamingResponse, granian"].holds
    assert bars["an open stream, fastsse / StreamingResponse, granian"].holds
    assert bars["CPU of a token, fastsse / floor, uvicorn"].holds is None


def test_the_report_has_a_row_for_each_contender_and_says_what_is_missing() -> None:
    text = report.text(FOUND)

    rows = [line.split() for line in text.splitlines()]
    assert ["fastsse", "44.0", "1.00", "400.0", "1.0", "20.0", "0.20"] in rows
    assert "over 5" in text
    assert "Litestar/uvicorn: pip install litestar" in text
    assert "uvicorn: 300" not in text


def test_the_chart_is_a_picture_with_its_figures_in_words() -> None:
    drawn = chart.both(FOUND)

    assert {"chart-light.svg", "chart-dark.svg"} == set(drawn)
    for picture in drawn.values():
        title = ElementTree.fromstring(picture)[0].text
        assert title is not None
        assert "under granian: floor 40, fastsse 44, StreamingResponse 50" in title
    assert {} == chart.both({**FOUND, "cells": {}})
