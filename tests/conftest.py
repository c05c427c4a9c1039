"""Fixtures that more than one folder of tests uses: the twins of the codec, and real servers."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from types import ModuleType

import pytest
from hypothesis import settings
from support.servers import DEADLINE, Clients, Server, serve
from support.starts import notes
from support.twins import NAMES, is_set, load_twin

from fastsse import testing

testing.DEADLINE = DEADLINE  # as for servers: 20 s, because a busy machine is no fault

settings.register_profile("fastsse", deadline=None, print_blob=True)
settings.load_profile("fastsse")

# A background job of a shell ignores SIGINT, and what nohup runs ignores SIGHUP. The servers that tests start would
# inherit that, and some tests send them these signals.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes too long for every run."""
    if not is_set("FASTSSE_SLOW"):
        too_long = pytest.mark.skip(reason="takes too long for every run: FASTSSE_SLOW=1 runs it")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(too_long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give the report of a test what was started again for it."""
    report = yield
    report.user_properties += [("started again", note) for note in notes()]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name all that was started again: a run that passes tells it, too."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    found = {
        f"{report.nodeid}: {note}"
        for report in reports
        for name, note in getattr(report, "user_properties", [])
        if name == "started again"
    }
    if found:
        terminalreporter.section("started again")
        terminalreporter.write_line("\n".join(sorted(found)))


@pytest.fixture(scope="session", params=NAMES)
def codec(request: pytest.FixtureRequest) -> ModuleType:
    """Give a test one twin's module: `codec.encode`, `codec.Decoder`, `codec.Event` …"""
    return load_twin(request.param)


@pytest.fixture(scope="session")
def twins() -> tuple[ModuleType, ModuleType]:
    """Give a test both twins, the pure one first."""
    return load_twin("py"), load_twin("c")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Run one broadcast for all tests that leave it running; each takes topics of its own."""
    with serve() as running:
        yield running


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Name a topic that no other test uses."""
    return str(request.node.name).replace("[", "-").replace("]", "")


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Open raw connections, and close them in the end."""
    opened = Clients()
    yield opened
    await opened.close()
