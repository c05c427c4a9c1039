"""The document on access control: its example makes a token that the hub takes."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

from support.blocks import code_blocks
from support.servers import DEADLINE, serve
from support.tokens import bearer

DOCUMENT = Path(__file__).parents[3] / "docs" / "access.md"


def test_the_example_makes_a_token_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "hub.key").write_text(secrets.token_urlsafe(48) + "\n")
    [block] = [block for block in code_blocks(DOCUMENT) if "jwt.encode" in block.text]

    made = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    with serve("--keys", str(tmp_path / "hub.key")) as server:
        headers = bearer(made.stdout.strip())
        topics = ["news", "users/ann/1", "users/bob/1", "chat/1"]
        statuses = [
            server.request("HEAD", f"/events?topic={topic}", None, headers).status
            for topic in topics
        ]
        published = server.request(
            "POST", "/events?topic=chat/1", "hello", headers | {"Content-Type": "text/plain"}
        )

    assert [200, 200, 403, 403] == statuses
    assert 200 == published.status
