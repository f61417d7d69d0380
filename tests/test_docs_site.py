"""The site: it is built without a warning, has every page, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.console import DOCS, ROOT, name_of

# Of another origin: what a browser fetches by itself, unlike where a link leads.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon))[^>]*\bhref=["']?(?:https?:)?//"""
    r"""|url\(["']?(?:https?:)?//|@import\s+["'](?:https?:)?//"""
)


def _build(site: Path, *, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    # The theme speaks of its successor at each build, unless it is asked not to.
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    folder = tmp_path_factory.mktemp("site")
    done = _build(folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    brought = {Path(f"{name}.html") for name in ("readme", "changelog", "contributing")}
    assert {page for page in pages | brought if not (site / page).exists()} == set()


def test_the_hook_itself_is_not_in_the_site(site: Path) -> None:
    assert list(site.rglob("*.py")) == []


def test_nothing_is_loaded_from_another_server(site: Path) -> None:
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    found = {path.name: match[0] for path in files
             if (match := _LOADED.search(path.read_text(encoding="utf-8")))}  # fmt: skip
    assert found == {}


def test_no_page_has_what_would_fetch_a_library() -> None:
    # The theme loads Mermaid from a server as soon as a page has such a block.
    assert [name_of(page) for page in DOCS.rglob("*.md") if "```mermaid" in page.read_text()] == []


def test_links_out_of_the_docs_lead_to_the_page_in_the_site(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    readme = (site / "readme.html").read_text(encoding="utf-8")
    assert 'href="readme.html"' in index
    assert 'href="tutorial.html"' in readme
    assert "../README.md" not in index


def test_what_belongs_to_an_item_stays_in_its_list(site: Path) -> None:
    runbook = (site / "runbooks" / "Watchdog.html").read_text(encoding="utf-8")
    (steps,) = re.findall(r"<ol>(.*?)</ol>", runbook, re.DOTALL)
    assert [steps.count(part) for part in ("<li>", "<pre>", "<!--")] == [4, 3, 0]


def test_there_is_something_to_search(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"tutorial.html", "readme.html", "runbooks/RunStuck.html"} <= places


def test_links_to_other_files_keep_their_text_only(site: Path) -> None:
    page = (site / "reference" / "panels-and-alerts.html").read_text(encoding="utf-8")
    assert "test_dashboards.py" in page
    assert "tests/integration/test_dashboards.py" not in page


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gone](../Gone.md)", "docs/tutorial.md links to Gone.md, which does not exist."),
        ("[gone](index.md#no-such-heading)", "no-such-heading"),
        ("[gone](gone.md)", "docs/tutorial.md links to docs/gone.md, which does not exist."),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(
    text: str, complaint: str, tmp_path: Path
) -> None:
    root = _small(tmp_path)
    (root / "docs" / "tutorial.md").write_text(f"# A page\n\n{text}\n", encoding="utf-8")
    done = _build(tmp_path / "site", root=root)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_a_page_that_the_navigation_does_not_have_fails_the_build(tmp_path: Path) -> None:
    root = _small(tmp_path)
    (root / "docs" / "lost.md").write_text("# Lost\n", encoding="utf-8")
    done = _build(tmp_path / "site", root=root)
    assert done.returncode != 0
    assert "lost.md" in done.stderr


def test_a_page_of_the_navigation_that_is_not_there_yet_is_left_out(tmp_path: Path) -> None:
    done = _build(tmp_path / "site", root=_small(tmp_path))
    assert done.returncode == 0, done.stderr


def _small(folder: Path) -> Path:
    """A project with the real configuration and hook, and three pages."""
    root = folder / "small"
    (root / "docs").mkdir(parents=True)
    for name in ("mkdocs.yml", "docs/outside.py", "docs/lists.py"):
        shutil.copy(ROOT / name, root / name)
    for name in ("README.md", "docs/index.md", "docs/tutorial.md"):
        (root / name).write_text("# A page\n\n[All](tutorial.md)\n", encoding="utf-8")
    (root / "README.md").write_text("# Read\n\n[All](docs/index.md)\n", encoding="utf-8")
    return root


def test_the_navigation_has_the_five_groups() -> None:
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.BaseLoader)["nav"]
    names = [name for group in nav for name in group]
    assert names == ["Start", "How to", "Understand", "Reference", "Runbooks"]
