"""The cloud-init document: which one is used, and the text that a driver is given."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from polis.cloudinit.overrides import Overrides
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = "cloud-init.yaml"
READ_LIMIT = 1024 * 1024
"""Characters of a file that are read: more than a document may have, so that none without end is."""

DOCUMENTS = 8
"""Edited documents that are kept in memory."""

WIDTH = 4096
"""Columns; no line is folded when the edited document is written."""

_SLIPS = (RecursionError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What ruamel.yaml lets slip besides its own errors: an IndexError for a `!!omap` at the top, for example."""


@dataclass(frozen=True)
class Document:
    """A document as its author wrote it, and what is to be edited in it."""

    name: str
    text: str
    overrides: Overrides = field(default_factory=Overrides)

    @property
    def is_edited(self) -> bool:
        """Return whether the text to send differs from the author's."""
        return self.overrides.is_any

    @property
    def sent_name(self) -> str:
        """Return what the text to send is called: places in it are not those in the author's file."""
        return f"{self.name}, edited" if self.is_edited else self.name

    @property
    def fingerprint(self) -> str:
        """Return what changes whenever the text that is sent would; cheap, for every command asks."""
        return f"{self.text}\n{self.overrides.digest}"

    def render(self) -> str:
        """Return the text to send: the author's, byte for byte, where there is nothing to edit.

        Raises ConfigurationError if it is no YAML mapping, or has no place for an edit.
        """
        return _rendered(self) if self.is_edited else self.text

    def addresses(self) -> list[str]:
        """Return the addresses that the text to send fetches from, in their order. Raises what `render` raises."""
        lines = [line for line in self.render().splitlines() if not line.lstrip().startswith("#")]
        found = re.findall(r"\bhttps?://[^\s\"'<>]+", "\n".join(lines))
        return list(dict.fromkeys(found))

    def difference(self) -> str:
        """Return a unified diff from the shipped document to the text to send; empty if there is none."""
        import difflib

        lines = difflib.unified_diff(
            read(None).text.splitlines(), self.render().splitlines(), "shipped", "sent", lineterm=""
        )
        return "\n".join(lines)


@functools.lru_cache(maxsize=DOCUMENTS)
def _rendered(edited: Document) -> str:
    """Return the author's text with the edits in it: the same for nearly all workspaces of a fleet."""
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from polis.cloudinit.checking import parse

    document = parse(edited.text, edited.name)
    edited.overrides.apply(document)
    yaml = YAML(typ="rt")
    yaml.width = WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    try:
        yaml.dump(document, out)
    except (YAMLError, *_SLIPS) as error:
        raise ConfigurationError(
            f"{edited.name} cannot be written with this site's edits in it",
            cause=str(error),
            remains="nothing was changed",
            hint="write it without YAML's rarer types, or make the edits by hand",
        ) from error
    return out.getvalue()


def read(path: Path | None, overrides: Overrides | None = None) -> Document:
    """Return the shipped document, or the user's.

    Raises ConfigurationError if the file cannot be read.
    """
    overrides = overrides or Overrides()
    if path is None:
        return Document(SHIPPED, (resources.files("polis.cloudinit") / SHIPPED).read_text(encoding="utf-8"), overrides)
    try:
        with path.open(encoding="utf-8") as file:
            return Document(str(path), file.read(READ_LIMIT), overrides)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the cloud-init document {path} cannot be read", cause=str(error), remains="nothing was changed"
        ) from error
