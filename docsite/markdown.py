"""Markdown as the generated parts need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SPECIAL = {"|": "&#124;", "<": "&lt;", ">": "&gt;", "*": r"\*", "_": r"\_", "[": r"\[", "]": r"\]", "\n": " "}


def code(text: str) -> str:
    """Return text as code that may stand in a cell of a table, where no backslash helps against a bar."""
    if "|" in text or "`" in text:
        plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f"<code>{plain.replace('|', '&#124;').replace('*', '&#42;').replace('_', '&#95;')}</code>"
    return f"`{text}`" if text else ""


def plain(text: str) -> str:
    """Return text in which nothing is taken for markup but what stands between backticks."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner
        return _escaped(" ".join(text.split()).replace("`", "'"))
    return "".join(code(part) if index % 2 else _escaped(part) for index, part in enumerate(parts))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table, with an empty line after it."""
    names = list(head)
    yield _row(names)
    yield _row("---" for _ in names)
    yield from (_row(row) for row in rows)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(char, char) for char in text)
