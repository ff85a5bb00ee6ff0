"""What must not be read by anyone: values that are struck out of all that Polis says and writes down.

Secrets are never put into messages on purpose. They come back in other programs' words: a service that dies prints its
settings, Compose quotes a file. Whoever reads a secret from where it is kept names it here, and every way out asks.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHORTEST = 6
"""Characters. A shorter secret is none, and striking it out would make words unreadable."""

STRUCK = "[redacted]"

_hidden: set[str] = set()
_ordered: tuple[set[str], tuple[str, ...]] = (_hidden, ())


class _Own:
    """The hidden values of one piece of work."""

    def __init__(self, values: Iterable[str]) -> None:
        self.values = set(values)
        self._ordered: tuple[str, ...] = ()

    def longest_first(self) -> tuple[str, ...]:
        if len(self._ordered) != len(self.values):
            self._ordered = tuple(sorted(self.values, key=len, reverse=True))
        return self._ordered


_own: ContextVar[_Own | None] = ContextVar("polis_own_secrets", default=None)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Let what is hidden from now on be hidden in this thread's work only, together with what is hidden already.

    For one workspace of many in a process: each meets its own secrets alone. Else every text of each would be searched
    for the keys of all, and threads would change one set while others read it.
    """
    token = _own.set(_Own(_values()))
    try:
        yield
    finally:
        _own.reset(token)


def hide(values: Iterable[str]) -> None:
    """Strike out these values from now on; of several lines, each by itself."""
    known = _values()
    for value in values:
        known.update(line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST)


def redact(text: str) -> str:
    """Return the text without any hidden value."""
    for value in _longest_first():
        if value in text:
            text = text.replace(value, STRUCK)
    return text


def without_beginning(text: str) -> str:
    """Return a text that was cut off without the beginning of a hidden value that the cut went through."""
    end = len(text)
    for value in _values():
        at = text.find(value[0], max(0, len(text) - len(value) + 1))
        while 0 <= at < end:
            if value.startswith(text[at:]):
                end = at
            at = text.find(value[0], at + 1)
    return text[:end]


def redact_all(value: Any) -> Any:
    """Return a JSON-like value with every text in it redacted."""
    if not _values():
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_all(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(each) for each in value]
    return value


def _values() -> set[str]:
    own = _own.get()
    return own.values if own is not None else _hidden


def _longest_first() -> tuple[str, ...]:
    """Return the hidden values, those first that others may be part of; sorted anew only when there are more."""
    global _ordered  # noqa: PLW0603 -- a log has many thousand lines, and a bug report many thousand values
    if (own := _own.get()) is not None:
        return own.longest_first()
    if _ordered[0] is not _hidden or len(_ordered[1]) != len(_hidden):
        _ordered = (_hidden, tuple(sorted(_hidden, key=len, reverse=True)))
    return _ordered[1]
