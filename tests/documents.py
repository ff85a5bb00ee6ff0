"""The documentation as tests read it: its pages, and every command in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
SHELLS = ("sh", "console")
INSTALLED = ".venv/bin/"
"""What stands before programs of this repository where nothing of it is on the PATH."""

_FENCE = re.compile(r"^ *```(?P<language>\S*)")
_INLINE = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"(?:[A-Z_][A-Z_0-9]*=\S* +)*(?:polis|make|python -m lab) \S")
_OPERATORS = frozenset({"|", "||", "&&", ";", "&", "<", ">", ">>", "<(", ")", "<<<"})
_NOTE = re.compile(r"<!-- (?P<may>may )?ends? with (?P<code>\d+) -->")


@dataclass(frozen=True)
class Block:
    """Some lines of code; `language` is that of the fence, empty if they are indented. `ends` are the exit codes."""

    line: int
    language: str
    lines: tuple[str, ...]
    ends: frozenset[int] = frozenset({0})

    @property
    def typed(self) -> tuple[str, ...]:
        """Return the lines that one types: all of a shell's, those behind `$ ` where there are such."""
        prompted = tuple(line.removeprefix("$ ") for line in self.lines if line.startswith("$ "))
        if prompted:
            return prompted
        if self.language in SHELLS:
            return tuple(line for line in self.lines if line.strip() and not line.startswith("#"))
        return () if self.language else tuple(line for line in self.lines if _COMMAND.match(line))


@dataclass(frozen=True)
class Command:
    """One program with its words, as a page has it."""

    page: str
    line: int
    words: tuple[str, ...]
    shown: bool
    """Whether it stands in a block, to be typed as it is; else in a sentence, perhaps with places to fill in."""

    def __str__(self) -> str:
        return " ".join(self.words)


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of code of a page, fenced and indented."""
    held: list[str] = []
    begun, language, ends, fenced = 0, "", frozenset({0}), False
    for number, line in enumerate([*page.read_text(encoding="utf-8").splitlines(), ""], 1):
        note = _NOTE.fullmatch(line)
        if note:
            ends = frozenset({int(note["code"])} | ({0} if note["may"] else set()))
        fence = _FENCE.match(line)
        if fence or (not fenced and held and line.strip() and not line.startswith("    ")):
            if held:
                yield Block(begun, language, tuple(held), ends)
                ends = frozenset({0})
            fenced = fence is not None and not fenced
            held, begun, language = [], number + 1, fence["language"] if fence and fenced else ""
        elif fenced or (line.startswith("    ") and not note) or (held and not line.strip()):
            begun = begun if held else number
            held.append(line if fenced else line[4:])
    if held:
        yield Block(begun, language, tuple(held), ends)


def commands(page: Path) -> Iterator[Command]:
    """Yield every `polis`, `make` and `python -m lab` of a page: those of blocks, then those of sentences."""
    name = page.relative_to(ROOT).as_posix()
    code: set[int] = set()
    for block in blocks(page):
        code |= set(range(block.line, block.line + len(block.lines)))
        for line in block.typed:
            yield from (Command(name, block.line, words, shown=True) for words in programs(line))
    lines = page.read_text(encoding="utf-8").splitlines()
    prose = "\n".join("" if number in code else line for number, line in enumerate(lines, 1))
    for found in _INLINE.finditer(prose):
        text = " ".join(found[1].replace("\\|", "|").split())
        if _COMMAND.match(text):
            place = prose.count("\n", 0, found.start()) + 1
            yield from (Command(name, place, words, shown=False) for words in programs(text))


def programs(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every program in a line for a shell that is one of ours."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _OPERATORS:
            words.append(word)
            continue
        while words and re.fullmatch(r"[A-Z_][A-Z_0-9]*=.*", words[0]):
            words.pop(0)
        words[:1] = [word.removeprefix(INSTALLED) for word in words[:1]]
        if words and (words[0] in ("polis", "make") or words[:3] == ["python", "-m", "lab"]):
            yield tuple(words)
        words = []
