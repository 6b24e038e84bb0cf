"""The documents keep their form: links are alive, sizes hold, generated parts are fresh, every decision has its test.

What the listings say is run by `test_house_listings.py`; this file reads only.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import TYPE_CHECKING

import pytest
from house_source import ROOT

from callboard import errors

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "changelog.d/README.md", "src/callboard/*/decisions/*.md")
    for path in ROOT.glob(pattern)
)
DECISIONS = sorted(ROOT.glob("src/callboard/*/decisions/*.md"), key=lambda path: path.name)
FRAGMENTS = sorted(path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _prose(path: Path) -> str:
    """The text without fenced listings and code spans, where brackets mean something else."""
    text = re.sub(r"^(```+).*?^\1$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def _anchors(path: Path) -> set[str]:
    """The fragments that the headings of a document can be reached by."""
    headings = re.findall(r"^#+ +(.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    dead = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", _prose(path)):
        if link.startswith(("https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        place = (path.parent / target).resolve() if target else path
        if not place.exists() or (anchor and anchor not in _anchors(place)):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_a_document_has_one_title_and_closed_fences(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("# ")
    assert text.count("\n```") % 2 == 0
    assert text.endswith("\n") and not text.endswith("\n\n")


@pytest.mark.parametrize(("name", "most"), [("README.md", 150), ("CONTRIBUTING.md", 79)])
def test_a_door_stays_small(name: str, most: int) -> None:
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= most


@pytest.mark.parametrize("path", DECISIONS, ids=_name)
def test_a_decision_has_the_form_of_a_decision(path: Path) -> None:
    text = path.read_text("utf-8")
    number, slug = re.fullmatch(r"(\d{4})-([a-z0-9-]+)\.md", path.name).groups()  # type: ignore[union-attr]
    assert text.startswith(f"# {number} · ") and slug
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences", "A change violates this when…"]
    assert text.rpartition("## A change violates this when…")[2].count("\n- ") >= 2


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_fragments_of_the_changelog_are_one_sentence_each() -> None:
    kinds = "added|changed|deprecated|removed|fixed|security"
    for path in FRAGMENTS:
        assert re.fullmatch(rf"[a-z0-9][a-z0-9-]*\.({kinds})\.md", path.name), path.name
        text = path.read_text("utf-8")
        assert re.fullmatch(r"[^\n]{20,250}\.\n", text), path.name


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_fresh(generate: ModuleType) -> None:
    assert generate.stale(write=False) == [], "run make format"


def test_a_generated_part_needs_its_place(generate: ModuleType) -> None:
    with pytest.raises(SystemExit, match="found 0"):
        generate.filled("no place here", "moves", "…")


def test_the_manual_lists_every_exit_code() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text, flags=re.MULTILINE)}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}
    assert raised <= listed
    assert listed == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 130, 143}


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_ci_calls_the_chores() -> None:
    run = ROOT / ".ci" / "run"
    assert "make --no-print-directory check test" in run.read_text("utf-8")
    assert sys.platform == "win32" or run.stat().st_mode & 0o111
