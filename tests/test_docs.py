"""The documents: their links lead somewhere, their Python is Python, and the values that they show are true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from support.blocks import CodeBlock, code_blocks, run_block
from support.servers import DEADLINE, environment

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {"node_modules", "build"} & set(path.parts)
    and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
EXAMPLES = ROOT / "docs" / "codec.md"
EMBEDDING = ROOT / "docs" / "embedding.md"

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ELSEWHERE = ("http://", "https://", "mailto:")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def anchors(path: Path) -> frozenset[str]:
    """Collect the anchors that GitHub makes of a document's headings."""
    headings = _HEADING.findall(_FENCED.sub("", path.read_text("utf-8")))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return frozenset(heading.strip().replace(" ", "-") for heading in plain)


def broken(path: Path) -> list[str]:
    """List the links of a document that lead nowhere in this repository."""
    text = _CODE.sub("", _FENCED.sub("", path.read_text("utf-8")))
    lost: list[str] = []
    for groups in _LINK.findall(text):
        link = "".join(groups)
        if link.startswith(_ELSEWHERE):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    return lost


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_within_the_repository_leads_somewhere(path: Path) -> None:
    assert [] == broken(path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_block_of_python_is_python(path: Path) -> None:
    for block in code_blocks(path):
        if block.language == "python":
            ast.parse(block.text, f"{name(path)}:{block.line}")


def test_every_value_that_the_codec_by_example_shows_is_true() -> None:
    names: dict[str, Any] = {}

    blocks = [block for block in code_blocks(EXAMPLES) if block.language == "python"]
    checked = sum(run_block(block, names) for block in blocks)

    assert (14, 47) == (len(blocks), checked)


def test_the_page_about_embedding_runs_from_top_to_bottom(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx2")  # which the test client needs
    blocks = [it.text for it in code_blocks(EMBEDDING) if it.language == "python"]
    assert 6 == len(blocks)
    blocks.insert(2, "test_publishing()\n")
    blocks.append(
        'with TestClient(app) as client:\n    print(client.get("/sse/health").status_code)\n'
    )
    page = tmp_path / "page.py"
    page.write_text("\n".join(blocks), "utf-8")

    ran = subprocess.run(
        [sys.executable, str(page)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert ("200\n", 0) == (ran.stdout, ran.returncode), ran.stderr


def named(lines: list[str]) -> set[str]:
    """Read which files a map names, each with its folders: an indented line lies in the folder above it."""
    files: set[str] = set()
    folders: list[tuple[int, str]] = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        while folders and folders[-1][0] >= indent:
            folders.pop()
        path = "".join(folder for _, folder in folders)
        head = re.split(r"   +", line.strip())[0].split()
        if head[0].endswith("/"):
            folders.append((indent, head[0]))
        else:
            files.update(path + file for file in head)
    return files


def test_the_map_names_every_file_of_the_package_and_of_the_kernels() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("\n## The map\n")[1]
    files = [
        name(path)
        for kind in (
            "fastsse/**/*.py",
            "fastsse/**/*.pyx",
            "fastsse/*.pxd",
            "fastsse/*.h",
            "csrc/*",
        )
        for path in ROOT.glob(kind)
        if path.name != "__init__.py" or path.parent.name == "fastsse"
    ]

    drawn = named(page.split("```")[1].strip("\n").split("\n"))

    assert sorted(files) == sorted(it for it in drawn if it.startswith(("fastsse/", "csrc/")))


def test_the_live_page_explains_every_gap_that_the_document_names() -> None:
    rows = (ROOT / "fastsse/broadcast/page/view/row.js").read_text("utf-8")
    [reasons] = re.findall(r"GAP_REASONS = new Map\(\[(.*?)\]\);", rows, re.DOTALL)
    page = (ROOT / "docs" / "broadcast.md").read_text("utf-8")
    [table] = re.findall(r"\| reason \| because \|\n(.*?)\n\n", page, re.DOTALL)

    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(
        re.findall(r'^ *\["(\w+)",', reasons, re.MULTILINE)
    )


def test_a_value_that_is_not_true_is_found() -> None:
    shown = CodeBlock("python", "1 + 1  # 3\n", 1)

    with pytest.raises(AssertionError, match="line 1"):
        run_block(shown, {})


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head\n[a](#a-head) [b](#b) [c](c.md) [d](page.md#a-head)\n", "utf-8")

    assert ["#b", "c.md"] == broken(page)
