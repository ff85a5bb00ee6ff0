"""What MkDocs calls while it builds the site (mkdocs.yml)."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

from docsite.generated import fill
from docsite.included import ROOT
from docsite.phases import drawing

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PUBLISHED: Final = ("state-schema.json", *sorted(f"schemas/{path.name}" for path in (ROOT / "schemas").glob("*.json")))
"""Files of the repository that are on the site as they are."""

_ELSEWHERE: Final = {
    "examples/agents/beacon": "beacon.md",
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing/index.md",
}
"""Places outside docs/ that are pages of the site."""

_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is not below docs/: schemas, and the drawing of the state machine."""
    for name in PUBLISHED:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, "phases.svg", content=drawing()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 -- called by these names
    """Fill in what is generated, and turn links to the repository into links to the site."""
    return _LINK.sub(lambda link: _on_site(link, page.file.src_uri), fill(markdown))


def _on_site(link: re.Match[str], page: str) -> str:
    """Return a link that leads out of docs/ as one that stays on the site; any other as it is."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link[1]))
    if not path.startswith("../"):
        return link[0]
    inside = path.removeprefix("../")
    place = _ELSEWHERE.get(inside, inside)
    return posixpath.relpath(place, posixpath.dirname(page) or ".") + (link[2] or "")
