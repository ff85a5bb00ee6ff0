"""Files from beside docs/ that are pages of the site too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
BEACON: Final = ROOT / "examples" / "agents" / "beacon"


def text(name: str, *, missing: str = "") -> str:
    """Return a Markdown file of the repository's top, with its links as they are seen from docs/.

    `missing` stands for a file that there is not; without it, that is an error (OSError).
    """
    path = ROOT / name
    if missing and not path.exists():
        return f"# {path.stem.capitalize()}\n\n{missing}"
    return re.sub(r"(?<=\]\()(?!https?:|#)([^)\s]+)(?=\))", _from_docs, path.read_text(encoding="utf-8"))


def _from_docs(link: re.Match[str]) -> str:
    target = link[1]
    return target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"


def beacon() -> str:
    """Return the files of the example agent, one after the other."""
    parts = []
    for path in sorted(BEACON.iterdir()):
        language = "yaml" if path.suffix == ".yaml" else "sh"
        parts += [f"## {path.name}", "", f"```{language}", path.read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(parts)
