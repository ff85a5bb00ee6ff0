"""Which parts can be generated, and where they are put."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from docsite import commands, configuration, documents, exitcodes, included

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: Final[dict[str, Callable[[], str]]] = {
    "commands": commands.page,
    "configuration": configuration.page,
    "documents": documents.page,
    "exit-codes": exitcodes.page,
    "readme": lambda: included.text("README.md"),
    "contributing": lambda: included.text("CONTRIBUTING.md"),
    "changelog": lambda: included.text("CHANGELOG.md", missing="Nothing has been released yet."),
    "beacon": included.beacon,
}

_PLACE = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)


def fill(markdown: str) -> str:
    """Return a page with its generated parts in place.

    Raises KeyError if a page asks for a part that there is not.
    """
    return _PLACE.sub(lambda place: PARTS[place[1]](), markdown)


def asked_for(markdown: str) -> list[str]:
    """Return the parts that a page asks for."""
    return _PLACE.findall(markdown)
