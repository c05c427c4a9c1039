"""Schemathesis, a tester of HTTP sides, asks a real hub for everything in the hub's own description.

Each run makes requests that the document allows, and such that it does not, of every operation. No answer may be a
fault of the server (5xx), and each one must be described: its status, its type, its headers, its body.

Two of its checks are left out, because no schema of JSON can say what they would need: names are counted in bytes and
several times only once, and fields stand in the query or in the form, not in both.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.neighbours import need
from support.servers import Server, environment, serve
from support.tokens import AUDIENCE, bearer, claims, key_flags, sign, write_keys

EXAMPLES = 10  # of each operation, beside those of the phase "coverage"
LEAST = 24  # operations
LEFT_OUT = "negative_data_rejection,positive_data_acceptance"
ENDING = ("--lifetime", "0.05", "--heartbeat", "0.01")  # s: each stream ends by itself
EVERYTHING = {"subscribe": ["*"], "publish": ["*"], "end": ["*"], "operator": True}

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def run_through(server: Server, folder: Path, headers: dict[str, str]) -> str:
    """Let schemathesis ask for everything; return what it says, and fail where it finds something."""
    need("schemathesis")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    command += ["--checks", "all", "--exclude-checks", LEFT_OUT, "--max-examples", str(EXAMPLES)]
    command += ["--phases", "examples,coverage,fuzzing"]
    command += ["--generation-deterministic", "--continue-on-failure", "--no-color"]
    command += ["--request-timeout", "60", "--output-sanitize", "false"]
    command += [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(PATH=os.environ["PATH"]),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-20_000:]
    return said


def check_after(server: Server, said: str, headers: dict[str, str]) -> None:
    """Check that all operations were tried, and that the hub is well and has seen no fault of its own."""
    tried = re.search(r"Selected: (\d+)/\1\n  Tested: \1\b", said)
    assert tried, said
    assert int(tried[1]) >= LEAST, said
    health = server.request("GET", "/health", None, headers).json
    assert "ok" == health["status"]
    assert not [status for status in health["problems"] if status.startswith("5")], health


def test_an_open_hub_answers_as_its_document_says(tmp_path: Path) -> None:
    with serve(*ENDING, "--origins", "https://friend.example") as server:
        said = run_through(server, tmp_path, {})

        check_after(server, said, {})


def test_a_hub_with_keys_answers_as_its_document_says(tmp_path: Path) -> None:
    keys = write_keys(tmp_path)
    token = bearer(sign(claims(900, fastsse=EVERYTHING)))
    with serve(*ENDING, *key_flags(keys), "--audience", AUDIENCE) as server:
        without = run_through(server, tmp_path, {})
        said = run_through(server, tmp_path, token)

        check_after(server, without, token)
        check_after(server, said, token)
