"""The state machine as a drawing: the phases in a row, the moves between them, and where the workspace is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.pictures.drawing import Drawing, wrap

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from polis.diagram import Diagram
    from polis.phase import Phase

BOX = 118
HEIGHT = 44
PITCH = 184
LEFT = 24
TOP = 130
"""Of the boxes."""
WIDTH = 2 * LEFT + 5 * PITCH + BOX
DEPTH = 34
"""Pixels by which an arc lies deeper for each phase that it goes back."""
NOTE_WIDTH = 160
NOTE_LINES = 2


def draw(found: Diagram) -> Element:
    """Return the picture."""
    drawing = Drawing(WIDTH, _heading(found), _summary(found))
    drawing.text(_heading(found), LEFT, 32, kind="loud")
    for (source, dest), kinds in found.moves().items():
        _move(drawing, source, dest, kinds)
    for phase in found.states:
        _box(drawing, found, phase)
    bottom = TOP + HEIGHT + DEPTH * len(found.states) + 8
    return drawing.finish(_words(drawing, found, bottom) + 6)


def _heading(found: Diagram) -> str:
    return f"workspace {found.workspace}: {found.phase}"


def _summary(found: Diagram) -> str:
    ways = "; ".join(f"{source} to {dest}: {', '.join(kinds)}" for (source, dest), kinds in found.moves().items())
    return " ".join([f"The current phase is {found.phase}.", *_notes(found), f"Moves: {ways}."])


def _notes(found: Diagram) -> list[str]:
    lines = [f"{phase} no longer holds: {reason}" for phase, reason in found.drift.items()]
    return lines + ([f"{found.failed} failed last time: {found.error}"] if found.failed is not None else [])


def _box(drawing: Drawing, found: Diagram, phase: Phase) -> None:
    left, here = LEFT + PITCH * phase.rank, phase is found.phase
    kinds = ["box", *(["here"] if here else []), *(["lost"] if phase in found.drift else [])]
    drawing.rectangle(" ".join(kinds), left, TOP, BOX, HEIGHT, corner=8)
    middle = left + BOX / 2
    drawing.text(
        phase.value, middle, TOP + (21 if here else 27), kind="strong on" if here else "strong", anchor="middle"
    )
    if here:
        drawing.text("is here", middle, TOP + 36, kind="on small", anchor="middle")
    if phase in found.drift:
        drawing.text("lost", left + 4, TOP - 6, kind="alarm small")
    if phase is found.failed:
        drawing.path("bad", f"M{left + BOX - 8:.1f} {TOP - 5} l10 10 m0 -10 l-10 10", title="failed last time")


def _move(drawing: Drawing, source: Phase, dest: Phase, kinds: list[str]) -> None:
    title = f"{source} to {dest}: {', '.join(kinds)}"
    if source is dest:
        _loop(drawing, source, kinds, title)
    elif dest.rank > source.rank:
        _forward(drawing, source, kinds, title)
    else:
        _back(drawing, source, dest, kinds, title)


def _loop(drawing: Drawing, phase: Phase, kinds: list[str], title: str) -> None:
    middle = LEFT + PITCH * phase.rank + BOX / 2
    drawing.path("way", f"M{middle - 18:.1f} {TOP} c-6 -36 42 -36 36 -6", title=title)
    _tip(drawing, middle + 18, TOP, 0, 1)
    drawing.text(", ".join(kinds), middle, TOP - 36, kind="quiet small", anchor="middle")


def _forward(drawing: Drawing, source: Phase, kinds: list[str], title: str) -> None:
    left, right, middle = LEFT + PITCH * source.rank + BOX, LEFT + PITCH * (source.rank + 1), TOP + HEIGHT / 2
    drawing.path("way", f"M{left:.1f} {middle:.1f} H{right - 7:.1f}", title=title)
    _tip(drawing, right, middle, 1, 0)
    for place, kind in enumerate(kinds):
        drawing.text(kind, (left + right) / 2 - 2, middle - 6 + 19 * place, kind="quiet small", anchor="middle")


def _back(drawing: Drawing, source: Phase, dest: Phase, kinds: list[str], title: str) -> None:
    distance, bottom = source.rank - dest.rank, TOP + HEIGHT
    begin = LEFT + PITCH * source.rank + BOX / 2 - 9 * distance
    end = LEFT + PITCH * dest.rank + BOX / 2 + 9 * distance
    depth = bottom + 4 / 3 * DEPTH * distance
    way = f"M{begin:.1f} {bottom} C{begin:.1f} {depth:.1f} {end:.1f} {depth:.1f} {end:.1f} {bottom + 7}"
    drawing.path("way" if "retreat" in kinds else "way dashed", way, title=title)
    _tip(drawing, end, bottom, 0, -1)
    if distance == 1:
        drawing.text(", ".join(kinds), (begin + end) / 2 + 10, bottom + 26, kind="quiet small", anchor="middle")


def _tip(drawing: Drawing, left: float, top: float, across: int, down: int) -> None:
    """Draw the head of an arrow that ends there, going across (1 or 0) or down (1, 0 or -1)."""
    if across:
        drawing.path("tip", f"M{left:.1f} {top:.1f} l-9 -4 v8 z")
    else:
        drawing.path("tip", f"M{left:.1f} {top:.1f} l-4 {-9 * down} h8 z")


def _words(drawing: Drawing, found: Diagram, top: float) -> float:
    legend = (
        "solid: what `up` (advance, recognise) and `reset` (retreat) do, one phase at a time; "
        "dashed: falls, when a phase no longer holds, and to absent also destroy"
    )
    drawing.text(legend, LEFT, top, kind="quiet small")
    for note in _notes(found):
        for line in wrap(note, NOTE_WIDTH, NOTE_LINES):
            top += 17
            drawing.text(line, LEFT, top, kind="alarm small")
    return top + 14
