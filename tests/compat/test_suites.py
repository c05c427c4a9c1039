"""Other projects' test suites, with our modules in the places of the libraries that they test or use.

Each suite comes with the newest source distribution, which pip fetches, and runs in an environment of its own, which
stays in a cache. One run uses the original, and another one ours. Every test that passes with the original must pass
with ours, except those that `EXCUSED` lists, each with its reason: private names, or a fault that a test demands.

These tests need a package index. Without one they skip, or fail where neighbours are required.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import NamedTuple

import pytest
from support.neighbours import INSTALL
from support.servers import ROOT
from support.twins import is_set

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

CACHE = Path(os.environ.get("FASTSSE_SUITES") or ROOT / ".pytest_cache" / "suites")
SUPPORT = ROOT / "tests" / "support"
RESULT = re.compile(r"^(PASSED|FAILED|ERROR|XFAIL|XPASS|SKIPPED) (.*?)(?: - .*)?$", re.MULTILINE)


class Suite(NamedTuple):
    """One project's suite.

    Attributes:
        project: the distribution that has the tests, perhaps with a version.
        swapped: what ``FASTSSE_SWAP`` names.
        tests: files and folders of tests that are run.
        needs: what the tests import besides.
        options: more arguments of pytest.
        missing: files that the source distribution lacks in ``tests``, or that ask for a public server there: their
            names in `SUPPORT`, and there.
        least: how many tests pass with the original, at least: fewer, and the suite has not run.
    """

    project: str
    swapped: str
    tests: tuple[str, ...]
    needs: tuple[str, ...]
    options: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    least: int = 1


MCP = Suite(
    project="mcp",
    swapped="sse_starlette",
    tests=(
        "tests/interaction/transports",
        "tests/server/test_sse_security.py",
        "tests/server/test_streamable_http_manager.py",
        "tests/server/test_streamable_http_modern.py",
        "tests/server/test_streamable_http_router.py",
        "tests/server/test_streamable_http_security.py",
        "tests/shared/test_sse.py",
        "tests/shared/test_streamable_http.py",
    ),
    needs=(
        *("mcp[cli]", "coverage", "dirty-equals", "inline-snapshot", "logfire"),
        *("opentelemetry-sdk", "pillow", "pytest-examples", "trio", "blockbuster"),
    ),
    options=("-o", "log_cli=false"),
    least=300,
)
SSE_STARLETTE = Suite(
    project="sse-starlette",
    swapped="sse_starlette",
    tests=("tests",),
    needs=("sse-starlette", "asgi-lifespan", "httpx", "httpx2", "pytest-asyncio", "uvicorn"),
    options=("--continue-on-collection-errors", "--ignore=tests/test_broadcasting_example.py"),
    missing=(
        ("suite_conftest.py", "conftest.py"),
        ("suite_anyio_compat.py", "anyio_compat.py"),
    ),
    least=100,
)
AIOHTTP_SSE_2 = Suite(
    project="aiohttp-sse==2.2.0",
    swapped="aiohttp_sse",
    tests=("tests",),
    needs=("aiohttp", "pytest-aiohttp", "pytest-asyncio"),
    options=("-c", os.devnull, "--rootdir=.", "-o", "asyncio_mode=auto"),
    least=40,
)
AIOHTTP_SSE = AIOHTTP_SSE_2._replace(project="aiohttp-sse", least=50)
FASTAPI = Suite(
    project="fastapi",
    swapped="fastapi",
    tests=("tests/test_sse.py", "tests/test_tutorial/test_server_sent_events"),
    needs=("fastapi", "dirty-equals", "inline-snapshot", "httpx", "httpx2"),
    options=("-c", os.devnull, "--rootdir=."),
    least=40,
)
FASTAPI_ITSELF = FASTAPI._replace(swapped="fastapi.routing")
HTTPX_SSE = Suite(
    project="httpx-sse",
    swapped="httpx_sse",
    tests=("tests",),
    needs=("httpx-sse", "httpx", "httpx2", "pytest-asyncio", "sse-starlette", "starlette"),
    options=("-c", os.devnull, "--rootdir=."),
    least=50,
)
AIOHTTP_SSE_CLIENT = Suite(
    project="aiohttp-sse-client",
    swapped="aiohttp_sse_client",
    tests=("tests/web_platform_tests",),
    needs=("aiohttp-sse-client", "aiohttp", "pytest-asyncio"),
    options=("-c", os.devnull, "--rootdir=.", "-o", "asyncio_mode=auto"),
    missing=(
        ("suite_wpt_conftest.py", "conftest.py"),
        ("suite_wpt_const.py", "web_platform_tests/const.py"),
    ),
    least=15,
)

# Tests that ours cannot pass, by the beginning of their names, and why.
PRIVATE = "tests private names of sse-starlette"
EXCUSED: dict[Suite, dict[str, str]] = {
    MCP: {},
    SSE_STARLETTE: {
        "tests/test_issue132.py": f"{PRIVATE}: _shutdown_watcher, _get_uvicorn_server",
        "tests/test_issue152.py": f"{PRIVATE}: _ensure_watcher_started_on_this_loop",
        "tests/test_multi_loop.py": f"{PRIVATE}: _get_shutdown_state, _listen_for_exit_signal",
        "tests/test_issue217.py::test_send_whenInterruptedAndCleanupStuck_thenDeadlineCancelsCleanup": (
            f"{PRIVATE}: puts another _listen_for_exit_signal in its place"
        ),
        "tests/test_issue217.py::test_closingFrame_whenSendStalls_thenInterruptionEndsResponse": (
            f"{PRIVATE}: puts another _listen_for_exit_signal in its place"
        ),
        "tests/test_sse.py::TestEventSourceResponse::test_send_whenInterrupted_thenClosesSuspendedGenerator": (
            f"{PRIVATE}: puts another _listen_for_exit_signal in its place"
        ),
        "tests/test_sse.py::TestEventSourceResponse::test_ping_whenTimerTicks_thenSendsOneMessagePerTick": (
            f"{PRIVATE}: calls _ping, and puts another anyio.sleep in its place"
        ),
        "tests/test_sse.py::TestEventSourceResponse::test_ping_whenSendTimesOut_thenRaisesSendTimeoutError": (
            f"{PRIVATE}: calls _ping, and puts another anyio.sleep in its place"
        ),
        "tests/test_sse.py::TestEventSourceResponse::test_ping_whenConcurrentWithEvents_thenRespectsLocking": (
            "demands a fault: a ping sent while the send of an event is pending"
        ),
    },
    AIOHTTP_SSE_2: {},
    AIOHTTP_SSE: {
        "tests/test_sse.py::test_not_allowed_methods": (
            "version 2.2 answers every method, which its own suite demands; ours follows version 2.2"
        ),
    },
    FASTAPI: {
        **dict.fromkeys(
            (
                "tests/test_sse.py::test_sse_router_typed_openapi_schema",
                "tests/test_sse.py::test_default_response_class_on_app_openapi_schema",
                "tests/test_sse.py::test_default_response_class_on_parent_router_openapi_schema",
                *(
                    f"tests/test_tutorial/test_server_sent_events/test_tutorial00{number}.py::test_openapi_schema"
                    for number in range(1, 6)
                ),
            ),
            "FastAPI makes the schema of its own class alone; docs/migrating/fastapi.md says so",
        ),
        **dict.fromkeys(
            (
                "tests/test_sse.py::test_keepalive_ping_async",
                "tests/test_sse.py::test_keepalive_ping_sync",
            ),
            "sets the private fastapi.routing._PING_INTERVAL",
        ),
    },
    FASTAPI_ITSELF: {},
    HTTPX_SSE: {
        "tests/test_decoders.py": "tests private names of httpx-sse: SSEDecoder, SSELineDecoder",
        "tests/test_api.py::test_iter_sse_lines": "tests a private name of httpx-sse: _iter_sse_lines",
        "tests/test_api.py::test_aiter_sse_lines": "tests a private name of httpx-sse: _aiter_sse_lines",
        "tests/test_event_source.py::test_iter_sse_id_retry": (
            "demands a fault: an event of a block that has nothing but a reconnection time"
        ),
    },
    AIOHTTP_SSE_CLIENT: {},
}


def require(problem: str) -> None:
    """Skip, or fail where neighbours are required."""
    if is_set("FASTSSE_REQUIRE_NEIGHBOURS"):
        pytest.fail(f"FASTSSE_REQUIRE_NEIGHBOURS is set: {problem}")
    pytest.skip(f"{problem}; {INSTALL}")


def command(*arguments: str | Path, cwd: Path | None = None, **env: str) -> str:
    """Run a command, and return what it printed; its failure is a problem of the surroundings."""
    ran = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        require(f"{arguments[0]} has failed: {(ran.stderr or ran.stdout)[-800:]}")
    return ran.stdout


def place_of(suite: Suite) -> Path:
    """Name the folder of a suite's sources and environment, one for each list of what it needs."""
    needs = hashlib.sha256(repr((sys.version, suite.needs)).encode()).hexdigest()[:12]
    return CACHE / f"{re.sub('[^a-z0-9.]+', '-', suite.project)}-{needs}"


