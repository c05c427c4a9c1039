"""docs/operating.md says what is so: the settings, the names of the metrics, the keys of `/health`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.servers import DEADLINE, environment

from fastsse.broadcast import Hub
from fastsse.broadcast.settings import PER_TOPIC
from fastsse.broadcast.web.metrics import Metrics

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operating.md").read_text(encoding="utf-8")


def test_its_table_and_the_docstring_of_settings_say_what_the_settings_say() -> None:
    command = [sys.executable, str(DOCS / "settings.py"), "--check"]

    done = subprocess.run(
        command, capture_output=True, env=environment(), timeout=DEADLINE, check=False
    )

    assert (0, b"") == (done.returncode, done.stdout), done.stderr


async def test_every_metric_that_it_names_is_there() -> None:
    hub = Hub()
    await hub.start()
    families = {family.name for family in Metrics(hub).collect()}
    await hub.stop()

    named = {name.removesuffix("_total") for name in re.findall(r"fastsse_[a-z_]+", PAGE)}

    assert len(named) > 5
    assert set() == named - families


def test_the_settings_of_some_topics_are_those_that_the_page_on_the_broadcast_names() -> None:
    page = (DOCS / "broadcast.md").read_text(encoding="utf-8")
    section = page.split("## Settings of some topics\n")[1].split("\n## ")[0]
    named = re.search(r"The keys are ([^.]+)\.", section)

    assert named is not None
    assert list(PER_TOPIC) == re.findall(r"`(\w+)`", named[1])


async def test_every_key_of_health_is_described_and_no_other() -> None:
    section = PAGE.split("## What `/health` says\n")[1].split("\n## ")[0]
    described = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    hub = Hub()
    await hub.start()
    said = hub.health()
    await hub.stop()

    assert sorted(said) == sorted(described)
