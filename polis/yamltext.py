"""YAML that people write: parsed so that each key remembers its place, and refused with the place of what is wrong."""

from __future__ import annotations

import warnings
from typing import Any

from polis.errors import ConfigurationError

LARGEST = 100_000
"""Values of a document with its aliases written out; one of the largest that is accepted has half as many bytes."""

_SLIPS = (RecursionError, ValueError, OverflowError, LookupError, TypeError, AttributeError)
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # YAML allows an anchor to be used again
            document = yaml.load(text.decode() if isinstance(text, bytes) else text)
        _weigh(document, {})
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        reason = f"{place}: {error.problem or error.context}"
        raise ConfigurationError(reason, remains="nothing was changed") from error
    except (YAMLError, *_SLIPS) as error:
        raise ConfigurationError(
            f"{name}: not readable as YAML", cause=str(error), remains="nothing was changed"
        ) from error
    return document


def place(node: Any, key: Any, *, of_value: bool = False) -> tuple[int, int]:
    """Return line and column (from 1) of a key (or its value) or item.

    Where a tag made that unknown, it is the place of what it lies in.
    """
    known = getattr(node, "lc", None)
    for find in ("value" if of_value else "key", "item"):
        try:
            line, column = getattr(known, find)(key)
        except _SLIPS:
            continue
        return line + 1, column + 1
    return (getattr(known, "line", None) or 0) + 1, (getattr(known, "col", None) or 0) + 1


def plain(document: Any, name: str) -> tuple[Any, dict[tuple[str | int, ...], str]]:
    """Return a parsed document as plain values, and the place (file:line:column) of each key and item."""
    places: dict[tuple[str | int, ...], str] = {}
    return _plain(document, name, (), places), places


def _plain(node: Any, name: str, at: tuple[str | int, ...], places: dict[tuple[str | int, ...], str]) -> Any:
    if isinstance(node, dict):
        for key in node:
            line, column = place(node, key)
            places[(*at, str(key))] = f"{name}:{line}:{column}"
        return {str(key): _plain(value, name, (*at, str(key)), places) for key, value in node.items()}
    if isinstance(node, list):
        for index in range(len(node)):
            line, column = place(node, index)
            places[(*at, index)] = f"{name}:{line}:{column}"
        return [_plain(value, name, (*at, index), places) for index, value in enumerate(node)]
    return _scalar(node)


def _scalar(node: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _weigh(node: Any, known: dict[int, int]) -> int:
    """Return how many values a node stands for once its aliases are written out; raises ValueError for a bomb.

    A few lines can stand for more values than there is memory, and an alias can lead back to itself.
    """
    if isinstance(node, str):
        node.encode()  # half a surrogate pair can be written in YAML, and nowhere else
    if not isinstance(node, dict | list | set | tuple):
        return 1
    weight = known.get(id(node))
    if weight == 0:
        raise ValueError("an alias leads back to itself")
    if weight is None:
        known[id(node)] = 0
        parts = [*node, *node.values()] if isinstance(node, dict) else node
        weight = 1 + sum(_weigh(part, known) for part in parts)
        known[id(node)] = weight
    if weight > LARGEST:
        raise ValueError(f"with its aliases written out it has more than {LARGEST} values")
    return weight
