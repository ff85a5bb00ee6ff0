"""What must not be read by anyone: values that are struck out of all that Polis says and writes down.

Secrets are never put into messages on purpose. They come back in other programs' words: a service that dies prints its
settings, Compose quotes a file. Whoever reads a secret from where it is kept names it here, and every way out asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST = 6
"""Characters. A shorter secret is none, and striking it out would make words unreadable."""

STRUCK = "[redacted]"

_hidden: set[str] = set()
_ordered: tuple[set[str], tuple[str, ...]] = (_hidden, ())


def hide(values: Iterable[str]) -> None:
    """Strike out these values from now on; of several lines, each by itself."""
    for value in values:
        _hidden.update(line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST)


def redact(text: str) -> str:
    """Return the text without any hidden value."""
    for value in _longest_first():
        if value in text:
            text = text.replace(value, STRUCK)
    return text


def without_beginning(text: str) -> str:
    """Return a text that was cut off without the beginning of a hidden value that the cut went through."""
    end = len(text)
    for value in _hidden:
        at = text.find(value[0], max(0, len(text) - len(value) + 1))
        while 0 <= at < end:
            if value.startswith(text[at:]):
                end = at
            at = text.find(value[0], at + 1)
    return text[:end]


def redact_all(value: Any) -> Any:
    """Return a JSON-like value with every text in it redacted."""
    if not _hidden:
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_all(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(each) for each in value]
    return value


def _longest_first() -> tuple[str, ...]:
    """Return the hidden values, those first that others may be part of; sorted anew only when there are more."""
    global _ordered  # noqa: PLW0603 -- a log has many thousand lines, and a bug report many thousand values
    if _ordered[0] is not _hidden or len(_ordered[1]) != len(_hidden):
        _ordered = (_hidden, tuple(sorted(_hidden, key=len, reverse=True)))
    return _ordered[1]
