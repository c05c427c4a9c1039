"""Input that old versions of our dependencies choke on: the lower bounds in pyproject.toml are promises.

Time is processor time of this process, so that a busy machine changes nothing. The old versions needed 2 to 60 s for
what takes some hundredths, so the limit lies far from both.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("python_multipart")

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fastsse.broadcast import Settings
from fastsse.broadcast.app import create_app
from fastsse.testing import Answer, fetch, lifespan

ROOT = Path(__file__).parents[2]
LIMIT = 1.5  # s of processor time
SIZE = 3_000_000  # bytes of a body that a form may have at the defaults

HEAD = b"--b\r\n"
NAMED = b'--b\r\nContent-Disposition: form-data; name="data"\r\n'


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.process_time()
    yield
    took = time.process_time() - began
    assert took < seconds, f"{took:.2f} s of processor time"


def filled(before: bytes, unit: bytes, after: bytes = b"") -> bytes:
    return before + unit * (SIZE // len(unit)) + after


MULTIPART: dict[str, Callable[[], bytes]] = {
    "headers": lambda: filled(HEAD, b"a: b\r\n", b"\r\nx\r\n--b--\r\n"),
    "one long header": lambda: filled(HEAD + b"a: ", b"x", b"\r\n\r\nx\r\n--b--\r\n"),
    "one long header name": lambda: filled(HEAD, b"x", b": a\r\n\r\nx\r\n--b--\r\n"),
    "a header without an end": lambda: filled(HEAD + b"a: ", b"x"),
    "parameters": lambda: filled(
        HEAD + b"Content-Disposition: form-data", b"; a=b", b"\r\n\r\nx\r\n--b--\r\n"
    ),
    "quotes": lambda: filled(
        HEAD + b'Content-Disposition: form-data; name="', b'\\"', b'"\r\n\r\nx\r\n--b--\r\n'
    ),
    "parameters of a part's type": lambda: filled(
        NAMED + b"Content-Type: text/plain", b"; a=b", b"\r\n\r\nx\r\n--b--\r\n"
    ),
    "parts": lambda: filled(b"", NAMED + b"\r\n\r\n", b"--b--\r\n"),
    "empty parts": lambda: filled(b"", b"--b\r\n\r\n\r\n", b"--b--\r\n"),
    "a preamble of dashes": lambda: filled(b"", b"-"),
    "a preamble of line ends": lambda: filled(b"", b"\r\n"),
    "an epilogue": lambda: filled(NAMED + b"\r\nx\r\n--b--\r\n", b"x"),
    "an epilogue of line ends": lambda: filled(NAMED + b"\r\nx\r\n--b--\r\n", b"\r\n"),
    "CR only": lambda: filled(NAMED + b"\r\n", b"\r", b"\r\n--b--\r\n"),
    "LF only": lambda: filled(NAMED + b"\r\n", b"\n", b"\r\n--b--\r\n"),
    "line ends": lambda: filled(NAMED + b"\r\n", b"\r\n", b"\r\n--b--\r\n"),
    "dashes": lambda: filled(NAMED + b"\r\n", b"-", b"\r\n--b--\r\n"),
    "half a boundary": lambda: filled(NAMED + b"\r\n", b"\r\n--", b"\r\n--b--\r\n"),
    "nearly the boundary": lambda: filled(NAMED + b"\r\n", b"\r\n--c", b"\r\n--b--\r\n"),
    "boundaries": lambda: filled(b"", b"\r\n--b"),
    "NUL": lambda: filled(NAMED + b"\r\n", b"\0", b"\r\n--b--\r\n"),
}


async def post(body: bytes, kind: str) -> Answer:
    app = create_app(Settings(heartbeat=0.0, lifetime=0.0))
    headers = {"content-type": kind, "content-length": str(len(body))}
    async with lifespan(app):
        return await fetch(app, "/events", "topic=a", headers, "POST", body=body)


@pytest.mark.parametrize("shape", MULTIPART)
async def test_a_multipart_body_costs_time_in_proportion_to_its_size(shape: str) -> None:
    """From: review F6"""
    body = MULTIPART[shape]()

    with within(LIMIT):
        answer = await post(body, "multipart/form-data; boundary=b")

    assert answer.status in (200, 400, 413, 415)


@pytest.mark.parametrize("shape", ["headers", "one long header", "parameters"])
def test_the_parser_itself_bounds_the_headers_of_a_part(shape: str) -> None:
    """The lower bound of python-multipart: 0.0.22 took 10 s and more.

    From: review F6
    """
    parser = MultipartParser(b"b", {})

    with within(LIMIT), pytest.raises(FormParserError):
        parser.write(MULTIPART[shape]())


def test_parameters_of_a_header_are_read_in_linear_time() -> None:
    """The lower bound of python-multipart: up to 0.0.29 this took 4 s.

    From: review F6
    """
    value = b"form-data" + b';"' * 200_000

    with within(LIMIT):
        kind, _ = parse_options_header(value)

    assert b"form-data" == kind


def test_the_metrics_need_no_library_that_is_not_declared() -> None:
    """The lower bound of prometheus-client: 0.23.0 imported `packaging`, and did not say so.

    From: review F6
    """
    program = "import sys; import fastsse.broadcast.web.metrics; print('packaging' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "False" == done.stdout.strip()


def oldest(*groups: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "minimums", *groups],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.partition(";")[0].split("==") for line in done.stdout.splitlines())


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not in the source tree")
def test_every_library_that_an_extra_needs_has_a_lower_and_an_upper_bound() -> None:
    """`.ci/minimums` refuses a requirement without a lower bound.

    From: review F6
    """
    named = set(oldest())

    assert {"granian", "orjson", "prometheus-client", "python-multipart"} < named
    assert {"starlette", "uvloop"} < named


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not in the source tree")
def test_an_optional_library_of_the_tests_has_its_lower_bound_tried_too() -> None:
    """From: review F6"""
    assert "msgspec" in oldest("server-test")
