"""What README and the manual show is what happens. The rules of listings stand in `house_listings.py`."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest
import yaml
from house_listings import Listing, Untrue, commands, is_run, listings, run, shows
from house_source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
RUN = [page for page in PAGES if any(is_run(one) or one.name for one in listings(page))]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _is_built(module: str) -> bool:
    package = module.rpartition(".")[0]
    return importlib.util.find_spec(package) is not None and importlib.util.find_spec(module) is not None


@pytest.mark.timeout(240)
@pytest.mark.skipif(not _is_built("callboard.cli.main"), reason="the command line is not built")
@pytest.mark.parametrize("page", RUN, ids=_name)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    for listing in listings(page):
        try:
            run(listing, tmp_path)
        except Untrue as untrue:
            pytest.fail(f"{_name(page)}:{listing.line}: {untrue}", pytrace=False)


@pytest.mark.skipif(not _is_built("callboard.cli.main"), reason="the command line is not built")
@pytest.mark.parametrize("file", sorted((ROOT / "docs" / "examples").glob("*.ai")), ids=_name)
def test_examples_are_valid(file: Path, tmp_path: Path) -> None:
    run(Listing(1, "yaml", file.name, file.read_text("utf-8")), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_listing_says_what_it_is(page: Path) -> None:
    known = {"console", "csv", "jinja", "json", "markdown", "mermaid", "python", "sh", "text", "yaml"}
    assert {listing.language for listing in listings(page)} <= known


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_only_what_a_test_cannot_do_is_not_run(page: Path) -> None:
    allowed = (
        "callboard resume",
        "callboard prove",
        "git ",
        "cd ",
        "make",
        "pip ",
        "python3 ",
        "export ",
        "sudo ",
        "ollama ",
        "#",
    )
    lines = [line for one in listings(page) if one.language == "sh" for line in one.text.splitlines() if line]
    assert not [line for line in lines if not line.startswith(allowed)]


def test_listings_are_found_with_their_place_and_name(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```yaml a.ai\nname: x\n```\n\ntext\n\n```console\n$ true\n```\n")
    assert list(listings(page)) == [(4, "yaml", "a.ai", "name: x\n"), (10, "console", "", "$ true\n")]


def test_a_listing_that_is_not_true_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ echo one\ntwo\n```\n\n```console\n$ false\n```\n\n```python\nraise ValueError\n```\n"
    )
    for listing in listings(page):
        with pytest.raises((Untrue, yaml.YAMLError)):
            run(listing, tmp_path)


def test_commands_carry_their_output_and_their_exit_code() -> None:
    text = "$ one \\\n    more\n$ two  # exit 4\nout\n\n  put\n"
    assert commands(text) == [("one      more", [], 0), ("two", ["out", "  put"], 4)]


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        (["done in 0.3 s"], ["done in 12.75 s"]),
        (["a   b"], ["a b", ""]),
        (["run …, done"], ["run analysis-x, done"]),
        (["first", "…", "last"], ["first", "second", "third", "last"]),
        (["…"], []),
        (["2026-11-21T09:00:01+00:00 1f3c"], ["2027-01-02T10:11:12+00:00 9ab0"]),
    ],
)
def test_output_may_differ_in_what_changes_every_time(shown: list[str], came: list[str]) -> None:
    assert shows(shown, came)


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        (["done"], ["failed"]),
        (["done"], ["done", "and more"]),
        (["one", "two"], ["two", "one"]),
        (["a.c"], ["abc"]),
        (["3 done"], ["three done"]),
    ],
)
def test_output_may_not_differ_in_what_is_said(shown: list[str], came: list[str]) -> None:
    assert not shows(shown, came)
