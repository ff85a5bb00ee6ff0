"""YAML that people write: parsed so that each key remembers its place, and refused with the place of what is wrong."""

from __future__ import annotations

from typing import Any

from polis.errors import ConfigurationError

_SLIPS = (RecursionError, ValueError, LookupError, TypeError, AttributeError)
"""What ruamel.yaml lets slip besides its own errors: an IndexError for the scalar `-_`, for example."""


def load(text: str | bytes, name: str, *, quotes: bool = False) -> Any:
    """Return the document as ruamel.yaml's round-trip types, None if it is empty; with `quotes`, strings keep theirs.

    Bytes must be UTF-8. Raises ConfigurationError, with the line and column in `name` where they are known.
    """
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = quotes
    return _parsed(yaml, text, name)


def load_plain(text: str, name: str) -> Any:
    """Return plain values, for text so short that a place tells nothing. Raises ConfigurationError."""
    from ruamel.yaml import YAML

    return _parsed(YAML(typ="safe", pure=True), text, name)


def _parsed(yaml: Any, text: str | bytes, name: str) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return yaml.load(text.decode() if isinstance(text, bytes) else text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        reason = f"{place}: {error.problem or error.context}"
        raise ConfigurationError(reason, remains="nothing was changed") from error
    except (YAMLError, *_SLIPS) as error:
        raise ConfigurationError(
            f"{name}: not readable as YAML", cause=str(error), remains="nothing was changed"
        ) from error
