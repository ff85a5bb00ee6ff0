"""The cloud-init document: which one is used, and what must be true of it before anything is launched."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "#cloud-config"
SIZE_LIMIT = 64 * 1024
"""Bytes; the smallest of the limits that hypervisors and clouds set for user data."""


def read(path: Path | None) -> str:
    """Return the text of the document: the shipped one, or the user's.

    Raises ConfigurationError if the file cannot be read.
    """
    if path is None:
        return (resources.files("polis.cloudinit") / "cloud-init.yaml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the cloud-init document {path} cannot be read", cause=str(error), remains="nothing was changed"
        ) from error


def check(text: str, name: str) -> None:
    """Raise ConfigurationError, with line and column, if cloud-init would not understand the document."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text.encode()) > SIZE_LIMIT:
        raise ConfigurationError(f"{name} is larger than {SIZE_LIMIT} bytes")
    if text.split("\n", 1)[0].strip() != HEADER:
        raise ConfigurationError(f"{name}:1:1: a cloud-init document begins with the line `{HEADER}`")
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigurationError(f"{place}: {error.problem}") from error
    except (YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{name}: not readable as YAML", cause=str(error)) from error
    if not isinstance(document, CommentedMap):
        raise ConfigurationError(f"{name}:2:1: the top of the document must be a mapping")
    if not isinstance(document.get("users", []), list):
        line, column = document.lc.key("users")
        raise ConfigurationError(
            f"{name}:{line + 1}:{column + 1}: `users` must be a list, or the VM cannot be reached",
            hint="write `users: [default]`",
        )
