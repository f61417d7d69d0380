"""Bring pages from outside the docs into the site, and turn links to them round.

A hook of mkdocs. On the repository's host a page links to `../README.md`; in the
site that file is `readme.md`. Both come from the one link. Of a link to another
file of the repository, such as a test, the site keeps the text; one to a file that
does not exist fails the build.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS = Path(__file__).parent
OUTSIDE = {
    "readme.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "benchmarks.md": "benchmarks/README.md",
}
"""What the site calls them, and where they are in the repository."""

_INSIDE = {origin: name for name, origin in OUTSIDE.items()}
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?![a-z]+:|#)(?P<to>[^)\s#]+)(?P<at>#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out of the navigation what does not exist; a page that it misses is a warning."""
    config.nav = _existing(config.nav or [])
    return config


def _existing(entries: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            ((title, below),) = entry.items()
            kept.append({title: _existing(below)})
        elif (ROOT / _origin(entry)).exists():
            kept.append(entry)
    return kept


def _origin(name: str) -> str:
    """Where the repository has the page NAME of the site."""
    return OUTSIDE.get(name, f"docs/{name}")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from outside."""
    for name, origin in OUTSIDE.items():
        if (ROOT / origin).exists():
            text = (ROOT / origin).read_text(encoding="utf-8")
            files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn each link of PAGE into one that holds in the site. Code is left as it is."""
    name = page.file.src_uri
    return _outside_code(markdown, lambda text: _LINK.sub(lambda link: _in_site(name, link), text))


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    parts: list[str] = []
    position = 0
    for block in _FENCED.finditer(markdown):
        parts += [change(markdown[position : block.start()]), block[0]]
        position = block.end()
    return "".join([*parts, change(markdown[position:])])


def _in_site(name: str, link: re.Match[str]) -> str:
    origin = _origin(name)
    target = os.path.normpath(os.path.join(os.path.dirname(origin), link["to"]))
    if not (ROOT / target).exists():
        raise PluginError(f"{origin} links to {target}, which does not exist.")
    to = _INSIDE.get(target) or (target.removeprefix("docs/") if _is_in(DOCS, target) else None)
    if to is None:
        return link["text"]
    address = os.path.relpath(to, os.path.dirname(name) or ".")
    return f"[{link['text']}]({address}{link['at'] or ''})"


def _is_in(folder: Path, target: str) -> bool:
    return (ROOT / target).resolve().is_relative_to(folder)