def python_of(suite: Suite) -> Path:
    """Make the environment that the suite runs in, unless it is there."""
    environment = place_of(suite) / "environment"
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = environment / "done"
    if not done.exists():
        venv.create(environment, clear=True, with_pip=True)
        command(
            *(python, "-m", "pip", "install", "-q", suite.project, *suite.needs),
            *("pytest", "pytest-timeout", "pytest-xdist"),
        )
        done.touch()
    return python


def sources_of(suite: Suite, python: Path) -> Path:
    """Fetch and unpack the source distribution of the version that the environment has, unless it is there."""
    name = suite.project.partition("==")[0]
    version = command(
        *(python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))")
    ).strip()
    unpacked = place_of(suite) / f"sources-{version}"
    if not unpacked.exists():
        downloads = place_of(suite) / "downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        command(
            *(python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name),
            *("-d", downloads, f"{name}=={version}"),
        )
        [archive] = downloads.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(downloads / "unpacked", filter="data")
        [folder] = (downloads / "unpacked").iterdir()
        folder.rename(unpacked)
    for ours, theirs in suite.missing:
        shutil.copy(SUPPORT / ours, unpacked / "tests" / theirs)
    return unpacked


def outcomes(suite: Suite, swapped: str) -> dict[str, str]:
    """Run the suite, and tell what became of each test."""
    python = python_of(suite)
    sources = sources_of(suite, python)
    ran = subprocess.run(
        [
            *(str(python), "-m", "pytest", "-p", "swap", "-p", "no:cacheprovider", "-n", "2"),
            *("-q", "-rA", "--color=no", "--timeout=60", *suite.options, *suite.tests),
        ],
        cwd=sources,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(SUPPORT)]),
            "FASTSSE_SWAP": swapped,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found = {test: outcome for outcome, test in RESULT.findall(ran.stdout)}
    assert found, ran.stdout[-4000:] + ran.stderr[-4000:]
    return found


@pytest.mark.parametrize(
    "suite", EXCUSED, ids=lambda suite: f"{suite.project}-with-{suite.swapped}"
)
def test_all_that_passes_with_the_original_passes_with_ours(suite: Suite) -> None:
    before = outcomes(suite, "")
    after = outcomes(suite, suite.swapped)

    passed = {test for test, outcome in before.items() if outcome == "PASSED"}
    lost = {test for test in passed if after.get(test) != "PASSED"}
    excused = {test for test in lost if test.startswith(tuple(EXCUSED[suite]))}
    print(
        f"{suite.project} with {suite.swapped}: {len(passed)} pass with the original,"
        f" {len(passed - lost)} with ours, {len(excused)} are excused"
    )
    assert suite.least <= len(passed)
    assert set() == lost - excused
    assert set() == {
        start for start in EXCUSED[suite] if not any(test.startswith(start) for test in lost)
    }
