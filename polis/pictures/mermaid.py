"""The state machine in Mermaid's language (stateDiagram-v2), which GitHub and many editors draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.pictures.drawing import MARK, clean

if TYPE_CHECKING:
    from polis.diagram import Diagram
    from polis.phase import Phase

NOTE_LIMIT = 160

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,()/_-'")
"""What means nothing in the language."""

STYLES = """\
    classDef current fill:#2f6fb3,stroke:#2f6fb3,color:#ffffff
    classDef lost stroke:#b3261e,stroke-dasharray:5 3
    classDef failed stroke:#b3261e,stroke-width:3px"""


def render(found: Diagram) -> str:
    """Return the diagram as text; the names of phases are aliases, for a hyphen is none of a name there."""
    lines = [f"%% {MARK}", "stateDiagram-v2", "    direction LR"]
    lines += [f'    state "{phase}" as {_name(phase)}' for phase in found.states]
    lines.append(f"    [*] --> {_name(found.states[0])}")
    lines += [
        f"    {_name(source)} --> {_name(dest)} : {' / '.join(kinds)}"
        for (source, dest), kinds in found.moves().items()
    ]
    lines += [STYLES, f"    class {_name(found.phase)} current"]
    for phase, reason in found.drift.items():
        lines += [f"    class {_name(phase)} lost"] if phase is not found.phase else []
        lines.append(_note(phase, f"no longer holds, {reason}"))
    if found.failed is not None:
        lines += [f"    class {_name(found.failed)} failed"] if found.failed is not found.phase else []
        lines.append(_note(found.failed, f"failed last time, {found.error}"))
    return "\n".join(lines) + "\n"


def _name(phase: Phase) -> str:
    return phase.value.replace("-", "_")


def _note(phase: Phase, text: str) -> str:
    return f"    note right of {_name(phase)} : {escaped(text)}"


def escaped(text: str) -> str:
    """Return a text that nobody can take for a part of the language: what is not plain becomes a numbered entity."""
    return "".join(char if char in PLAIN else f"#{ord(char)};" for char in clean(text, NOTE_LIMIT))
